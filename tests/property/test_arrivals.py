"""Properties of arrivals: moments, dispersion, order, prefixes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.workload.arrivals import gamma, poisson, weibull, weibull_shape

DRAWS = 20_000
SIGMAS = 6  # a chance of 2e-9 for each assertion

Draw = Callable[[np.random.Generator, float, float, int], np.ndarray]

FAMILIES: dict[str, Draw] = {
    "poisson": lambda rng, rate, cv, n: poisson(rng, rate, count=n),
    "gamma": lambda rng, rate, cv, n: gamma(rng, rate, cv, count=n),
    "weibull": lambda rng, rate, cv, n: weibull(rng, rate, weibull_shape(cv), count=n),
}

seeds = st.integers(0, 2**63)
rates = st.floats(0.01, 10_000)
cvs = st.floats(0.3, 2.5)


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize("family", FAMILIES)
@given(seed=seeds, rate=rates, cv=cvs)
@settings(max_examples=30, deadline=None)
def test_mean_rate_and_cv(family: str, seed: int, rate: float, cv: float) -> None:
    """The mean gap is 1/rate within the central limit theorem's bounds; the CV is as asked."""
    cv = 1.0 if family == "poisson" else cv
    gaps = np.diff(FAMILIES[family](rng(seed), rate, cv, DRAWS), prepend=0.0)
    assert abs(gaps.mean() * rate - 1) <= SIGMAS * cv / math.sqrt(DRAWS)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.35)


@pytest.mark.parametrize("family", FAMILIES)
@given(seed=seeds, rate=rates, cv=cvs, count=st.integers(1, 9000), more=st.integers(0, 9000))
@settings(max_examples=30, deadline=None)
def test_a_longer_draw_begins_with_the_shorter(
    family: str, seed: int, rate: float, cv: float, count: int, more: int
) -> None:
    """The same seed gives the same offsets, whatever number is drawn, in ascending order."""
    short = FAMILIES[family](rng(seed), rate, cv, count)
    long = FAMILIES[family](rng(seed), rate, cv, count + more)
    assert len(short) == count
    assert short.tolist() == long[:count].tolist()
    assert (np.diff(long) >= 0).all()


@pytest.mark.parametrize(
    ("family", "cv"), [("poisson", 1.0), ("gamma", 2.0), ("gamma", 0.5), ("weibull", 2.0)]
)
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_index_of_dispersion(family: str, cv: float, seed: int) -> None:
    """Counts in windows of 50 mean gaps have variance/mean near CV² (renewal theory)."""
    offsets = FAMILIES[family](rng(seed), 1.0, cv, 50_000)
    windows = int(offsets[-1] // 50)
    counts = np.bincount((offsets // 50).astype(int))[:windows]
    assert counts.var() / counts.mean() == pytest.approx(cv**2, rel=0.35)


@given(seed=seeds, rate=st.floats(0.5, 100))
@settings(max_examples=30, deadline=None)
def test_no_rescaling_to_a_total(seed: int, rate: float) -> None:
    """The time that n Poisson arrivals take varies as the process does: it is not n/rate."""
    ends = np.array([poisson(rng(seed + i), rate, count=100)[-1] * rate for i in range(200)])
    assert abs(ends.mean() - 100) <= SIGMAS * 10 / math.sqrt(200)
    assert 6 < ends.std() < 15
