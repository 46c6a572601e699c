"""Token arrivals of a run, read once: gaps, counts per second, per-request stutter and fluidity.

A run may hold hundreds of millions of tokens.  They are read in batches, the gaps kept as float32
(a relative error of 6e-8: 1 ns in 20 ms), everything else reduced at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.judge.ranked import Ranked
from bench.judge.stats import Flags, Floats
from bench.judge.window import Grid

Gaps = NDArray[np.float32]
Ints = NDArray[np.int64]

_TBT_SHARE = 0.1
_CLOCK_STEP_S = 1e-9

NO_GAPS: Gaps = np.empty(0, np.float32)


class TokenEvents(Protocol):
    """Request `rows[i]` has the events `offsets[i]:offsets[i + 1]` of the flat arrays."""

    @property
    def rows(self) -> Ints: ...
    @property
    def offsets(self) -> Ints: ...
    @property
    def arrival_s(self) -> Floats: ...
    @property
    def tokens(self) -> NDArray[np.int32]: ...


@dataclass(frozen=True, slots=True, eq=False)
class GapBatch:
    """Gaps of some requests: `counts[i]` of the `gaps` belong to `rows[i]`, in order."""

    rows: Ints
    counts: Ints
    gaps: Gaps


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Fluidity's deadlines: `first_s` after the intended start, then `later_s` for each token."""

    first_s: float
    later_s: float


@dataclass(slots=True, eq=False)
class TokenCounts:
    """What one pass over the token events leaves.

    `per_second[k]` tokens arrived in bin k of the run's grid.  `arrived`, `tbt_top10_s` and
    `fluidity` have one value for each request: tokens that arrived in events, and NaN where there
    is no value.  `per_token` are ITL gaps, one for each token after a request's first event;
    `per_event` are undivided gaps between events (the same batch where no event carried several
    tokens).  `events` and `several` count events, and those that carried more than one token.
    """

    per_second: Floats
    arrived: Floats
    tbt_top10_s: Floats
    fluidity: Floats
    per_token: list[GapBatch] = field(default_factory=list)
    per_event: list[GapBatch] = field(default_factory=list)
    events: int = 0
    several: int = 0


def count_tokens(
    batches: Iterable[TokenEvents], intended_s: Floats, grid: Grid, deadlines: Deadlines | None
) -> TokenCounts:
    """Read all token events of a run whose requests have these intended starts."""
    n = len(intended_s)
    counts = TokenCounts(np.zeros(grid.bins), np.zeros(n), np.full(n, np.nan), np.full(n, np.nan))
    for batch in batches:
        events = _with_tokens(batch)
        if not len(events.arrival_s):
            continue
        several = int(np.count_nonzero(events.tokens > 1))
        weights = events.tokens.astype(np.float64) if several else None
        counts.per_second += grid.count(events.arrival_s, weights)
        counts.arrived[events.rows] = np.add.reduceat(events.tokens, events.offsets[:-1])
        counts.events += len(events.tokens)
        counts.several += several
        per_event, per_token = _gaps(events)
        counts.per_event.append(per_event)
        counts.per_token.append(per_token)
        counts.tbt_top10_s[per_token.rows] = longest_share_mean(per_token, _TBT_SHARE)
        if deadlines is not None:
            counts.fluidity[events.rows] = _fluidity(events, intended_s[events.rows], deadlines)
    return counts


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    rows: Ints
    offsets: Ints
    arrival_s: Floats
    tokens: NDArray[np.int32]


def _with_tokens(batch: TokenEvents) -> _Events:
    """The batch without events that carry no token and requests that have no event."""
    offsets, arrival, tokens = batch.offsets, batch.arrival_s, batch.tokens
    if len(tokens) and tokens.min() <= 0:
        kept = tokens > 0
        before = np.concatenate(([0], np.cumsum(kept)))
        offsets, arrival, tokens = before[offsets], arrival[kept], tokens[kept]
    has = np.diff(offsets) > 0
    if has.all():
        return _Events(batch.rows, offsets, arrival, tokens)
    return _Events(batch.rows[has], np.append(offsets[:-1][has], offsets[-1]), arrival, tokens)


def _gaps(events: _Events) -> tuple[GapBatch, GapBatch]:
    """Gaps between events, and the same shared out over the tokens of the later event."""
    later = np.ones(len(events.arrival_s), np.bool_)
    later[events.offsets[:-1]] = False
    between = np.diff(events.arrival_s, prepend=events.arrival_s[0])[later]
    counts = np.diff(events.offsets) - 1
    per_event = GapBatch(events.rows, counts, between.astype(np.float32))
    tokens = events.tokens[later]
    if not (tokens > 1).any():
        return per_event, per_event
    total = np.concatenate(([0], np.cumsum(tokens, dtype=np.int64)))
    edges = np.concatenate(([0], np.cumsum(counts)))
    shared = np.repeat((between / tokens).astype(np.float32), tokens)
    return per_event, GapBatch(events.rows, np.diff(total[edges]), shared)


