"""Which rate to measure next, in search of the highest one that holds.

A pure function of the points measured so far, so that a search can be taken up where it stopped:
the rate is doubled until it is lost, halved until it holds, then bisected on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.judge.sweep import Point, bracket

GROWTH = 2.0
_FLOOR = 1 / 64


def next_rate(
    points: Sequence[Point], start_rps: float, tolerance: float, most: int
) -> float | None:
    """The rate to measure next; None when the bracket is within `tolerance` or runs are used up.

    `tolerance` is the most that the lost rate may be above the one that held, as a fraction.
    """
    if not points:
        return start_rps
    if len(points) >= most:
        return None
    low, high = bracket(points)
    if high is None:
        assert low is not None
        return low * GROWTH
    if low is None:
        lower = high / GROWTH
        return lower if lower >= start_rps * _FLOOR else None
    return None if high / low <= 1 + tolerance else math.sqrt(low * high)
