"""Sessions drawn from a recipe's distributions, as the rows a trace would have.

A session's prompts are prefixes of one stream of blocks: the shared prefix of its group, then its
own blocks.  Each turn's prompt is the previous one, the previous answer's length, and new input, so
a server with a cache finds all of the previous prompt again.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bench.model import TraceRow
from bench.workload.distributions import draw_counts
from bench.workload.readers import Blocks
from bench.workload.recipe import SyntheticSource

BLOCK_TOKENS = 16
"""Block size of synthetic inputs.  A shared prefix is shared in whole blocks of it."""

BLOCKS = Blocks(BLOCK_TOKENS, "ceil", "content")

_SESSIONS_AT_ONCE = 1024


class BlockStreams:
    """Hands out block ids: some for shared prefixes, the rest once only."""

    def __init__(self, prefix_tokens: int = 0, groups: int = 1) -> None:
        self._prefix_blocks = prefix_tokens // BLOCK_TOKENS
        self._next = self._prefix_blocks * groups

    def stream(self, tokens: int, group: int = 0) -> tuple[int, ...]:
        """Ids of a new stream of `tokens` tokens that begins with the prefix of `group`."""
        blocks = -(-tokens // BLOCK_TOKENS)
        shared = min(blocks, self._prefix_blocks)
        first = group * self._prefix_blocks
        return (*range(first, first + shared), *self._fresh(blocks - shared))

    def extended(self, ids: tuple[int, ...], tokens: int) -> tuple[int, ...]:
        """The same stream, long enough for `tokens` tokens."""
        return (*ids, *self._fresh(-(-tokens // BLOCK_TOKENS) - len(ids)))

    def _fresh(self, blocks: int) -> range:
        first = self._next
        self._next += max(0, blocks)
        return range(first, self._next)


def synthetic_rows(source: SyntheticSource, seed: int, counts: Counter[str]) -> Iterator[TraceRow]:
    """Rows of one session after the other, without end, seeded by the seed of lengths.

    Counts `input_clamped` (first turns cut to `max_input_tokens`) and `turn_dropped` (turns that
    would have exceeded it).
    """
    prefix_tokens = source.shared_prefix.tokens if source.shared_prefix else 0
    groups = source.shared_prefix.groups if source.shared_prefix else 1
    streams = BlockStreams(prefix_tokens, groups)
    rng = np.random.Generator(np.random.PCG64(seed))
    line = 0
    for batch in itertools.count():
        first_session = batch * _SESSIONS_AT_ONCE
        for i, (group, turns) in enumerate(_drawn_sessions(source, rng, groups)):
            turns[0].new_tokens += prefix_tokens
            for row in _session(source, streams, group, turns, counts):
                line += 1
                name = f"s{first_session + i}" if len(turns) > 1 else None
                yield replace(row, session=name, line=line)


@dataclass(slots=True)
class _Turn:
    """`new_tokens` of input beyond the session so far, and what follows them."""

    new_tokens: int
    output_tokens: int
    think_s: float


def _drawn_sessions(
    source: SyntheticSource, rng: np.random.Generator, groups: int
) -> Iterator[tuple[int, list[_Turn]]]:
    """One batch of sessions: prefix group and turns, all drawn before the first is given."""
    sizes = np.ones(_SESSIONS_AT_ONCE, dtype=np.int64)
    if source.turns is not None:
        sizes = draw_counts(source.turns, rng, _SESSIONS_AT_ONCE)
    chosen = rng.integers(0, groups, _SESSIONS_AT_ONCE).tolist()
    total = int(sizes.sum())
    new_tokens = draw_counts(source.input_tokens, rng, total)
    output_tokens = draw_counts(source.output_tokens, rng, total).tolist()
    think_s = [0.0] * total if source.think_s is None else source.think_s.draw(rng, total).tolist()
    if source.first_input_tokens is not None:
        begins = np.cumsum(sizes) - sizes
        new_tokens[begins] = draw_counts(source.first_input_tokens, rng, _SESSIONS_AT_ONCE)
    turns = map(_Turn, new_tokens.tolist(), output_tokens, think_s)
    for group, size in zip(chosen, sizes.tolist(), strict=True):
        yield group, list(itertools.islice(turns, size))


def _session(
    source: SyntheticSource,
    streams: BlockStreams,
    group: int,
    turns: list[_Turn],
    counts: Counter[str],
) -> Iterator[TraceRow]:
    most = source.max_input_tokens
    tokens = 0
    ids: tuple[int, ...] = ()
    for i, turn in enumerate(turns):
        tokens += turn.new_tokens
        if most is not None and tokens > most:
            if i:
                counts["turn_dropped"] += len(turns) - i
                return
            counts["input_clamped"] += 1
            tokens = most
        ids = streams.extended(ids, tokens) if i else streams.stream(tokens, group)
        think_s = turn.think_s if i else None
        yield TraceRow(None, tokens, turn.output_tokens, think_s=think_s, block_ids=ids)
        tokens += turn.output_tokens