def longest_share_mean(batch: GapBatch, share: float) -> Floats:
    """Mean of the longest ⌈share⌉ of each request's gaps; NaN for a request without gaps."""
    means = np.full(len(batch.counts), np.nan)
    starts = np.cumsum(batch.counts) - batch.counts
    order = np.argsort(batch.counts, kind="stable")
    lengths, first = np.unique(batch.counts[order], return_index=True)
    ends = np.append(first, len(order))[1:]
    for length, start, end in zip(lengths.tolist(), first, ends, strict=True):
        if not length:
            continue
        same = order[start:end]
        taken = math.ceil(round(length * share, 9))
        gaps = batch.gaps[starts[same][:, None] + np.arange(length)]
        gaps.partition(length - taken, axis=1)
        means[same] = gaps[:, length - taken :].mean(axis=1, dtype=np.float64)
    return means


def _fluidity(events: _Events, intended_s: Floats, deadlines: Deadlines) -> Floats:
    """Share of each request's tokens that met their deadline (Etalon, arXiv 2407.07000).

    Slack starts at 0, grows by what a token was early, and falls back to 0 at a late one.  Tokens
    of one event arrive together: the second and later ones are early by a whole deadline.  Where no
    event took longer than its deadline, none is late.
    """
    shares = np.ones(len(events.rows))
    slow = np.flatnonzero(_took_longer(events, intended_s, deadlines))
    if len(slow):
        shares[slow] = _fluidity_of(slow, events, intended_s, deadlines)
    return shares


def _took_longer(events: _Events, intended_s: Floats, deadlines: Deadlines) -> Flags:
    """Which requests have an event that took longer than its deadline, slack left aside."""
    starts = events.offsets[:-1]
    took = np.diff(events.arrival_s, prepend=0.0)
    took[starts] = events.arrival_s[starts] - intended_s + (deadlines.later_s - deadlines.first_s)
    longer: Flags = np.logical_or.reduceat(took > deadlines.later_s, starts)
    return longer


def _fluidity_of(chosen: Ints, events: _Events, intended_s: Floats, deadlines: Deadlines) -> Floats:
    counts = np.diff(events.offsets)[chosen]
    order = np.argsort(-counts, kind="stable")
    starts, lengths = events.offsets[:-1][chosen][order], counts[order]
    has_more = len(lengths) - np.searchsorted(lengths[::-1], np.arange(lengths[0]), side="right")
    slack, on_time, tokens = np.zeros(len(order)), np.zeros(len(order)), np.zeros(len(order))
    before, deadline_s = intended_s[chosen][order], deadlines.first_s
    for position, alive in enumerate(has_more.tolist()):
        arrival = events.arrival_s[starts[:alive] + position]
        carried = events.tokens[starts[:alive] + position]
        together = carried - 1
        left = slack[:alive] + deadline_s - (arrival - before[:alive])
        on_time[:alive] += (left >= -_CLOCK_STEP_S) + together
        tokens[:alive] += carried
        slack[:alive] = np.maximum(left, 0) + together * deadlines.later_s
        before, deadline_s = arrival, deadlines.later_s
    shares = np.empty(len(order))
    shares[order] = on_time / tokens
    return shares


def selected(batches: Iterable[GapBatch], keep: Flags) -> Iterator[GapBatch]:
    """The gaps of the requests that `keep` marks."""
    for batch in batches:
        mine = keep[batch.rows]
        if mine.all():
            yield batch
        elif mine.any():
            chosen = np.repeat(mine, batch.counts)
            yield GapBatch(batch.rows[mine], batch.counts[mine], batch.gaps[chosen])


def ranked(batches: Iterable[GapBatch]) -> Ranked:
    """All gaps of the batches."""
    return Ranked(np.concatenate([NO_GAPS, *(batch.gaps for batch in batches)]))


def count_beyond(
    batches: Iterable[GapBatch], threshold: float, requests: int
) -> tuple[Floats, Floats]:
    """For each request: how many of its gaps are over `threshold`, and how many it has."""
    beyond, counts = np.zeros(requests), np.zeros(requests)
    for batch in batches:
        ends = np.cumsum(batch.counts)
        place = np.searchsorted(ends, np.flatnonzero(batch.gaps > threshold), side="right")
        beyond[batch.rows] = np.bincount(place, minlength=len(ends))
        counts[batch.rows] = batch.counts
    return beyond, counts


def sum_per_request(batches: Iterable[GapBatch], requests: int) -> tuple[Floats, Floats]:
    """For each request: the sum of its gaps, and how many it has."""
    sums, counts = np.zeros(requests), np.zeros(requests)
    for batch in batches:
        edges = np.concatenate(([0], np.cumsum(batch.counts)))
        running = np.concatenate(([0.0], np.cumsum(batch.gaps, dtype=np.float64)))
        sums[batch.rows] = np.diff(running[edges])
        counts[batch.rows] = batch.counts
    return sums, counts
