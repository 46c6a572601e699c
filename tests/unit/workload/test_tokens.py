"""bench.workload.tokens: vocabularies that count as the server does, and say how well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.model import Message
from bench.workload.prompts import PromptMaker
from bench.workload.tokens import (
    CALIBRATION_WORDS,
    LengthMethod,
    Vocabulary,
    calibration_prompts,
    choose_method,
    estimated_vocabulary,
    local_tokenizer,
    measured_vocabulary,
    token_id_vocabulary,
    with_overhead,
)
from bench.workload.words import candidate_words


def piece_tokenizer(
    longest: int, *, bos: bool = False, glue_first: bool = False
) -> Callable[[str], list[int]]:
    """A tokenizer whose words are cut in pieces of `longest` characters; ids are stable.

    `glue_first`: a word that begins the text, with no space before it, costs one token more.
    """

    def tokenize(text: str) -> list[int]:
        ids = [1] if bos else []
        for i, word in enumerate(text.split()):
            pieces = [word[at : at + longest] for at in range(0, len(word), longest)]
            if i == 0 and glue_first and not text.startswith(" "):
                ids.append(2)
            ids += [10 + sum(ord(c) * 31**k for k, c in enumerate(piece)) for piece in pieces]
        return ids

    return tokenize


def asked(tokenize: Callable[[str], list[int]]) -> Callable[[str], Awaitable[Sequence[int]]]:
    async def ask(text: str) -> Sequence[int]:
        return tokenize(text)

    return ask


def chat_of(
    tokenize: Callable[[str], list[int]], overhead: int
) -> Callable[[Sequence[Message]], Awaitable[int]]:
    async def count(messages: Sequence[Message]) -> int:
        return overhead + sum(len(tokenize(message["content"])) for message in messages)

    return count


def made(vocabulary: Vocabulary, tokens: int) -> str:
    text = PromptMaker(vocabulary, seed=0, salt="").unique(tokens, 0)
    assert isinstance(text, str)
    return text


def test_candidates_are_different_and_plain() -> None:
    """680 different lower-case words of two or three letters."""
    words = candidate_words()
    assert len(set(words)) == len(words) == 680
    assert all(word.isascii() and word.islower() and 2 <= len(word) <= 3 for word in words)


def test_single_token_words_make_exact_chat_prompts() -> None:
    """A prompt has as many tokens as planned, template included, and the error is 0."""
    tokenize = piece_tokenizer(3)
    found = asyncio.run(measured_vocabulary(asked(tokenize), chat_of(tokenize, 17)))
    assert (found.tokens_per_word, found.overhead_tokens, found.error_fraction) == (1.0, 17, 0.0)
    assert len(found.words) == len(found.ids) == 680
    for planned in (18, 100, 3000):
        assert 17 + len(tokenize(made(found, planned))) == planned


def test_only_single_token_words_are_taken() -> None:
    """Where three letters are two tokens, the words have two letters."""
    found = asyncio.run(measured_vocabulary(asked(piece_tokenizer(2))))
    assert {len(word) for word in found.words} == {2}
    assert len(found.words) == 85
    assert found.tokens_per_word == 1.0


def test_special_tokens_are_told_from_words() -> None:
    """A BOS token counts as overhead of a bare prompt, and its id is no word's."""
    tokenize = piece_tokenizer(3, bos=True)
    found = asyncio.run(measured_vocabulary(asked(tokenize)))
    assert found.overhead_tokens == 1
    assert 1 not in found.ids
    assert len(tokenize(made(found, 500))) == 500
    assert tokenize(" " + found.words[5]) == [1, found.ids[5]]


def test_a_costlier_first_word_is_part_of_the_overhead() -> None:
    """What every prompt costs beyond its words is subtracted, whatever the reason."""
    tokenize = piece_tokenizer(3, glue_first=True)
    found = asyncio.run(measured_vocabulary(asked(tokenize), chat_of(tokenize, 10)))
    assert found.overhead_tokens == 11
    assert 10 + len(tokenize(made(found, 200))) == 200


def test_words_that_may_begin_a_prompt_are_preferred() -> None:
    """Words that cost more without a space before them are left out where enough others are."""

    def tokenize(text: str) -> list[int]:
        glued = not text.startswith(" ") and text[0] > "f"
        return [2] * glued + piece_tokenizer(3)(text)

    found = asyncio.run(measured_vocabulary(asked(tokenize), chat_of(tokenize, 10)))
    assert {word[0] for word in found.words} == set("bdf")
    assert (found.overhead_tokens, found.error_fraction) == (10, 0.0)
    assert 10 + len(tokenize(made(found, 200))) == 200


def test_words_of_several_tokens_are_counted_by_their_mean() -> None:
    """With no single-token words, all candidates are used and the measured error is honest."""
    tokenize = piece_tokenizer(1)
    found = asyncio.run(measured_vocabulary(asked(tokenize)))
    assert found.words == candidate_words()
    assert found.ids == ()
    assert 2 <= found.tokens_per_word <= 3
    assert found.error_fraction is not None
    assert 0 < found.error_fraction < 0.2
    assert len(tokenize(made(found, 2000))) == pytest.approx(2000, rel=0.05)


