"""Change points of a series of nights."""

from __future__ import annotations

import numpy as np
import pytest

from bench.judge.changepoint import SHORTEST_SEGMENT, change_points


def test_a_step_is_found_in_its_night() -> None:
    """A shift of 5 % under noise of 1 % is found at the first night of the new level."""
    rng = np.random.default_rng(2)
    series = 0.01 * rng.standard_normal(40)
    series[25:] += 0.05
    (found,) = change_points(series, 0.03)
    assert found.index == 25
    assert found.shift == pytest.approx(0.05, abs=0.01)
    assert found.p == 1 / 1000, "of 999 orders and its own, none shows as much"


def test_two_steps_that_cancel_are_both_found() -> None:
    """A level that comes back is two change points, though the ends are alike."""
    rng = np.random.default_rng(7)
    series = 0.005 * rng.standard_normal(60)
    series[20:40] += 0.06
    assert [point.index for point in change_points(series, 0.03)] == [20, 40]


def test_noise_has_none() -> None:
    """At most 3 of 100 series of noise alone show a change, at a level of 1 %."""
    rng = np.random.default_rng(5)
    found = [change_points(rng.standard_normal(30), 0.0) for _ in range(100)]
    assert sum(bool(points) for points in found) <= 3


def test_a_small_shift_does_not_matter() -> None:
    """A shift below the minimum is none, however sure."""
    series = np.repeat([0.0, 0.02], 30) + 0.001 * np.random.default_rng(1).standard_normal(60)
    assert change_points(series, 0.03) == []
    assert len(change_points(series, 0.01)) == 1


def test_one_odd_night_is_no_level() -> None:
    """A single outlier is no change point."""
    series = 0.01 * np.random.default_rng(3).standard_normal(40)
    series[20] += 0.2
    assert change_points(series, 0.03) == []


@pytest.mark.parametrize("n", [0, 1, 2 * SHORTEST_SEGMENT - 1])
def test_a_short_series_has_none(n: int) -> None:
    """Fewer nights than two segments can't be divided."""
    assert change_points(np.arange(n, dtype=np.float64), 0.0) == []


def test_a_constant_series_has_none() -> None:
    """Nights that are all equal have one level."""
    assert change_points(np.full(20, 3.0), 0.0) == []


def test_a_series_always_has_the_same_change_points() -> None:
    """Permutations come from a fixed seed."""
    rng = np.random.default_rng(9)
    series = np.concatenate([rng.standard_normal(15), rng.standard_normal(15) + 1.5])
    assert change_points(series, 0.1) == change_points(series, 0.1)
