"""When sessions start: how a recipe writes it, and the offsets drawn from it.

Offsets are float64 seconds from the run's start, ascending, drawn once before it.  They are pure
functions of a numpy Generator: the same seed gives the same offsets, and a longer draw begins with
the shorter one.  Nothing is rescaled to make a total come out: the number of arrivals within a
duration, and the time that a number of arrivals takes, are what the process gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bench.yamlfile import EitherModel, StrictModel

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]

_BATCH = 4096


class Recorded(StrictModel):
    """As the trace says, `speed` times as fast."""

    kind: Literal["recorded"]
    speed: Positive = 1.0
    dequantize_s: Positive | None = Field(
        default=None, description="Spread each time evenly over this quantum of the trace's clock."
    )


class Constant(StrictModel):
    """Evenly spaced.  `rate_rps` counts requests in every kind; sessions start accordingly."""

    kind: Literal["constant"]
    rate_rps: Positive


class Poisson(StrictModel):
    """Exponential gaps."""

    kind: Literal["poisson"]
    rate_rps: Positive


class Gamma(StrictModel):
    """Gamma gaps with coefficient of variation `cv`; above 1 is burstier than Poisson."""

    kind: Literal["gamma"]
    rate_rps: Positive
    cv: float = Field(ge=0.05, le=20)


class Weibull(EitherModel):
    """Weibull gaps, given by `cv` or by `shape`."""

    either = ("cv", "shape")

    kind: Literal["weibull"]
    rate_rps: Positive
    cv: float | None = Field(default=None, ge=0.05, le=20)
    shape: float | None = Field(default=None, ge=0.1, le=30)


class Stage(StrictModel):
    """`duration_s` at `rate_rps`, or rising or falling evenly from it to `to_rps`."""

    duration_s: Positive
    rate_rps: float = Field(ge=0)
    to_rps: float | None = Field(default=None, ge=0)


class Stages(StrictModel):
    """A Poisson process whose rate follows the stages, one after the other."""

    kind: Literal["stages"]
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _some_rate(self) -> Stages:
        if not any(stage.rate_rps or stage.to_rps for stage in self.stages):
            raise ValueError("every stage has rate 0")
        return self


class Closed(StrictModel):
    """`concurrency` sessions at a time; the next starts when one ends."""

    kind: Literal["closed"]
    concurrency: Annotated[int, Field(ge=1)]
    ramp_s: float | None = Field(default=None, ge=0, description="From the first slot to the last.")


Arrivals = Annotated[
    Recorded | Constant | Poisson | Gamma | Weibull | Stages | Closed, Field(discriminator="kind")
]


def constant(
    rate_rps: float, *, count: int | None = None, duration_s: float | None = None
) -> Floats:
    """i / rate for i = 0, 1, …; `count` of them, or those before `duration_s`, or both."""
    if count is None:
        count = math.ceil(_given(duration_s) * rate_rps)
    offsets = np.arange(count, dtype=np.float64) / rate_rps
    return offsets if duration_s is None else offsets[offsets < duration_s]


def poisson(
    rng: np.random.Generator,
    rate_rps: float,
    *,
    count: int | None = None,
    duration_s: float | None = None,
) -> Floats:
    """Exponential gaps of mean 1/rate: IAT CV 1, index of dispersion of counts 1."""
    return _renewal(lambda n: rng.exponential(1 / rate_rps, n), count, duration_s)


def gamma(
    rng: np.random.Generator,
    rate_rps: float,
    cv: float,
    *,
    count: int | None = None,
    duration_s: float | None = None,
) -> Floats:
    """Gamma gaps: shape k = 1/cv², scale 1/(k·rate), so mean 1/rate and coefficient `cv`."""
    shape = 1 / cv**2
    return _renewal(lambda n: rng.gamma(shape, 1 / (shape * rate_rps), n), count, duration_s)


def weibull(
    rng: np.random.Generator,
    rate_rps: float,
    shape: float,
    *,
    count: int | None = None,
    duration_s: float | None = None,
) -> Floats:
    """Weibull gaps of `shape`, scaled by 1 / (rate·Γ(1 + 1/shape)) to mean 1/rate."""
    scale_s = 1 / (rate_rps * math.gamma(1 + 1 / shape))
    return _renewal(lambda n: scale_s * rng.weibull(shape, n), count, duration_s)


def weibull_shape(cv: float) -> float:
    """The shape k whose coefficient of variation is `cv`: cv² = Γ(1+2/k) / Γ(1+1/k)² − 1.

    Solved by bisection over the logarithm of k, to the last bits of a double.
    """
    low, high = math.log(0.05), math.log(1000.0)
    wanted = math.log1p(cv**2)
    for _ in range(200):
        middle = (low + high) / 2
        k = math.exp(middle)
        # The coefficient falls as the shape grows.
        if math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k) > wanted:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def staged(
    rng: np.random.Generator,
    stages: Sequence[Stage],
    *,
    scale: float = 1.0,
    count: int | None = None,
) -> Floats:
    """A Poisson process with the stages' piecewise linear rate, times `scale`.

    Exact, by inversion: arrivals of a unit-rate Poisson process, mapped through the inverse of the
    cumulative rate Λ(t) (Çinlar 1975).  Ends with the last stage, or after `count` arrivals.
    """
    starts_s = np.cumsum([0.0] + [stage.duration_s for stage in stages])
    rates = [
        (stage.rate_rps, stage.rate_rps if stage.to_rps is None else stage.to_rps)
        for stage in stages
    ]
    areas = [
        scale * (first + last) / 2 * stage.duration_s
        for (first, last), stage in zip(rates, stages, strict=True)
    ]
    bounds = np.cumsum([0.0, *areas])
    unit = _renewal(lambda n: rng.exponential(1.0, n), count, float(bounds[-1]))
    found = []
    for i, (stage, (first, last)) in enumerate(zip(stages, rates, strict=True)):
        y = unit[(unit >= bounds[i]) & (unit < bounds[i + 1])] - bounds[i]
        slope = scale * (last - first) / stage.duration_s
        # The root of slope/2·t² + first·t − y = 0 that does not cancel when the slope is small.
        root = np.sqrt(np.maximum((scale * first) ** 2 + 2 * slope * y, 0.0))
        within = np.divide(2 * y, scale * first + root, out=np.zeros_like(y), where=y > 0)
        found.append(starts_s[i] + np.minimum(within, stage.duration_s))
    return np.concatenate(found)


def dequantize(rng: np.random.Generator, at_s: Floats, quantum_s: float) -> Floats:
    """Each time moved later by an even draw from [0, quantum): what a coarse clock hid.

    The result is in the order of `at_s`, which may no longer be ascending.
    """
    return at_s + rng.uniform(0.0, quantum_s, at_s.size)


def open_offsets(
    arrivals: Constant | Poisson | Gamma | Weibull | Stages,
    rng: np.random.Generator,
    *,
    requests_per_session: float = 1.0,
    sessions: int | None = None,
    duration_s: float | None = None,
) -> Floats:
    """Session starts of an open loop whose rate is not the trace's.

    A recipe's rate counts requests, so sessions start at rate / `requests_per_session`.  Bounded
    by `sessions`, by `duration_s`, by the end of the stages, whichever comes first.
    """
    if isinstance(arrivals, Stages):
        offsets = staged(rng, arrivals.stages, scale=1 / requests_per_session, count=sessions)
        return offsets if duration_s is None else offsets[offsets < duration_s]
    rate_rps = arrivals.rate_rps / requests_per_session
    if isinstance(arrivals, Constant):
        return constant(rate_rps, count=sessions, duration_s=duration_s)
    if isinstance(arrivals, Poisson):
        return poisson(rng, rate_rps, count=sessions, duration_s=duration_s)
    if isinstance(arrivals, Gamma):
        return gamma(rng, rate_rps, arrivals.cv, count=sessions, duration_s=duration_s)
    shape = weibull_shape(arrivals.cv) if arrivals.cv is not None else arrivals.shape
    return weibull(rng, rate_rps, _given(shape), count=sessions, duration_s=duration_s)


def expected_requests(
    arrivals: Constant | Poisson | Gamma | Weibull | Stages, duration_s: float | None
) -> float:
    """Mean number of requests that `arrivals` plans within `duration_s` (the stages' end)."""
    if not isinstance(arrivals, Stages):
        return arrivals.rate_rps * _given(duration_s)
    return sum(
        (stage.rate_rps + (stage.rate_rps if stage.to_rps is None else stage.to_rps))
        / 2
        * stage.duration_s
        for stage in arrivals.stages
    )


def _renewal(gaps: Callable[[int], Floats], count: int | None, duration_s: float | None) -> Floats:
    """Cumulative sums of gaps: `count` of them, or those before `duration_s`, or both."""
    if count is None:
        _given(duration_s)
    end_s = math.inf if duration_s is None else duration_s
    wanted = math.inf if count is None else count
    pieces = [np.zeros(0)]
    drawn, reached_s = 0, 0.0
    # Batches of one size, whatever is wanted, so that a longer draw begins with the shorter one.
    while reached_s < end_s and drawn < wanted:
        pieces.append(reached_s + np.cumsum(gaps(_BATCH)))
        drawn += _BATCH
        reached_s = float(pieces[-1][-1])
    offsets = np.concatenate(pieces)[:count]
    return offsets[offsets < end_s]


def _given(value: float | None) -> float:
    if value is None:
        raise ValueError("arrivals need a count or a duration")
    return value