def test_two_calibration_prompts_give_cost_and_overhead() -> None:
    """The line through two observations is the vocabulary; its error stays unknown."""
    tokenize = piece_tokenizer(3)
    observed = [(words, 23 + len(tokenize(text))) for words, text in calibration_prompts()]
    assert [words for words, _ in observed] == list(CALIBRATION_WORDS)
    found = estimated_vocabulary(observed)
    assert (found.tokens_per_word, found.overhead_tokens) == (1.0, 23)
    assert found.error_fraction is None
    assert found.method is LengthMethod.ESTIMATE


def test_a_third_observation_gives_the_error() -> None:
    """The distance of a third observation from the line is the error."""
    found = estimated_vocabulary([(10, 20), (40, 50), (20, 33)])
    assert found.error_fraction == pytest.approx(3 / 33)


@pytest.mark.parametrize("observed", [[(64, 100), (256, 100)], [(64, 100), (64, 100)]])
def test_counts_that_do_not_rise_are_refused(observed: list[tuple[int, int]]) -> None:
    """A server that counts every prompt alike can't be calibrated against."""
    with pytest.raises(UsageError, match="calibration: 64 words"):
        estimated_vocabulary(observed)


def test_an_overhead_can_be_measured_later() -> None:
    """A local tokenizer's vocabulary takes the template's overhead from the server's usage."""
    tokenize = piece_tokenizer(3)
    local = asyncio.run(measured_vocabulary(asked(tokenize), method=LengthMethod.LOCAL_TOKENIZER))
    observed = [(n, 30 + len(tokenize(text))) for n, text in calibration_prompts(local)]
    assert with_overhead(local, observed).overhead_tokens == 30


def test_token_ids_come_from_words_where_they_are_known() -> None:
    """Token-id prompts use ids of measured words, else a range that is plain text."""
    measured = asyncio.run(measured_vocabulary(asked(piece_tokenizer(3))))
    assert token_id_vocabulary(measured).ids == measured.ids
    assert token_id_vocabulary().ids == tuple(range(1000, 2024))
    prompt = PromptMaker(token_id_vocabulary(measured), seed=0, salt="").unique(77, 0)
    assert len(prompt) == 77
    assert set(prompt) <= set(measured.ids)


@pytest.mark.parametrize(
    ("wanted", "endpoint", "has", "chosen"),
    [
        ("auto", "completions", (True, True, True), "token_ids"),
        ("auto", "chat", (True, True, True), "server_tokenize"),
        ("auto", "chat", (False, False, True), "local_tokenizer"),
        ("auto", "chat", (False, False, False), "estimate"),
        ("estimate", "chat", (True, True, True), "estimate"),
    ],
)
def test_the_most_exact_method_that_works(
    wanted: str, endpoint: str, has: tuple[bool, bool, bool], chosen: str
) -> None:
    """auto takes the most exact; a method that is named is taken."""
    token_ids, tokenize, file = has
    found = choose_method(
        wanted, endpoint, token_ids=token_ids, tokenize=tokenize, tokenizer_file=file
    )
    assert found == chosen


def test_a_method_that_does_not_work_is_refused() -> None:
    """Asking for /tokenize where there is none names what does work."""
    with pytest.raises(UsageError) as caught:
        choose_method(
            "server_tokenize", "chat", token_ids=False, tokenize=False, tokenizer_file=False
        )
    assert "estimate" in caught.value.hint


def test_the_manifest_says_method_and_error() -> None:
    """An unknown error is null in the manifest, not 0."""
    written = estimated_vocabulary([(10, 20), (40, 80)]).as_manifest()
    assert written["method"] == "estimate"
    assert written["error_fraction"] is None
    assert written["overhead_tokens"] == 0


def test_an_empty_vocabulary_is_a_bug() -> None:
    """A vocabulary without words, or with words that cost nothing, can't be made."""
    with pytest.raises(ValueError, match="no words"):
        Vocabulary(LengthMethod.ESTIMATE)
    with pytest.raises(ValueError, match="tokens_per_word"):
        Vocabulary(LengthMethod.ESTIMATE, words=("a",), tokens_per_word=0)


def test_a_local_tokenizer_file_counts(tmp_path: Path) -> None:
    """A tokenizer.json gives the same vocabulary as asking a server that uses it."""
    tokenizers = pytest.importorskip("tokenizers", reason="the extra tokenizers is not installed")
    words = {word: i for i, word in enumerate(("[UNK]", *candidate_words()[:300]))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = asyncio.run(
        measured_vocabulary(
            local_tokenizer(tmp_path / "tokenizer.json"), method=LengthMethod.LOCAL_TOKENIZER
        )
    )
    assert found.method is LengthMethod.LOCAL_TOKENIZER
    assert found.words == candidate_words()[:300]  # those unknown to it are all one token
    assert [words[word] for word in found.words] == list(found.ids)


def test_a_wrong_tokenizer_file_is_named(tmp_path: Path) -> None:
    """A file that is no tokenizer is a UsageError with its path."""
    pytest.importorskip("tokenizers", reason="the extra tokenizers is not installed")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(UsageError, match=r"t\.json: not readable"):
        local_tokenizer(tmp_path / "t.json")
