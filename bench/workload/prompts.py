"""Text and token ids made from block ids: equal ids give equal content, everywhere.

A block's content is a function of the run's salt, the content seed, the trace's name, the cycle,
and the block's id, computed by BLAKE2b (the key) and SplitMix64 (the stream; Steele, Lea and Flood,
OOPSLA 2014), so that it is the same in every process and on every machine.  A stream does not
depend on how much of it is taken: a partial block is the beginning of the whole one.  Two
different blocks share their first n words with a chance of about 2^-3n, and their first 16 of
2^-48.

Content is put together from phrases of 4 words, one look-up each, for all blocks of a prompt at
once; nothing is cached, so memory does not grow with the trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.model import Message
from bench.workload.tokens import LengthMethod, Vocabulary

PHRASE_WORDS = 4
_PHRASE_BITS = 12
_PHRASES = 1 << _PHRASE_BITS

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_TO_PHRASE = np.uint64(64 - _PHRASE_BITS)

Words = NDArray[np.int64]


def mix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: a bijection of 64-bit words that spreads every bit."""
    mixed = values ^ (values >> _SHIFT_30)
    mixed *= _MIX_1
    mixed ^= mixed >> _SHIFT_27
    mixed *= _MIX_2
    mixed ^= mixed >> _SHIFT_31
    return mixed


def content_key(*parts: object) -> int:
    """64-bit key of what content depends on.  Parts are told apart whatever they hold."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def phrase_numbers(key: int, ids: NDArray[np.uint64], phrases: int) -> Words:
    """The first `phrases` phrase numbers of each id's stream, shape (ids, phrases)."""
    seeds = mix64((ids + np.array([key], dtype=np.uint64)) * _GAMMA)
    drawn = mix64(seeds[:, None] + _steps((phrases - 1).bit_length())[:phrases])
    drawn >>= _TO_PHRASE
    return drawn.view(np.int64)


@cache
def _steps(bits: int) -> NDArray[np.uint64]:
    """The first 2 ** bits multiples of SplitMix64's increment."""
    return np.arange(1, (1 << bits) + 1, dtype=np.uint64) * _GAMMA


