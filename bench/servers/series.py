"""Reading series of samples over a window: increases of counters, differences of histograms.

Pure functions; no network.  A decrease of a counter is a restart: what came after it is counted
from 0, the result is a lower bound, and the number of resets stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from bench.model import ServerSample

UP = "up"
DURATION = "scrape_duration_seconds"
"""Samples the scraper adds of itself: 1 or 0 for each scrape, and how long it took."""

Labels = tuple[tuple[str, str], ...]
Where = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Increase:
    """How much a counter grew.  `value` None: fewer than two readings, or none at all.

    With `resets` > 0 the value is a lower bound: what was counted between the last reading before
    a reset and the reset is lost.
    """

    value: float | None
    resets: int = 0

    def __add__(self, other: Increase) -> Increase:
        known = [part.value for part in (self, other) if part.value is not None]
        return Increase(sum(known) if known else None, self.resets + other.resets)


def counter_delta(values: Iterable[float]) -> Increase:
    """The increase over readings in order of time; readings that are not finite are left out."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return Increase(None)
    total, resets = 0.0, 0
    for before, after in pairwise(finite):
        if after < before:
            resets += 1
            total += after
        else:
            total += after - before
    return Increase(total, resets)


def matches(labels: Mapping[str, str], where: Where) -> bool:
    """Whether each label named in `where` is absent or has one of the values given for it."""
    return all(name not in labels or labels[name] in allowed for name, allowed in where.items())


_T = TypeVar("_T")


def one_rank(
    found: Iterable[_T], labels_of: Callable[[_T], Mapping[str, str]], rank_labels: Sequence[str]
) -> list[_T]:
    """What was found at one instant; of what differs in its ranks alone, the lowest rank's.

    `labels_of` gives the labels of each, the name among them.
    """
    lowest: dict[Labels, tuple[list[int], _T]] = {}
    for each in found:
        labels = labels_of(each)
        ranks = [_rank(labels.get(label, "")) for label in rank_labels]
        rest = tuple(sorted(pair for pair in labels.items() if pair[0] not in rank_labels))
        known = lowest.get(rest)
        if known is None or ranks < known[0]:
            lowest[rest] = ranks, each
    return [each for _, each in lowest.values()]


def _rank(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def tracks(
    samples: Iterable[ServerSample], name: str, where: Where | None = None
) -> dict[tuple[str, Labels], list[ServerSample]]:
    """The samples of one name as one list for each source and label set, in order of time."""
    found: dict[tuple[str, Labels], list[ServerSample]] = {}
    for sample in samples:
        if sample.name == name and matches(sample.labels, where or {}):
            key = (sample.source, tuple(sorted(sample.labels.items())))
            found.setdefault(key, []).append(sample)
    for track in found.values():
        track.sort(key=lambda sample: sample.at_ns)
    return found


def window_delta(
    samples: Sequence[ServerSample], name: str, where: Where | None = None
) -> Increase:
    """The increase of a counter over all sources and label sets of `samples`.

    A label set that appears after its source's first scrape was born in the window and is counted
    from 0: several servers expose a labelled counter only once it has counted something.
    """
    first_ns = _first_scrapes(samples)
    total = Increase(None)
    for (source, _), track in tracks(samples, name, where).items():
        total += counter_delta(_from_birth(track, first_ns[source]))
    return total


def _first_scrapes(samples: Iterable[ServerSample]) -> dict[str, int]:
    """When each source first answered; a scrape that failed says nothing of what existed."""
    first: dict[str, int] = {}
    for sample in samples:
        if sample.name == DURATION or (sample.name == UP and not sample.value):
            continue
        first[sample.source] = min(sample.at_ns, first.get(sample.source, sample.at_ns))
    return first


def _from_birth(track: Sequence[ServerSample], first_ns: int) -> Iterator[float]:
    if track[0].at_ns > first_ns:
        yield 0.0
    for sample in track:
        yield sample.value


@dataclass(frozen=True, slots=True)
class HistogramDelta:
    """What a histogram gathered in a window.

    `bounds`: upper bounds of the buckets (`le` as scraped, ascending, the last infinite).
    `cumulative`: observations at or below each bound.  `total`: the sum of the observations.
    """

    bounds: tuple[float, ...]
    cumulative: tuple[float, ...]
    total: float | None
    resets: int = 0

    @property
    def count(self) -> float:
        return self.cumulative[-1]

    @property
    def mean(self) -> float | None:
        """Sum over count; None without observations or without a sum."""
        return self.total / self.count if self.total is not None and self.count else None

    def quantile(self, share: float) -> tuple[float, float] | None:
        """The bucket that holds the nearest-rank quantile: (above, at most); None when empty.

        The values of a bucket are not known, so no single number is given.  The lowest bucket of
        positive bounds begins at 0; the highest has no upper end.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        position = next(i for i, below in enumerate(self.cumulative) if below >= rank)
        if position:
            return self.bounds[position - 1], self.bounds[position]
        return (0.0 if self.bounds[0] > 0 else -math.inf), self.bounds[0]


def histogram_delta(
    samples: Sequence[ServerSample], name: str, where: Where | None = None
) -> HistogramDelta | None:
    """A histogram's increase over all sources and label sets of `samples`.

    None without two scrapes of it, when label sets have different bounds (sums of those would be
    wrong), and when the bounds are no numbers up to infinity (the highest counts all).
    """
    first_ns = _first_scrapes(samples)
    buckets: dict[tuple[str, Labels], dict[float, Increase]] = {}
    for (source, labels), track in tracks(samples, f"{name}_bucket", where).items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        if (bound := _bound(dict(labels))) is None:
            return None
        increase = counter_delta(_from_birth(track, first_ns[source]))
        if increase.value is None:
            return None
        buckets.setdefault((source, rest), {})[bound] = increase
    bounds = {tuple(sorted(per_bound)) for per_bound in buckets.values()}
    if len(bounds) != 1:
        return None
    (ascending,) = bounds
    if ascending[-1] != math.inf:
        return None
    sums = [sum((b[bound] for b in buckets.values()), Increase(None)) for bound in ascending]
    total = window_delta(samples, f"{name}_sum", where)
    return HistogramDelta(
        bounds=ascending,
        cumulative=tuple(increase.value or 0.0 for increase in sums),
        total=total.value,
        resets=max(increase.resets for increase in sums),
    )


def _bound(labels: Mapping[str, str]) -> float | None:
    try:
        return float(labels["le"])
    except (KeyError, ValueError):
        return None


def restarts(samples: Iterable[ServerSample], name: str) -> int:
    """How often a process start time (`process_start_time_seconds`) changed."""
    return sum(
        before.value != after.value
        for track in tracks(samples, name).values()
        for before, after in pairwise(track)
    )
