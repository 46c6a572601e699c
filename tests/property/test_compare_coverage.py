"""Intervals of a comparison cover as often as they say; A/A comparisons cry no wolf."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.compare_blocks import BLOCKS, Ranked, Sample, Sums, ranked
from bench.judge.compare_nights import NightValues, compare_nights, key_of
from bench.judge.compare_stats import Change, Scale, decide, difference, holm, overall
from bench.judge.profile import Compared
from bench.judge.stats import Floats

DRAWS = 150
CONFIDENCE = 0.95
LEAST_COVERAGE = 0.90  # 150 draws of a true 0.95 fall below 0.90 in 1 of 300 cases
MEDIAN = Compared(metric="ttft_s", statistic="p50", minimum_effect=0.03)


def correlated(n: int, rho: float, rng: np.random.Generator) -> Floats:
    """A standard normal AR(1) series."""
    steps = rng.standard_normal(n)
    steps[1:] *= np.sqrt(1 - rho**2)
    return memory(n, rho) @ steps


@cache
def memory(n: int, rho: float) -> Floats:
    """(n, n): how much of each earlier step is left in each value."""
    lag = np.subtract.outer(np.arange(n), np.arange(n))
    return np.where(lag >= 0, rho ** np.maximum(lag, 0), 0.0)


def latencies(
    n: int, rho: float, rng: np.random.Generator, effect: float = 0.0, run_sd: float = 0.0
) -> Floats:
    """Log-normal latencies of one run; `run_sd` is what sets runs apart."""
    level = effect + run_sd * rng.standard_normal()
    return np.exp(-3 + 0.4 * correlated(n, rho, rng) + level)


def quantile_sample(values: Floats, q: float) -> Ranked:
    return ranked(values, np.arange(len(values)) * BLOCKS // len(values), q)


def mean_sample(values: Floats) -> Sums:
    block = np.arange(len(values)) * BLOCKS // len(values)
    return Sums(np.bincount(block, values), np.bincount(block).astype(float), len(values))


@pytest.mark.parametrize(("rho", "runs", "run_sd"), [
    (0.0, 1, 0.0), (0.5, 1, 0.0), (0.8, 1, 0.0), (0.5, 4, 0.03), (0.0, 2, 0.03),
])  # fmt: skip
@pytest.mark.parametrize("statistic", ["p50", "p90", "mean"])
def test_an_interval_covers_the_true_change(
    rho: float, runs: int, run_sd: float, statistic: str
) -> None:
    """At 95 %, at least 90 of 100 intervals hold the true change, of autocorrelated series too."""
    rng = np.random.default_rng(round(1000 * (rho + runs + run_sd)) + len(statistic))
    true = 0.05

    def side(effect: float) -> list[Sample]:
        made = [latencies(400, rho, rng, effect, run_sd) for _ in range(runs)]
        if statistic == "mean":
            return [mean_sample(values) for values in made]
        return [quantile_sample(values, int(statistic[1:]) / 100) for values in made]

    found = [difference(side(0.0), side(true), Scale.RELATIVE, CONFIDENCE) for _ in range(DRAWS)]
    covered = np.mean([each.low <= true <= each.high for each in found])
    assert covered >= LEAST_COVERAGE


def test_an_interval_of_a_rare_error_covers() -> None:
    """Two sides of one error rate of 0.2 % hold 0 in their interval, where one has no error too."""
    rng = np.random.default_rng(8)

    def side() -> list[Sample]:
        failed = rng.binomial(100, 0.002, BLOCKS).astype(float)
        return [Sums(failed, np.full(BLOCKS, 100.0), 2000, counts=True)]

    found = [difference(side(), side(), Scale.POINTS, CONFIDENCE) for _ in range(DRAWS)]
    assert np.mean([each.low <= 0 <= each.high for each in found]) >= LEAST_COVERAGE


def test_a_paired_interval_is_narrower_and_still_covers() -> None:
    """Where a plan moves both sides alike, pairing its stretches removes that and still covers."""
    rng = np.random.default_rng(4)
    hits, narrower = 0, 0
    for _ in range(DRAWS):
        shared = 0.5 * np.repeat(correlated(BLOCKS, 0.0, rng), 30)
        base, new = (
            quantile_sample(np.exp(shared + 0.1 * rng.standard_normal(600) + shift), 0.5)
            for shift in (0.0, 0.02)
        )
        paired = difference([base], [new], Scale.RELATIVE, CONFIDENCE, paired=True)
        alone = difference([base], [new], Scale.RELATIVE, CONFIDENCE)
        hits += paired.low <= 0.02 <= paired.high
        narrower += paired.high - paired.low < alone.high - alone.low
    assert hits / DRAWS >= LEAST_COVERAGE
    assert narrower / DRAWS >= 0.99


def test_the_same_against_itself_is_never_worse_beyond_the_level() -> None:
    """Over three metrics of A/A runs, worse is called in at most 5 % of the comparisons."""
    rng = np.random.default_rng(12)
    alarms = 0
    for _ in range(DRAWS):
        rows = []
        for q in (0.5, 0.9, 0.5):
            sides = [
                [quantile_sample(latencies(300, 0.6, rng, 0, 0.02), q) for _ in range(3)]
                for _ in range(2)
            ]
            rows.append(difference(*sides, Scale.RELATIVE, CONFIDENCE))
        adjusted = holm([row.p for row in rows])
        changes = [
            decide(row, p, 0.03, Scale.RELATIVE, True, CONFIDENCE)
            for row, p in zip(rows, adjusted, strict=True)
        ]
        alarms += overall(changes) is Change.WORSE
    assert alarms / DRAWS <= 0.05


@given(
    seed=st.integers(0, 10_000),
    effect=st.floats(-0.2, 0.2),
    runs=st.integers(1, 3),
    q=st.sampled_from([0.5, 0.9, 0.99]),
    paired=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_exchanging_the_sides_changes_the_sign_only(
    seed: int, effect: float, runs: int, q: float, paired: bool
) -> None:
    """The change is negated, the interval mirrored, p is the same, worse becomes better."""
    rng = np.random.default_rng(seed)
    base = [quantile_sample(latencies(200, 0.3, rng), q) for _ in range(runs)]
    new = [quantile_sample(latencies(200, 0.3, rng, effect), q) for _ in range(runs)]
    one = difference(base, new, Scale.RELATIVE, CONFIDENCE, paired)
    other = difference(new, base, Scale.RELATIVE, CONFIDENCE, paired)
    assert other.change == pytest.approx(-one.change, abs=1e-12)
    assert other.p == pytest.approx(one.p, nan_ok=True)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), nan_ok=True)
    swapped = {Change.WORSE: Change.BETTER, Change.BETTER: Change.WORSE}
    called, reversed_call = (
        decide(each, each.p, 0.03, Scale.RELATIVE, True, CONFIDENCE) for each in (one, other)
    )
    assert reversed_call is swapped.get(called, called)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    """Adjusted p-values are at least the raw ones, at most 1, and in the same order."""
    adjusted = holm(p_values)
    assert all(raw <= made <= 1 for raw, made in zip(p_values, adjusted, strict=True))
    by_raw = [made for _, made in sorted(zip(p_values, adjusted, strict=True))]
    assert by_raw == sorted(by_raw)


def nights(values: Floats, rng: np.random.Generator, round_sd: float) -> list[NightValues]:
    return [
        NightValues(
            f"n{k}",
            {key_of(MEDIAN): tuple(np.exp(value + round_sd * rng.standard_normal(5)).tolist())},
        )
        for k, value in enumerate(values)
    ]


@pytest.mark.parametrize(("night_sd", "rho"), [(0.002, 0.0), (0.01, 0.0), (0.01, 0.5)])
def test_a_night_that_is_like_the_others_is_covered(night_sd: float, rho: float) -> None:
    """Tonight's interval holds 0 in at least 90 of 100 A/A nights, for nights that drift too."""
    rng = np.random.default_rng(3)
    hits, alarms = 0, 0
    for _ in range(DRAWS):
        series = nights(night_sd * correlated(25, rho, rng), rng, 0.005)
        row = compare_nights(
            series[-1], series[-15:-1], series[:-1], [MEDIAN], window=14, confidence=CONFIDENCE
        ).rows[0]
        hits += row.found.low <= 0 <= row.found.high
        alarms += row.change is Change.WORSE
    assert hits / DRAWS >= LEAST_COVERAGE
    assert alarms / DRAWS <= 0.02
