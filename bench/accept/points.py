"""Points of a rate search, as an activity's record holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.judge.stats import finite_or_none
from bench.judge.sweep import Point, Step


def as_record(step: Step, wanted: float) -> dict[str, Any]:
    """A point of a search as its record holds it: see `bench.judge.sweep.Point`.

    A run whose attainment is unknown attained nothing.
    """
    found = step.value("goodput_fraction")
    known = [0.0 if math.isnan(end) else end for end in (found.value, found.low, found.high)]
    return {
        "rate_rps": step.load,
        "held": known[0] >= wanted,
        "broken": list(step.reasons),
        **dict(zip(("attainment", "low", "high"), known, strict=True)),
        "wanted": wanted,
        "request_rps": finite_or_none(step.value("request_rps").value),
    }


def points_of(points: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of a search from its record."""
    names = ("rate_rps", "attainment", "low", "high", "wanted")
    return [Point(*(point[name] for name in names)) for point in points]
