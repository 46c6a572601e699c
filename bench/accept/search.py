"""The highest rate a server sustains, by raising the rate until the attainment is lost.

Pure functions of the points measured so far, so that a search can be taken up where it stopped.
Method: DistServe (OSDI 2024) defines the goodput of a system as the highest rate at which the
attainment holds; found by doubling and then bisecting on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

GROWTH = 2.0
_FLOOR = 1 / 64


@dataclass(frozen=True, slots=True)
class Point:
    """One run at a rate.  `held`: the attainment reaches the wanted one."""

    rate_rps: float
    held: bool


def bracket(points: Sequence[Point]) -> tuple[float | None, float | None]:
    """The highest rate that held below every one that did not, and the lowest that did not."""
    not_held = [point.rate_rps for point in points if not point.held]
    above = min(not_held, default=None)
    held = [p.rate_rps for p in points if p.held and (above is None or p.rate_rps < above)]
    return max(held, default=None), above


def next_rate(
    points: Sequence[Point], start_rps: float, tolerance: float, most: int
) -> float | None:
    """The rate to measure next; None when the bracket is within `tolerance` or runs are used up."""
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
