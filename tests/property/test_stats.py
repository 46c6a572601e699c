"""Statistics keep their promises over many draws."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge import stats
from bench.judge.sweep import Point, highest_held

_DRAWS = 400


@given(
    values=st.lists(st.integers(0, 30), min_size=1, max_size=80),
    bound=st.integers(-1, 31),
    percent=st.sampled_from([1, 50, 90, 95, 99, 99.9]),
)
def test_a_quantile_is_within_a_bound_exactly_when_enough_values_are(
    values: list[int], bound: int, percent: float
) -> None:
    """quantile(q) <= b is the same claim as "at least ceil(q n) values are <= b"."""
    ascending = np.sort(np.array(values, np.float64))
    q = percent / 100
    enough = int((ascending <= bound).sum()) >= stats.rank_of(q, len(values))
    assert (stats.nearest_rank(ascending, q) <= bound) is enough


@given(good=st.integers(0, 60), more=st.integers(0, 60), confidence=st.sampled_from([0.8, 0.95]))
def test_an_exact_interval_holds_its_proportion(good: int, more: int, confidence: float) -> None:
    """The interval contains the share it was made from, and lies in [0, 1]."""
    n = good + more
    low, high = stats.clopper_pearson(good, n, confidence)
    assert 0 <= low <= high <= 1
    assert n == 0 or low <= good / n <= high


@given(q=st.sampled_from([0.5, 0.9, 0.99]), n=st.integers(1, 3000), share=st.floats(0.05, 1))
def test_ranks_of_an_interval_are_ordered(q: float, n: int, share: float) -> None:
    """The interval's ranks surround the quantile's own, for any effective sample size."""
    low, high = stats.quantile_ranks(q, n, n * share, 0.95)
    assert 1 <= low <= stats.rank_of(q, n) <= high <= n + 1


@pytest.mark.parametrize(("n", "share"), [(50, 0.9), (200, 0.99), (1000, 0.5)])
def test_exact_interval_covers_at_least_as_often_as_it_says(n: int, share: float) -> None:
    """Clopper–Pearson at 95 % holds the true share in at least 95 % of all samples, exactly."""
    log_chance = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        + k * np.log(share) + (n - k) * np.log1p(-share)
        for k in range(n + 1)
    ]  # fmt: skip
    likely = [k for k in range(n + 1) if log_chance[k] > -12]
    covered = 0.0
    for k in likely:
        low, high = stats.clopper_pearson(k, n, 0.95)
        covered += np.exp(log_chance[k]) * (low <= share <= high)
    assert covered >= 0.95


@cache
def autoregressive(phi: float, n: int) -> np.ndarray:
    """`_DRAWS` stationary AR(1) series of standard normal values, one a column."""
    rng = np.random.default_rng(round(1000 * phi) + n)
    noise = rng.standard_normal((n, _DRAWS))
    series = np.empty((n, _DRAWS))
    series[0] = noise[0]
    for step in range(1, n):
        series[step] = phi * series[step - 1] + np.sqrt(1 - phi**2) * noise[step]
    return series


@pytest.mark.parametrize(("phi", "n"), [(0.0, 200), (0.5, 400), (0.8, 1000), (0.9, 2000)])
def test_batch_means_cover_also_correlated_series(phi: float, n: int) -> None:
    """The 95 % interval of a mean holds the true mean in 92 % to 100 % of 400 series.

    A fixed seed; three standard deviations of 400 draws at 95 % are 3.3 points.
    """
    found = [stats.batch_means(column, 0.95) for column in autoregressive(phi, n).T]
    assert np.mean([each.low <= 0 <= each.high for each in found]) >= 0.917


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
def test_quantile_intervals_cover_also_correlated_series(phi: float, q: float) -> None:
    """The 95 % interval of P50, P90, P99 holds the true quantile in at least 91.7 % of series."""
    truth = NormalDist().inv_cdf(q)
    covered = 0
    for column in autoregressive(phi, 1000).T:
        ascending = np.sort(column)
        effect = stats.design_effect(column <= stats.nearest_rank(ascending, q))
        low, high = stats.quantile_ranks(q, len(column), len(column) / effect, 0.95)
        covered += ascending[low - 1] <= truth and (
            high > len(column) or ascending[high - 1] >= truth
        )
    assert covered / _DRAWS >= 0.917


@pytest.mark.parametrize(("phi", "share"), [(0.0, 0.9), (0.5, 0.95), (0.8, 0.8)])
def test_intervals_of_shares_cover_also_correlated_series(phi: float, share: float) -> None:
    """The 95 % interval of a share of good requests holds the true share in 91.7 % of series."""
    flags = autoregressive(phi, 1000) <= NormalDist().inv_cdf(share)
    found = [stats.proportion(column, 0.95) for column in flags.T]
    assert np.mean([each.low <= share <= each.high for each in found]) >= 0.917


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_intervals_of_ratios_cover_also_correlated_series(phi: float) -> None:
    """The 95 % interval of a sum by another holds the true ratio in 91.7 % of series.

    Both sums wax and wane together, as hit tokens and prompt tokens do.
    """
    common = autoregressive(phi, 1000)
    own = np.random.default_rng(17).standard_normal(common.shape)
    whole = np.exp(0.3 * common)
    part = 0.6 * whole * np.exp(0.1 * own - 0.005)
    found = [stats.ratio_of_sums(p, w, 0.95) for p, w in zip(part.T, whole.T, strict=True)]
    assert np.mean([each.low <= 0.6 <= each.high for each in found]) >= 0.917


def test_the_interval_of_the_highest_rate_covers() -> None:
    """The rate at which 90 % are good lies in the interval of a sweep in 91.7 % of 400 sweeps.

    Good shares fall from 99 % to 70 %, each of 500 requests; 90 % lies between two of the rates.
    """
    rng = np.random.default_rng(23)
    rates = np.arange(1.0, 11.0)
    shares = 0.99 - 0.032 * (rates - 1)
    truth = 1 + (0.99 - 0.9) / 0.032
    interval = cache(stats.clopper_pearson)
    covered = 0
    for good in rng.binomial(500, shares, (_DRAWS, len(rates))).tolist():
        points = [
            Point(rate, k / 500, *interval(k, 500, 0.95), 0.9)
            for rate, k in zip(rates.tolist(), good, strict=True)
        ]
        highest = highest_held(points)
        low = 0.0 if math.isnan(highest.low) else highest.low
        covered += low <= truth <= highest.high
    assert covered / _DRAWS >= 0.917


def test_a_naive_interval_would_not_cover() -> None:
    """The same test catches an interval that takes correlated values for independent."""
    series = autoregressive(0.8, 1000)
    half = 1.96 * series.std(axis=0, ddof=1) / np.sqrt(len(series))
    assert np.mean(np.abs(series.mean(axis=0)) <= half) < 0.7


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_mser_seldom_cuts_a_steady_series(phi: float) -> None:
    """Of 400 steady series of 400 s, fewer than one in ten lose anything."""
    cuts = [stats.mser5(column) for column in autoregressive(phi, 400).T]
    assert np.mean(np.array(cuts) > 0) < 0.1


def test_mser_finds_the_transient_of_a_noisy_series() -> None:
    """A ramp of 40 s, three standard deviations deep, is cut in at least 95 % of 400 series."""
    ramp = np.concatenate((np.linspace(-3, 0, 40), np.zeros(360)))
    cuts = np.array([stats.mser5(column + ramp) for column in autoregressive(0.0, 400).T])
    assert np.mean((cuts >= 15) & (cuts <= 80)) >= 0.95
