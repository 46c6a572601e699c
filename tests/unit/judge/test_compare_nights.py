"""The noise floor of nights and the interval it gives, worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from bench.judge.compare_nights import NightValues, compare_nights, key_of, noise_floor
from bench.judge.compare_stats import Basis
from bench.judge.profile import Compared

MEDIAN = Compared(metric="ttft_s", statistic="p50", minimum_effect=0.03)
PRIOR = math.log(1.03) / 3
T_6 = 2.446912
"""Student's t of 6 degrees, 97.5 %."""


def nights(*logarithms: float | Sequence[float]) -> list[NightValues]:
    """Nights of one round each, or of as many as are given, by the logarithm of their TTFT."""
    every = [each if isinstance(each, Sequence) else (each,) for each in logarithms]
    return [
        NightValues(f"n{k}", {key_of(MEDIAN): tuple(map(math.exp, rounds))})
        for k, rounds in enumerate(every)
    ]


def test_each_night_adds_its_difference_from_the_mean_of_those_before_it() -> None:
    """0, 0.02, 0.04: 0.02² of 1 night before, 0.03² of 2, and four nights of the prior."""
    found = noise_floor(nights(0.0, 0.02, 0.04), MEDIAN, window=2)
    seen = 0.02**2 / (1 + 1) + 0.03**2 / (1 + 1 / 2)
    assert found.error == pytest.approx(math.sqrt((4 * PRIOR**2 + seen) / 6))
    assert (found.degrees, found.differences) == (6, 2)


def test_a_new_level_and_a_short_window_leave_nights_out() -> None:
    """A window of one night looks back one; across a new level there is no difference."""
    series = nights(0.0, 0.02, 0.04)
    one = noise_floor(series, MEDIAN, window=1)
    assert one.error == pytest.approx(math.sqrt((4 * PRIOR**2 + 2 * 0.02**2 / 2) / 6))
    series[2] = NightValues("n2", series[2].values, new_level=True)
    assert noise_floor(series, MEDIAN, window=2).differences == 1


def test_the_interval_is_of_one_night_against_the_mean_of_several() -> None:
    """σ √(1 + 1/3) on either side, and where rounds lie further apart, what they say."""
    series = nights(0.0, 0.02, 0.04)
    floor = noise_floor(series, MEDIAN, window=2)
    (tonight,) = nights(0.03)
    (row,) = compare_nights(tonight, series, series, [MEDIAN], window=2, confidence=0.95).rows
    half = T_6 * floor.error * math.sqrt(1 + 1 / 3)
    assert row.found.change == pytest.approx(0.01)
    assert (row.found.low, row.found.high) == pytest.approx((0.01 - half, 0.01 + half), rel=1e-5)
    assert row.found.basis is Basis.NIGHTS

    (apart,) = nights((-0.5, 0.56))
    (row,) = compare_nights(apart, series, series, [MEDIAN], window=2, confidence=0.95).rows
    assert row.found.basis is Basis.RUNS


def test_rounds_of_all_nights_are_pooled() -> None:
    """Tonight's two rounds and those of two nights: 3 degrees, each night's mean by its rounds."""
    before = nights((0.0, 0.4), (0.1, 0.5))
    (tonight,) = nights((0.2, 0.6))
    (row,) = compare_nights(tonight, before, before, [MEDIAN], window=2, confidence=0.95).rows
    of_one = 3 * 2 * 0.2**2 / 3
    error = math.sqrt(of_one * (1 / 2 + (1 / 2 + 1 / 2) / 4))
    half = 3.182446 * error
    assert (row.found.low, row.found.high) == pytest.approx((0.15 - half, 0.15 + half), rel=1e-5)
    assert row.found.basis is Basis.RUNS
