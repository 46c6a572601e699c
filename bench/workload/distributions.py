"""Distributions of lengths and waits: how a recipe writes them, and how they are drawn.

Bounds truncate: a value outside `min`..`max` is drawn again, so that no mass gathers at a bound.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bench.yamlfile import StrictModel

Floats = NDArray[np.float64]

_LEAST_MASS = 1e-3


class _Bounded(StrictModel):
    """A distribution over (0, ∞) or the reals that may be truncated."""

    min: float | None = Field(None, ge=0, description="Least value; smaller ones are drawn again.")
    max: float | None = Field(None, ge=0, description="Largest value; larger are drawn again.")

    # The least value that makes sense where `min` is not given: a length or a wait.
    _floor: ClassVar[float] = 0.0

    @model_validator(mode="after")
    def _bounds_hold_mass(self) -> _Bounded:
        low, high = self.bounds()
        if low > high:
            raise ValueError(f"min {low:g} is above max {high:g}")
        mass = self._cdf(high) - self._cdf(low)
        if mass < _LEAST_MASS:
            raise ValueError(f"min and max leave {mass:.2g} of the distribution; widen them")
        return self

    def bounds(self) -> tuple[float, float]:
        low = self._floor if self.min is None else self.min
        return low, math.inf if self.max is None else self.max

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        low, high = self.bounds()
        values = self._free(rng, count)
        outside = np.flatnonzero((values < low) | (values > high))
        while outside.size:
            values[outside] = self._free(rng, outside.size)
            outside = outside[(values[outside] < low) | (values[outside] > high)]
        return values

    @abstractmethod
    def _cdf(self, value: float) -> float:
        """Share of the distribution at or below `value`, without the bounds."""

    @abstractmethod
    def _free(self, rng: np.random.Generator, count: int) -> Floats:
        """`count` values, without the bounds."""


class Fixed(StrictModel):
    """Always `value`."""

    kind: Literal["fixed"]
    value: float = Field(ge=0)

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        del rng
        return np.full(count, self.value)


class Uniform(StrictModel):
    """Evenly between `min` and `max`."""

    kind: Literal["uniform"]
    min: float = Field(ge=0)
    max: float = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Uniform:
        if self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.uniform(self.min, self.max, count)


class Normal(_Bounded):
    """Normal with `mean` and standard deviation `std`, truncated at 0 unless `min` says more."""

    kind: Literal["normal"]
    mean: float = Field(ge=0)
    std: float = Field(gt=0)

    def _cdf(self, value: float) -> float:
        return 0.5 * (1 + math.erf((value - self.mean) / (self.std * math.sqrt(2))))

    def _free(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.normal(self.mean, self.std, count)


class LogNormal(_Bounded):
    """Log-normal with `median` = exp(µ) and `sigma`, the standard deviation of the logarithm."""

    kind: Literal["lognormal"]
    median: float = Field(gt=0)
    sigma: float = Field(gt=0, le=5)

    def _cdf(self, value: float) -> float:
        if value <= 0:
            return 0.0
        z = (math.log(value) - math.log(self.median)) / self.sigma
        return 0.5 * (1 + math.erf(z / math.sqrt(2)))

    def _free(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.lognormal(math.log(self.median), self.sigma, count)


class Exponential(_Bounded):
    """Exponential with `mean`."""

    kind: Literal["exponential"]
    mean: float = Field(gt=0)

    def _cdf(self, value: float) -> float:
        return 1 - math.exp(-max(0.0, value) / self.mean)

    def _free(self, rng: np.random.Generator, count: int) -> Floats:
        return rng.exponential(self.mean, count)


class Empirical(StrictModel):
    """One of `values`, with probability in proportion to `weights` (equal without them)."""

    kind: Literal["empirical"]
    values: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)
    weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Empirical:
        if self.weights is not None:
            if len(self.weights) != len(self.values):
                raise ValueError(
                    f"{len(self.weights)} weights for {len(self.values)} values; give one each"
                )
            if sum(self.weights) <= 0:
                raise ValueError("the weights add up to 0")
        return self

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        weights: Any = self.weights
        p = None if weights is None else np.asarray(weights) / sum(weights)
        return rng.choice(np.asarray(self.values, dtype=np.float64), size=count, p=p)


Distribution = Annotated[
    Fixed | Uniform | Normal | LogNormal | Exponential | Empirical, Field(discriminator="kind")
]


def draw_counts(
    distribution: Distribution, rng: np.random.Generator, count: int, least: int = 1
) -> NDArray[np.int64]:
    """`count` whole numbers of at least `least`: the draws rounded to the nearest.

    A uniform one gives every whole number from `min` to `max` the same chance.
    """
    if isinstance(distribution, Uniform):
        low, high = max(least, math.ceil(distribution.min)), math.floor(distribution.max)
        return rng.integers(low, max(low, high) + 1, count)
    return np.maximum(np.rint(distribution.draw(rng, count)), least).astype(np.int64)
