"""bench.workload.prompts: equal ids give equal content, and nothing else is equal."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.workload.prompts import PromptMaker, content_key, mix64
from bench.workload.tokens import LengthMethod, Vocabulary, token_id_vocabulary
from bench.workload.words import candidate_words

WORDS = Vocabulary(LengthMethod.ESTIMATE, words=candidate_words()[:200])
IDS = token_id_vocabulary()


def maker(
    vocabulary: Vocabulary = WORDS,
    *,
    salt: str = "s",
    seed: int = 1,
    namespace: str = "",
    block_tokens: int = 32,
    ceil: bool = True,
) -> PromptMaker:
    return PromptMaker(
        vocabulary,
        seed=seed,
        salt=salt,
        namespace=namespace,
        block_tokens=block_tokens,
        ceil=ceil,
    )


def units(content: str | list[int]) -> list[str] | list[int]:
    return content.split(" ") if isinstance(content, str) else content


def numbers(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.uint64)


def shared(one: list, two: list) -> int:
    """Length of the common beginning."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )


@pytest.mark.parametrize("vocabulary", [WORDS, IDS], ids=["text", "token_ids"])
@given(
    tokens=st.integers(1, 700),
    block_tokens=st.integers(1, 130),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_length_is_exact(vocabulary: Vocabulary, tokens: int, block_tokens: int, seed: int) -> None:
    """With one token for each word a prompt has exactly the words planned, blocks or not."""
    make = maker(vocabulary, block_tokens=block_tokens, seed=seed)
    ids = np.arange(-(-tokens // block_tokens), dtype=np.uint64)
    assert len(units(make.from_blocks(ids, tokens, 0))) == tokens
    assert len(units(make.unique(tokens, 3))) == tokens


@pytest.mark.parametrize("vocabulary", [WORDS, IDS], ids=["text", "token_ids"])
@given(
    common=st.lists(st.integers(0, 2**64 - 1), max_size=6, unique=True),
    block_tokens=st.integers(16, 70),
    tails=st.tuples(st.integers(1, 16), st.integers(1, 16)),
)
@settings(max_examples=60, deadline=None)
def test_rows_share_exactly_their_common_blocks(
    vocabulary: Vocabulary, common: list[int], block_tokens: int, tails: tuple[int, int]
) -> None:
    """Two rows with k common blocks share these and at most 15 words more."""
    make = maker(vocabulary, block_tokens=block_tokens)
    own = [number for number in range(8) if number not in common][:2]
    made = [
        units(make.from_blocks(numbers(*common, last), len(common) * block_tokens + tail, 0))
        for last, tail in zip(own, tails, strict=True)
    ]
    expected = len(common) * block_tokens
    assert expected <= shared(*made) < expected + 16


@given(block_tokens=st.integers(2, 200), part=st.integers(1, 199))
@settings(max_examples=60, deadline=None)
def test_a_partial_block_is_the_beginning_of_the_whole(block_tokens: int, part: int) -> None:
    """The first r tokens of a block are the same whether or not the rest follows."""
    part = min(part, block_tokens - 1)
    make = maker(block_tokens=block_tokens)
    whole = units(make.from_blocks(numbers(5, 9), 2 * block_tokens, 0))
    cut = units(make.from_blocks(numbers(5, 9), block_tokens + part, 1))
    assert cut == whole[: block_tokens + part]


def test_a_block_is_the_same_wherever_it_stands() -> None:
    """Content ids: a block in the middle of one prompt is the block at the start of another."""
    make = maker()
    first = units(make.from_blocks(numbers(7, 8), 64, 0))
    later = units(make.from_blocks(numbers(1, 7, 8, 3), 128, 1))
    assert later[32:96] == first


def test_what_content_depends_on() -> None:
    """Salt, seed, namespace and cycle each change all content; the process does not."""
    base = maker().from_blocks(numbers(1), 32, 0)
    assert maker().from_blocks(numbers(1), 32, 99) == base
    others = [
        maker(salt="t").from_blocks(numbers(1), 32, 0),
        maker(seed=2).from_blocks(numbers(1), 32, 0),
        maker(namespace="other").from_blocks(numbers(1), 32, 0),
        maker().from_blocks(numbers(1), 32, 0, cycle=1),
        maker().unique(32, 1),
    ]
    for i, one in enumerate([base, *others]):
        for other in others[i:]:
            assert shared(units(one), units(other)) < 16


def test_content_is_the_same_in_every_process() -> None:
    """Another interpreter with another hash seed makes the same prompt."""
    script = (
        "import numpy as np; from bench.workload.prompts import *; "
        "from bench.workload.tokens import *; "
        "m = PromptMaker(token_id_vocabulary(), seed=1, salt='s', block_tokens=32); "
        "print(m.from_blocks(np.array([3, 2**63], dtype=np.uint64), 50, 0))"
    )
    environ = {**os.environ, "PYTHONHASHSEED": "12345"}
    made = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == str(maker(IDS).from_blocks(numbers(3, 2**63), 50, 0))


def test_content_never_changes_between_versions() -> None:
    """A known prompt: changing how content is made invalidates stored comparisons."""
    assert maker().from_blocks(numbers(1), 6, 0) == "zun gen mun son le sen"
    assert content_key("a", 1) != content_key("a1")


def test_siblings_part_early() -> None:
    """Ten thousand siblings: no two share 16 words, and most pairs of neighbours not even one."""
    make = maker()
    made = [units(make.from_blocks(numbers(i), 16, 0)) for i in range(10_000)]
    assert len({tuple(words) for words in made}) == len(made)
    first = sum(a[0] == b[0] for a, b in itertools.pairwise(made))
    assert first < 0.05 * len(made)


def test_the_floor_rule_ends_with_own_content() -> None:
    """Without partial blocks the tail beyond the ids belongs to the request alone."""
    make = maker(ceil=False)
    one = units(make.from_blocks(numbers(1, 2), 70, 10))
    two = units(make.from_blocks(numbers(1, 2), 70, 11))
    assert len(one) == len(two) == 70
    assert shared(one, two) in range(64, 68)
    assert units(make.from_blocks(numbers(), 20, 10)) == units(make.unique(20, 10))


def test_words_of_several_tokens_keep_blocks_whole() -> None:
    """With 1.3 tokens a word, blocks are cut in words and the prompt's total is right."""
    vocabulary = Vocabulary(
        LengthMethod.ESTIMATE, words=WORDS.words, tokens_per_word=1.3, overhead_tokens=10
    )
    make = maker(vocabulary, block_tokens=512)
    one = units(make.from_blocks(np.arange(20, dtype=np.uint64), 10_000, 0))
    two = units(
        make.from_blocks(np.array([*range(10), *range(90, 100)], dtype=np.uint64), 10_000, 0)
    )
    assert len(one) == round((10_000 - 10) / 1.3)
    assert shared(one, two) in range(10 * 394, 10 * 394 + 16)


def test_the_overhead_is_taken_from_the_end() -> None:
    """A template of 12 tokens shortens the text, not the shared blocks."""
    vocabulary = Vocabulary(LengthMethod.SERVER_TOKENIZE, words=WORDS.words, overhead_tokens=12)
    short = units(maker(vocabulary).from_blocks(numbers(1, 2, 3), 96, 0))
    assert len(short) == 84
    assert short == units(maker().from_blocks(numbers(1, 2, 3), 96, 0))[:84]


def test_a_pickled_maker_makes_the_same() -> None:
    """Worker processes get the recipe of content, not its tables."""
    make = maker()
    before = make.unique(40, 4)
    sent = pickle.dumps(make)
    assert len(sent) < 10_000
    assert pickle.loads(sent).unique(40, 4) == before


def test_salted_messages_keep_sharing_within_a_run() -> None:
    """Recorded text gets one mark per run and cycle before its first text, and no other change."""
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    one, again, other = (maker(salt=salt).salted(messages) for salt in ("a", "a", "b"))
    assert one == again != other
    assert one[0]["content"].endswith("\nbe brief")
    assert one[1:] == messages[1:]
    assert messages[0]["content"] == "be brief"
    assert maker(salt="").salted(messages) == messages
    assert maker(salt="").salted(messages, cycle=1) != messages


def test_salted_parts_keep_images() -> None:
    """Content in parts gets the mark as a text part of its own."""
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    marked = maker().salted([{"role": "user", "content": [image]}])
    assert marked[0]["content"][0]["type"] == "text"
    assert marked[0]["content"][1] == image


def test_the_stream_is_splitmix64() -> None:
    """Seed 0 gives the generator's published first outputs."""
    steps = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mix64(steps).tolist() == expected
