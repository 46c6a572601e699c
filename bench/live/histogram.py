"""Latencies of a run in progress, counted in buckets: memory does not follow the run's length."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence

PRECISION = 1.01


def fine_bounds_s() -> tuple[float, ...]:
    """Bounds from 10 µs to 3 h, each 1 % above the one before.

    A quantile read from them is at most 1 % above the value itself (DDSketch, Masson et al.,
    VLDB 2019, section 2.1).
    """
    lowest, highest = math.log(1e-5, PRECISION), math.log(10_800, PRECISION)
    return tuple(PRECISION**power for power in range(math.floor(lowest), math.ceil(highest) + 1))


class Histogram:
    """Counts of values at most each bound, as Prometheus has them, with sum and maximum.

    `counts[i]` are the values in (bounds[i - 1], bounds[i]]; the last are those above all bounds.
    """

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s = tuple(bounds_s)
        self.counts = [0] * (len(self.bounds_s) + 1)
        self.count = 0
        self.sum_s = 0.0
        self.max_s: float | None = None

    def add(self, values_s: Iterable[float]) -> None:
        for value in values_s:
            self.counts[bisect_left(self.bounds_s, value)] += 1
            self.count += 1
            self.sum_s += value
            self.max_s = value if self.max_s is None else max(self.max_s, value)

    def quantile_s(self, share: float) -> float | None:
        """The upper bound of the bucket with the nearest-rank quantile; None without values."""
        if self.max_s is None:
            return None
        rank = max(1, math.ceil(share * self.count))
        reached = 0
        for bound, count in zip(self.bounds_s, self.counts, strict=False):
            reached += count
            if reached >= rank:
                return min(bound, self.max_s)
        return self.max_s
