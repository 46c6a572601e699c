"""Where a series of nights changed its level.

Binary segmentation (Scott & Knott, Biometrics 30 (1974); Vostrikova, Sov. Math. Dokl. 24 (1981)):
the split with the greatest standardised difference of means is a change point if permuting the
nights rarely gives as great a one (Antoch & Hušková, Stat. Probab. Lett. 53 (2001)), and then
either side is searched in turn.  Permutations are drawn from a fixed seed, so a series always has
the same change points.  Those whose levels differ by less than a minimum shift are then taken out,
the least first: nights drift, and with enough of them any drift is significant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.judge.stats import Floats

SHORTEST_SEGMENT = 4
LEVEL = 0.01

_PERMUTATIONS = 999
_SEED = 20_010_601


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """`index` is the first value of the new level; `before` and `after` are the levels."""

    index: int
    before: float
    after: float
    p: float

    @property
    def shift(self) -> float:
        return self.after - self.before


def change_points(series: Floats, minimum_shift: float, level: float = LEVEL) -> list[ChangePoint]:
    """The change points of a series without NaN, in its order.

    Segments have at least `SHORTEST_SEGMENT` values; a shift of less than `minimum_shift`, in the
    unit of the series, is none.
    """
    if len(series) < 2 * SHORTEST_SEGMENT:
        return []
    edges = dict(_splits(series, 0, len(series), level))
    while True:
        found = _levels(series, edges)
        least = min(found, key=lambda point: abs(point.shift), default=None)
        if least is None or abs(least.shift) >= minimum_shift:
            return found
        del edges[least.index]


def _levels(series: Floats, edges: Mapping[int, float]) -> list[ChangePoint]:
    """The change points at `edges` (index → p) with the levels on either side."""
    bounds = [0, *edges, len(series)]
    levels = [float(series[a:b].mean()) for a, b in pairwise(bounds)]
    return [
        ChangePoint(index, levels[k], levels[k + 1], p)
        for k, (index, p) in enumerate(edges.items())
    ]


def _splits(series: Floats, first: int, last: int, level: float) -> list[tuple[int, float]]:
    """(index, p) of the significant splits of `series[first:last]`, in order."""
    part = series[first:last]
    if len(part) < 2 * SHORTEST_SEGMENT or math.isclose(float(np.ptp(part)), 0.0):
        return []
    statistics = _contrasts(part[None, :])[0]
    split = int(statistics.argmax()) + SHORTEST_SEGMENT
    rng = np.random.default_rng(_SEED)
    shuffled = rng.permuted(np.tile(part, (_PERMUTATIONS, 1)), axis=1)
    as_great = int((_contrasts(shuffled).max(axis=1) >= statistics.max()).sum())
    p = (1 + as_great) / (1 + _PERMUTATIONS)
    if p > level:
        return []
    middle = first + split
    return [
        *_splits(series, first, middle, level),
        (middle, p),
        *_splits(series, middle, last, level),
    ]


def _contrasts(rows: Floats) -> Floats:
    """|difference of means| × √(k (n - k) / n) of each row for each split after k values."""
    n = rows.shape[1]
    k = np.arange(SHORTEST_SEGMENT, n - SHORTEST_SEGMENT + 1)
    total = np.cumsum(rows, axis=1)
    before = total[:, k - 1] / k
    after = (total[:, -1:] - total[:, k - 1]) / (n - k)
    contrasts: Floats = np.abs(after - before) * np.sqrt(k * (n - k) / n)
    return contrasts
