"""How long a prompt is in the server's tokens: the vocabulary that prompts are written in.

A vocabulary is a list of words (or of token ids) with the number of tokens that a word costs and
the number that the server adds to a prompt.  In order of exactness it comes from

    token_ids         prompts are token ids themselves (completions only)
    server_tokenize   the server's tokenizer, asked for words that are one token each
    local_tokenizer   the same with a `tokenizer.json` (extra `tokenizers`)
    estimate          a line through `usage.prompt_tokens` of calibration prompts

The method and its error go into the manifest.  The functions here take callables that ask the
server; they know no network.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.model import Message
from bench.workload.words import candidate_words

Tokenize = Callable[[str], Awaitable[Sequence[int]]]
"""Text to token ids, special tokens included, as the server would count a completion's prompt."""

CountChat = Callable[[Sequence[Message]], Awaitable[int]]
"""Messages to the number of prompt tokens, chat template included."""

WORDS_NEEDED = 32
CALIBRATION_VOCABULARY = 256
CALIBRATION_WORDS = (64, 256)
_GROUP = 32
_SAMPLE_WORDS = (16, 64, 256)


class LengthMethod(StrEnum):
    """How prompts are made as long as planned, most exact first."""

    TOKEN_IDS = "token_ids"
    SERVER_TOKENIZE = "server_tokenize"
    LOCAL_TOKENIZER = "local_tokenizer"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What prompts are made of.

    `tokens_per_word`: tokens that each further word adds (1.0 for token ids).
    `overhead_tokens`: tokens that the server adds to a prompt (template, BOS); None is unknown and
    nothing is subtracted for it.
    `error_fraction`: Σ |counted − expected| / Σ counted over sample prompts; None where none was
    counted.
    """

    method: LengthMethod
    words: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    tokens_per_word: float = 1.0
    overhead_tokens: float | None = None
    error_fraction: float | None = None

    def __post_init__(self) -> None:
        if not (self.ids if self.method is LengthMethod.TOKEN_IDS else self.words):
            raise ValueError(f"a vocabulary for {self.method} has no words")
        if self.tokens_per_word <= 0:
            raise ValueError(f"tokens_per_word must be over 0, got {self.tokens_per_word}")

    def words_for(self, input_tokens: int) -> int:
        """Words of a prompt that the server counts as `input_tokens`; at least one."""
        own = input_tokens - (self.overhead_tokens or 0.0)
        return max(1, round(own / self.tokens_per_word))

    def as_manifest(self) -> dict[str, Any]:
        return {
            "method": str(self.method),
            "words": len(self.ids) if self.method is LengthMethod.TOKEN_IDS else len(self.words),
            "tokens_per_word": self.tokens_per_word,
            "overhead_tokens": self.overhead_tokens,
            "error_fraction": self.error_fraction,
        }


def choose_method(
    wanted: str, endpoint: str, *, token_ids: bool, tokenize: bool, tokenizer_file: bool
) -> LengthMethod:
    """The method for a recipe's `prompt_length`, given what the server and the user have.

    `token_ids`, `tokenize`: the server takes token-id prompts, has a tokenizing endpoint.
    `auto` takes the first that works.  Raises UsageError where the one wanted does not.
    """
    usable = {
        LengthMethod.TOKEN_IDS: token_ids and endpoint == "completions",
        LengthMethod.SERVER_TOKENIZE: tokenize,
        LengthMethod.LOCAL_TOKENIZER: tokenizer_file,
        LengthMethod.ESTIMATE: True,
    }
    works = [method for method, possible in usable.items() if possible]
    if wanted == "auto":
        return works[0]
    if LengthMethod(wanted) not in works:
        raise UsageError(
            f"prompt_length {wanted} does not work here (endpoint {endpoint})",
            f"use one of: auto, {', '.join(works)}",
        )
    return LengthMethod(wanted)


def token_id_vocabulary(words: Vocabulary | None = None, first: int = 1000) -> Vocabulary:
    """Prompts of token ids: those of a measured vocabulary, else 1,024 ids from `first` on.

    Ids in that range are plain text tokens in byte-pair vocabularies of 32 k and more; a server
    counts them as they are, so the error is 0 and nothing is added.
    """
    ids = words.ids if words is not None and words.ids else tuple(range(first, first + 1024))
    return Vocabulary(LengthMethod.TOKEN_IDS, ids=ids, overhead_tokens=0, error_fraction=0.0)


async def measured_vocabulary(
    tokenize: Tokenize,
    count_chat: CountChat | None = None,
    *,
    method: LengthMethod = LengthMethod.SERVER_TOKENIZE,
) -> Vocabulary:
    """A vocabulary of words that are one token each, found and checked with a tokenizer.

    Words that are one token without a space before them too are preferred, since a prompt begins
    with one; where there are few of these, what the first word costs more is in the overhead.
    With `count_chat` the overhead is that of the chat template, without it that of a bare prompt
    (BOS).  Where fewer than 32 candidates are single tokens, all candidates are used with their
    mean cost.
    """
    candidates = candidate_words()
    special = await _special_tokens(tokenize, candidates[0])
    found = await _single_tokens(tokenize, candidates, special)
    alone = await _each(tokenize, [word for word, _ in found])
    both = [pair for pair, ids in zip(found, alone, strict=True) if len(ids) - special == 1]
    found = both if len(both) >= WORDS_NEEDED else found
    words = tuple(word for word, _ in found) if len(found) >= WORDS_NEEDED else candidates
    ids = tuple(token for _, token in found) if len(found) >= WORDS_NEEDED else ()
    samples = [_sample(words, size, start) for start, size in enumerate(_SAMPLE_WORDS * 4)]
    sizes = [sample.count(" ") + 1 for sample in samples]
    bare = [len(found_ids) for found_ids in await _each(tokenize, samples)]
    whole = bare
    if count_chat is not None:
        asked = [count_chat([{"role": "user", "content": sample}]) for sample in samples]
        whole = list(await asyncio.gather(*asked))
    per_word = 1.0 if ids else (sum(bare) - special * len(bare)) / sum(sizes)
    rests = [count - per_word * size for count, size in zip(whole, sizes, strict=True)]
    overhead = max(0.0, statistics.median(rests))
    return Vocabulary(
        method=method,
        words=words,
        ids=ids,
        tokens_per_word=per_word,
        overhead_tokens=overhead,
        error_fraction=sum(abs(rest - overhead) for rest in rests) / sum(whole),
    )


def calibration_prompts(vocabulary: Vocabulary | None = None) -> tuple[tuple[int, str], ...]:
    """(words, text) of prompts whose `usage.prompt_tokens` the two functions below take."""
    words = vocabulary.words if vocabulary else candidate_words()[:CALIBRATION_VOCABULARY]
    return tuple((size, _sample(words, size, 0)) for size in CALIBRATION_WORDS)


def estimated_vocabulary(observed: Sequence[tuple[int, int]]) -> Vocabulary:
    """A vocabulary from (words, prompt tokens counted by the server) of calibration prompts.

    A line through the shortest and the longest: the slope is the cost of a word, the intercept
    what the server adds.  The error is known only with a third observation, from its
    distance to the line.  Raises UsageError where the counts are no rising line.
    """
    ordered = sorted(observed)
    (few, few_tokens), (many, many_tokens) = ordered[0], ordered[-1]
    if many == few or many_tokens <= few_tokens:
        raise UsageError(
            f"calibration: {few} words count as {few_tokens} tokens and {many} as {many_tokens}",
            "the server's usage.prompt_tokens can't be used; give --tokenizer-file",
        )
    per_word = (many_tokens - few_tokens) / (many - few)
    overhead = few_tokens - per_word * few
    between = ordered[1:-1]
    off = sum(abs(tokens - overhead - per_word * n) for n, tokens in between)
    return Vocabulary(
        method=LengthMethod.ESTIMATE,
        words=candidate_words()[:CALIBRATION_VOCABULARY],
        tokens_per_word=per_word,
        overhead_tokens=max(0.0, overhead),
        error_fraction=off / sum(tokens for _, tokens in between) if between else None,
    )


def with_overhead(vocabulary: Vocabulary, observed: Sequence[tuple[int, int]]) -> Vocabulary:
    """The vocabulary with the overhead that (words, prompt tokens) of its own prompts show.

    For a local tokenizer, which does not know the server's chat template.
    """
    rests = [tokens - vocabulary.tokens_per_word * words for words, tokens in observed]
    return replace(vocabulary, overhead_tokens=max(0.0, statistics.median(rests)))


def local_tokenizer(path: str | Path) -> Tokenize:
    """The tokenizer of a `tokenizer.json` as a callable for `measured_vocabulary`.

    Raises UsageError: the extra is not installed, or the file can't be read.
    """
    try:
        import tokenizers
    except ImportError:
        raise UsageError(
            "prompt_length local_tokenizer needs the package tokenizers",
            "install the extra: bench-llm[tokenizers]",
        ) from None
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for every wrong file
        raise UsageError(f"{path}: not readable as tokenizer.json: {error}") from None

    async def tokenize(text: str) -> Sequence[int]:
        return list(tokenizer.encode(text).ids)

    return tokenize


async def _special_tokens(tokenize: Tokenize, word: str) -> int:
    """Tokens that the tokenizer adds to any text: what is left of one word's cost in two."""
    once, twice = await _each(tokenize, [f" {word}", f" {word} {word}"])
    return max(0, 2 * len(once) - len(twice))