class PromptMaker:
    """Makes prompts of planned length from a vocabulary.  Picklable.

    `seed`: the content seed.  `salt`: changes all content of a run; "" for none.  `namespace`: what
    block ids are relative to, such as the trace's name.  `block_tokens`: tokens of a block.
    `ceil`: whether the last block may be partial; otherwise tokens beyond the blocks are the
    request's own (docs/traces.md).
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        seed: int,
        salt: str,
        namespace: str = "",
        block_tokens: int | None = None,
        ceil: bool = True,
    ) -> None:
        self.vocabulary = vocabulary
        self.block_tokens = block_tokens
        self._seed, self._salt, self._namespace = seed, salt, namespace
        self._ceil = ceil
        per_block = (block_tokens or 0) / vocabulary.tokens_per_word
        self._block_words = max(1, round(per_block))
        self._keys: tuple[int, int, int] = (-1, 0, 0)

    def __getstate__(self) -> dict[str, Any]:
        # The phrase tables are made anew where they are needed.
        return {name: value for name, value in vars(self).items() if not name.startswith("_phrase")}

    def from_blocks(
        self, ids: NDArray[np.uint64], input_tokens: int, index: int, cycle: int = 0
    ) -> str | list[int]:
        """The content of blocks `ids`, `input_tokens` long as the server counts.

        Blocks are laid out from the left, as many as fit; what is left is the beginning of the
        next block, or request `index`'s own content where the rule has no partial blocks.
        """
        shared_key, own_key = self._cycle_keys(cycle)
        words = self.vocabulary.words_for(input_tokens)
        ceil = self._ceil and len(ids) > 0
        whole = min(len(ids) - ceil, words // self._block_words)
        rest = words - whole * self._block_words
        if not rest:
            return self._rendered([self._phrases(shared_key, ids[:whole], self._block_words)])
        if ceil or whole < len(ids):
            return self._rendered([self._phrases(shared_key, ids[: whole + 1], rest)])
        own = self._phrases(own_key, np.array([index], dtype=np.uint64), rest)
        if not whole:
            return self._rendered([own])
        return self._rendered([self._phrases(shared_key, ids, self._block_words), own])

    def unique(self, input_tokens: int, index: int, cycle: int = 0) -> str | list[int]:
        """Content that no other request has, `input_tokens` long as the server counts."""
        _, own_key = self._cycle_keys(cycle)
        words = self.vocabulary.words_for(input_tokens)
        return self._rendered([self._phrases(own_key, np.array([index], dtype=np.uint64), words)])

    def salted(self, messages: Sequence[Message], cycle: int = 0) -> list[Message]:
        """Recorded messages with 8 hex digits and a newline before the first text.

        They are the same for every request of a run and cycle, so sharing within the run stays.
        Unsalted runs leave the first cycle as it is.
        """
        if not self._salt and cycle == 0:
            return list(messages)
        mark = f"{content_key('text', self._seed, self._salt, cycle) & 0xFFFFFFFF:08x}\n"
        return [_marked(messages[0], mark), *messages[1:]] if messages else []

    def _cycle_keys(self, cycle: int) -> tuple[int, int]:
        if self._keys[0] != cycle:
            of_run = (self._seed, self._salt, self._namespace, cycle)
            self._keys = (cycle, content_key("block", *of_run), content_key("own", *of_run))
        return self._keys[1:]

    def _phrases(self, key: int, ids: NDArray[np.uint64], last_words: int) -> Words:
        """Entries of the phrase table for whole blocks and one last of `last_words` words."""
        per_block = -(-self._block_words // PHRASE_WORDS)
        per_last = -(-last_words // PHRASE_WORDS)
        numbers = phrase_numbers(key, ids, max(per_block, per_last) if len(ids) > 1 else per_last)
        blocks, last = numbers[:-1, :per_block], numbers[-1, :per_last]
        blocks[:, -1] += (-self._block_words % PHRASE_WORDS) * _PHRASES
        last[-1] += (-last_words % PHRASE_WORDS) * _PHRASES
        return np.concatenate((blocks.ravel(), last))

    def _rendered(self, parts: list[Words]) -> str | list[int]:
        chosen = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.vocabulary.method is LengthMethod.TOKEN_IDS:
            tokens = self._phrase_ids[chosen].ravel()
            made: list[int] = tokens[tokens >= 0].tolist()
            return made
        return " ".join(map(self._phrase_texts.__getitem__, chosen.tolist()))

    @cached_property
    def _phrase_texts(self) -> list[str]:
        """Every phrase whole, then without its last word, its last two, its last three."""
        words = self.vocabulary.words
        phrases = [[words[i] for i in row] for row in _phrase_words(len(words)).tolist()]
        return [
            " ".join(phrase[: PHRASE_WORDS - short])
            for short in range(PHRASE_WORDS)
            for phrase in phrases
        ]

    @cached_property
    def _phrase_ids(self) -> Words:
        """The same of token ids, shape (4 · phrases, 4), -1 where a word is left out."""
        ids = np.array(self.vocabulary.ids, dtype=np.int64)
        table: Words = np.tile(ids[_phrase_words(len(ids))], (PHRASE_WORDS, 1))
        for short in range(1, PHRASE_WORDS):
            table[short * _PHRASES : (short + 1) * _PHRASES, PHRASE_WORDS - short :] = -1
        return table


def _phrase_words(vocabulary: int) -> Words:
    """Word numbers of every phrase, shape (phrases, 4), from a fixed stream."""
    numbers = np.arange(1, _PHRASES * PHRASE_WORDS + 1, dtype=np.uint64) * _GAMMA
    chosen = (mix64(numbers) >> np.uint64(32)) % np.uint64(vocabulary)
    return chosen.astype(np.int64).reshape(_PHRASES, PHRASE_WORDS)


def _marked(message: Message, mark: str) -> Message:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": mark + content}
    parts: list[Mapping[str, Any]] = list(content) if isinstance(content, list | tuple) else []
    return {**message, "content": [{"type": "text", "text": mark}, *parts]}
