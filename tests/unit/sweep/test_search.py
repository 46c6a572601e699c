"""The rate search: where it goes next, when it ends, what it found."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.sweep import Point, bracket
from bench.sweep.search import next_rate


def at(rate_rps: float, held: bool) -> Point:
    """A rate that all requests were good at, or none."""
    share = float(held)
    return Point(rate_rps, share, share, share, 0.9)


def test_it_begins_at_the_start() -> None:
    """Without points the start is measured."""
    assert next_rate([], 3.0, 0.1, 10) == 3.0


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([at(4, True)], 8),
        ([at(4, False)], 2),
        ([at(4, True), at(8, False)], math.sqrt(32)),
        ([at(4, True), at(4.2, False)], None),
    ],
)
def test_it_doubles_halves_bisects_and_ends(points: list[Point], expected: float | None) -> None:
    """Up until the attainment is lost, down until it holds, then between the two."""
    assert next_rate(points, 4.0, 0.1, 10) == expected


def test_it_ends_when_its_runs_are_used_up() -> None:
    """Even with the bracket still open."""
    assert next_rate([at(2**k, True) for k in range(5)], 1.0, 0.1, 5) is None


def test_a_server_that_holds_nothing_ends_the_search() -> None:
    """It gives up far below the start."""
    assert next_rate([at(1 / 64, False)], 1.0, 0.1, 99) is None


def test_a_rate_above_one_that_was_lost_is_not_the_peak() -> None:
    """Luck at a high rate does not count once a lower one was lost."""
    assert bracket([at(4, True), at(8, False), at(9, True)]) == (4, 8)


@given(st.floats(0.1, 1000), st.floats(0.1, 50))
def test_it_finds_the_peak_of_a_server_with_a_sharp_one(peak: float, start: float) -> None:
    """Within the tolerance, from any start, in at most 40 runs."""
    points: list[Point] = []
    while (rate := next_rate(points, start, 0.1, 40)) is not None:
        points.append(at(rate, rate <= peak))
    low, high = bracket(points)
    if low is None:  # the peak lies under a 64th of the start
        assert peak < start / 32
        return
    assert high is not None
    assert low <= peak < high <= low * 1.1001