async def _single_tokens(
    tokenize: Tokenize, candidates: Sequence[str], special: int
) -> list[tuple[str, int]]:
    """Words (with their id) that are one token after a space, in the order of `candidates`.

    Whole groups are asked at once; a group that has longer words is halved.  Words that share an
    id (the one for unknown text) are left out: to the server they would be the same word.
    """
    found: list[tuple[str, int]] = []
    groups = [candidates[i : i + _GROUP] for i in range(0, len(candidates), _GROUP)]
    while groups:
        asked, groups = groups[:_GROUP], groups[_GROUP:]
        answers = await _each(tokenize, [" " + " ".join(group) for group in asked])
        halves: list[Sequence[str]] = []
        for group, ids in zip(asked, answers, strict=True):
            if len(ids) - special == len(group):
                found.extend(zip(group, list(ids)[special:], strict=True))
            elif len(group) > 1:
                halves += [group[: len(group) // 2], group[len(group) // 2 :]]
        groups = halves + groups
    uses = Counter(token for _, token in found)
    order = {word: i for i, word in enumerate(candidates)}
    distinct = [(word, token) for word, token in found if uses[token] == 1]
    return sorted(distinct, key=lambda each: order[each[0]])


async def _each(tokenize: Tokenize, texts: Sequence[str]) -> list[Sequence[int]]:
    return list(await asyncio.gather(*(tokenize(text) for text in texts)))


def _sample(words: Sequence[str], size: int, start: int) -> str:
    """`size` words that begin elsewhere, with other neighbours, for each `start`."""
    first, step = 29 * start, 7 + 2 * start
    return " ".join(words[(first + i * step) % len(words)] for i in range(size))
