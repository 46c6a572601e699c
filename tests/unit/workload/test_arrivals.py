"""bench.workload.arrivals: exact offsets, exact inverses, dispatch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.workload.arrivals import (
    Constant,
    Gamma,
    Poisson,
    Stage,
    Stages,
    Weibull,
    constant,
    dequantize,
    expected_requests,
    open_offsets,
    poisson,
    staged,
    weibull_shape,
)

RAMP = (
    Stage(duration_s=10, rate_rps=5),
    Stage(duration_s=20, rate_rps=5, to_rps=50),
    Stage(duration_s=5, rate_rps=0),
    Stage(duration_s=10, rate_rps=50, to_rps=0),
)


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def cumulative(at_s: float) -> float:
    """Λ(t) of RAMP, integrated by hand."""
    if at_s <= 10:
        return 5 * at_s
    if at_s <= 30:
        t = at_s - 10
        return 50 + 5 * t + 45 / 40 * t * t
    if at_s <= 35:
        return 600
    t = at_s - 35
    return 600 + 50 * t - 2.5 * t * t


def test_constant_is_even_and_starts_at_zero() -> None:
    """Offsets are i / rate exactly, and end before the duration."""
    assert constant(4, count=5).tolist() == [0, 0.25, 0.5, 0.75, 1.0]
    assert len(constant(200, duration_s=30)) == 6000
    assert constant(10, duration_s=0.25).tolist() == [0, 0.1, 0.2]


def test_stages_invert_the_cumulative_rate_exactly() -> None:
    """Λ of every offset is the arrival of a unit-rate process with the same seed."""
    offsets = staged(rng(), RAMP)
    unit = poisson(rng(), 1.0, duration_s=cumulative(45))
    assert len(offsets) == len(unit) > 700
    assert [cumulative(at) for at in offsets] == pytest.approx(unit.tolist(), abs=1e-9)


def test_nothing_arrives_in_a_stage_of_rate_zero() -> None:
    """A stage of rate 0 is a pause."""
    offsets = staged(rng(), RAMP)
    assert not ((offsets > 30.0) & (offsets < 35.0)).any()
    assert (offsets >= 35).any()


@pytest.mark.parametrize("cv", [0.05, 0.3, 1.0, 2.5, 13.15, 20.0])
def test_weibull_shape_has_the_coefficient_asked_for(cv: float) -> None:
    """The shape solved for gives back the coefficient of variation."""
    k = weibull_shape(cv)
    found = math.sqrt(math.exp(math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k)) - 1)
    assert found == pytest.approx(cv, rel=1e-9)


def test_weibull_of_cv_one_is_exponential() -> None:
    """CV 1 is shape 1."""
    assert weibull_shape(1.0) == pytest.approx(1.0, rel=1e-12)


def test_dequantize_stays_within_the_quantum() -> None:
    """Each time moves later by less than the quantum, evenly."""
    at_s = np.repeat(np.arange(0, 3000, 3.0), 10)
    moved = dequantize(rng(), at_s, 3.0) - at_s
    assert moved.min() >= 0 and moved.max() < 3.0
    assert moved.mean() == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize(
    "arrivals",
    [
        Constant(kind="constant", rate_rps=20),
        Poisson(kind="poisson", rate_rps=20),
        Gamma(kind="gamma", rate_rps=20, cv=2),
        Weibull(kind="weibull", rate_rps=20, cv=2),
        Weibull(kind="weibull", rate_rps=20, shape=0.7),
        Stages(kind="stages", stages=(Stage(duration_s=1000, rate_rps=20),)),
    ],
    ids=lambda arrivals: arrivals.kind,
)
def test_rates_count_requests(arrivals: Poisson) -> None:
    """With 4 requests in a session, sessions start at a quarter of the rate."""
    offsets = open_offsets(arrivals, rng(), requests_per_session=4, duration_s=1000)
    assert 4 * len(offsets) == pytest.approx(20 * 1000, rel=0.15)
    assert expected_requests(arrivals, 1000) == 20_000


def test_both_bounds_hold() -> None:
    """A draw bounded by count and duration ends with whichever comes first."""
    by_count = open_offsets(Poisson(kind="poisson", rate_rps=10), rng(), sessions=5, duration_s=99)
    by_time = open_offsets(Poisson(kind="poisson", rate_rps=10), rng(), sessions=999, duration_s=9)
    assert len(by_count) == 5
    assert len(by_time) < 999
    assert by_time[-1] < 9
    assert by_time[:5].tolist() == by_count.tolist()
