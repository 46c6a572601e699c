"""Quantiles, intervals and the warm-up cut on numbers that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.judge import stats


def test_rank_is_exact_where_floats_are_not() -> None:
    """7 % of 100 is rank 7, although 0.07 * 100 is more than 7 in floating point."""
    assert [stats.rank_of(0.07, 100), stats.rank_of(0.99, 100), stats.rank_of(0.999, 1000)] == [
        7,
        99,
        999,
    ]


def test_nearest_rank_is_a_value_of_the_sample() -> None:
    """P50 of four values is the second, P99 the last; of none it is unknown."""
    assert stats.nearest_rank(np.array([1.0, 2.0, 3.0, 4.0]), 0.5) == 2.0
    assert stats.nearest_rank(np.array([1.0, 2.0, 3.0, 4.0]), 0.99) == 4.0
    assert math.isnan(stats.nearest_rank(np.array([]), 0.5))


def test_quantiles_leave_unknown_out_and_rank_failures_last() -> None:
    """NaN is not a value; +inf is the largest one."""
    values = np.array([math.inf, 2.0, math.nan, 1.0])
    assert stats.quantiles(values, [0.3, 0.6, 0.9]) == [1.0, 2.0, math.inf]


@pytest.mark.parametrize(
    ("good", "n", "low", "high"),
    [
        (10, 10, 0.6915, 1.0),
        (0, 10, 0.0, 0.3085),
        (5, 10, 0.1871, 0.8129),
        (98, 100, 0.9296, 0.9976),
    ],
)
def test_clopper_pearson_is_the_published_interval(
    good: int, n: int, low: float, high: float
) -> None:
    """95 % limits as in the tables of exact binomial confidence intervals."""
    assert stats.clopper_pearson(good, n, 0.95) == pytest.approx((low, high), abs=1e-4)


def test_nothing_is_known_of_a_proportion_without_samples() -> None:
    """The interval of none of none is everything."""
    assert stats.clopper_pearson(0, 0, 0.95) == (0.0, 1.0)


def test_batch_means_of_too_few_values_have_no_interval() -> None:
    """Nine seconds give a mean and no claim about it."""
    found = stats.batch_means(np.arange(9.0), 0.95)
    assert found.value == 4.0
    assert math.isnan(found.low)


def test_batch_means_of_ten_values_are_students_interval() -> None:
    """With one value a batch and no correlation it is the textbook t interval."""
    values = np.array([3.0, -3.0] * 5)
    found = stats.batch_means(values, 0.95)
    half = 2.2622 * values.std(ddof=1) / math.sqrt(10)
    assert (found.low, found.high) == pytest.approx((-half, half), rel=1e-4)


def test_batches_that_still_correlate_widen_the_interval() -> None:
    """The same values as one slow wave give a wider interval than in an order without memory."""
    wave = np.sin(np.arange(1000) / 1000 * 2 * math.pi)
    shuffled = np.random.default_rng(4).permutation(wave)
    slow, quick = stats.batch_means(wave, 0.95), stats.batch_means(shuffled, 0.95)
    alone = 2.093 * wave.reshape(20, 50).mean(axis=1).std(ddof=1) / math.sqrt(20)
    assert slow.high - slow.value > 2 * alone
    assert quick.high - quick.value < alone / 2


def test_ratio_of_sums_weighs_by_size() -> None:
    """One whole of 90 at 1/2 and one of 10 at 0 make 45 %."""
    found = stats.ratio_of_sums(np.array([45.0, 0.0]), np.array([90.0, 10.0]), 0.95)
    assert found.value == pytest.approx(0.45)
    assert math.isnan(stats.ratio_of_sums(np.array([0.0]), np.array([0.0]), 0.95).value)


def test_clustered_failures_count_for_fewer_samples() -> None:
    """100 failures in one stretch tell less than 100 spread evenly."""
    spread = np.zeros(2000, bool)
    spread[::20] = True
    clustered = np.zeros(2000, bool)
    clustered[300:400] = True
    assert stats.design_effect(~spread) == 1.0
    assert stats.design_effect(~clustered) > 20


def test_all_good_flags_are_taken_as_independent() -> None:
    """Without a single failure there is nothing to see of how they would cluster."""
    assert stats.design_effect(np.ones(500, bool)) == 1.0


def test_quantile_ranks_agree_with_the_exact_interval() -> None:
    """The upper rank is the least count that Clopper–Pearson shows to be at least q."""
    low, high = stats.quantile_ranks(0.9, 500, 500.0, 0.95)
    assert stats.clopper_pearson(high, 500, 0.95)[0] >= 0.9
    assert stats.clopper_pearson(high - 1, 500, 0.95)[0] < 0.9
    assert stats.clopper_pearson(low, 500, 0.95)[1] >= 0.9
    assert stats.clopper_pearson(low - 1, 500, 0.95)[1] < 0.9


@pytest.mark.parametrize(("n", "decidable"), [(367, False), (368, True)])
def test_p99_needs_368_requests_at_least(n: int, decidable: bool) -> None:
    """0.99^n <= 2.5 % from n = 368 on: below it no sample can show that 99 % are good."""
    assert (stats.quantile_ranks(0.99, n, float(n), 0.95)[1] <= n) is decidable


def test_advice_is_the_number_that_decides() -> None:
    """All good so far: 268 more than 100 decide a P99, and one fewer does not."""
    assert stats.more_needed(1.0, 0.99, 100.0, 0.95) == 268
    assert stats.more_needed(1.0, 0.99, 400.0, 0.95) == 0
    assert stats.more_needed(0.99, 0.99, 100.0, 0.95) == math.inf


def test_mser_cuts_the_ramp_and_keeps_the_rest() -> None:
    """A ramp of 20 s before 180 steady seconds is cut, to the nearest batch of 5."""
    rng = np.random.default_rng(3)
    series = np.concatenate((np.linspace(0, 90, 20), 100 + rng.normal(0, 2, 180)))
    assert stats.mser5(series) == 20


def test_mser_leaves_short_series_alone() -> None:
    """Under 40 values there is too little to tell warm-up from noise."""
    assert stats.mser5(np.arange(39.0)) == 0


def test_mser_cuts_at_most_half() -> None:
    """A series that never settles loses half and not everything."""
    assert stats.mser5(np.arange(200.0) ** 2) <= 100


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 1.0])
def test_two_sorted_arrays_are_ranked_as_one(q: float) -> None:
    """The quantile of both is that of their union, ties included."""
    rng = np.random.default_rng(5)
    for sizes in ((0, 4), (5, 0), (7, 90), (50, 50)):
        first, second = (np.sort(rng.integers(0, 9, size).astype(float)) for size in sizes)
        union = np.sort(np.concatenate((first, second)))
        assert stats.nearest_rank_of_two(first, second, q) == stats.nearest_rank(union, q)
