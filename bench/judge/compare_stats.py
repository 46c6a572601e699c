"""The difference of two sides of runs, its interval, and whether it is chance.

A latency or a rate is compared by its ratio, on the logarithmic scale, a share by its difference
in points.  Each run gives one value; a side's value is the mean of its runs' on that scale (for a
ratio the geometric mean).  Two things can be known of how far the difference would move by chance:

    blocks  how much each run's value varies when its stretches of time are resampled
            (`bench.judge.compare_blocks`), all that a single run can tell; runs of one plan are
            resampled at the same stretches, so that what the plan does to both sides cancels
    runs    how much the runs of a side differ from each other, pooled over the sides

Each gives a Student-t interval, and the wider one counts: blocks miss what differs from run to run,
and few runs may happen to lie close.

Sources
    stratified bootstrap  Davison & Hinkley, "Bootstrap Methods and their Application" (1997),
                          §3.2, §3.8, §8.2.
    rare events           Agresti & Caffo, Am. Stat. 54 (2000): one success and one failure added
                          to either side, as the least variance of a share.
    several metrics       Holm, Scand. J. Stat. 6 (1979).
    same                  the interval inside a margin: Schuirmann, J. Pharmacokinet. Biopharm. 15
                          (1987), with a confidence interval at the full level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bench.judge.compare_blocks import (
    BLOCKS,
    Sample,
    Sums,
    neighbour_factor,
)
from bench.judge.special import beta_cdf, t_quantile
from bench.judge.stats import Floats, correlation_factor

MISSED_EFFECTS = 2.0
"""What must not be missed, in minimum effects: nothing is called the same while so much may be.  A
change of one minimum effect is found in half of the cases, so equality can't be shown closer."""


class Scale(StrEnum):
    """What a difference is counted in."""

    RELATIVE = "relative"  # new / base - 1
    POINTS = "points"  # new - base, of fractions


class Basis(StrEnum):
    """What an interval rests on."""

    BLOCKS = "blocks"
    RUNS = "runs"
    NIGHTS = "nights"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Spread:
    """A standard error on the scale of the difference, with its degrees of freedom."""

    error: float
    degrees: float

    def half_width(self, confidence: float) -> float:
        return t_quantile((1 + confidence) / 2, self.degrees) * self.error

    def p_value(self, change: float) -> float:
        """Two-sided, of no difference."""
        if self.error <= 0:
            return 1.0 if change == 0 else 0.0
        square = (change / self.error) ** 2
        return float(beta_cdf(self.degrees / (self.degrees + square), self.degrees / 2, 0.5))


@dataclass(frozen=True, slots=True)
class Difference:
    """NEW against BASE.

    `base` and `new` are in the metric's unit; `change`, `low` and `high` on the scale: logarithm of
    the ratio, or points.  NaN where unknown.  `p` is two-sided.
    """

    base: float
    new: float
    change: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    basis: Basis = Basis.NONE


def on_scale(value: float, scale: Scale) -> float:
    """A value on the scale of differences; NaN for what has no logarithm."""
    if scale is Scale.POINTS:
        return value
    return math.log(value) if 0 < value < math.inf else math.nan


def off_scale(value: float, scale: Scale) -> float:
    """The inverse of `on_scale`."""
    return math.exp(value) if scale is Scale.RELATIVE else value


def shown_change(change: float, scale: Scale) -> float:
    """A change as people state it: a fraction of BASE, or points."""
    return math.expm1(change) if scale is Scale.RELATIVE else change


def effect_on_scale(minimum_effect: float, scale: Scale) -> float:
    """The minimum effect on the scale; the same either way, so that the sides can be exchanged."""
    return math.log1p(minimum_effect) if scale is Scale.RELATIVE else minimum_effect


def difference(
    base: Sequence[Sample],
    new: Sequence[Sample],
    scale: Scale,
    confidence: float,
    paired: bool = False,
) -> Difference:
    """The difference of samples of one metric, one for each run.

    `paired`: the runs of both sides followed one plan, at the same times.
    """
    values = [np.array([on_scale(s.value, scale) for s in side]) for side in (base, new)]
    spreads = {}
    if all(sample.enough for sample in (*base, *new)):
        error = _block_error(base, new, scale, paired)
        if math.isfinite(error):
            spreads[Basis.BLOCKS] = Spread(error, BLOCKS - 1)
    between = run_spread(values)
    if between is not None:
        spreads[Basis.RUNS] = between
    return settled(values[0], values[1], scale, spreads, confidence)


def settled(
    base: Floats, new: Floats, scale: Scale, spreads: Mapping[Basis, Spread], confidence: float
) -> Difference:
    """The difference of the means of values on the scale, by the widest of the spreads."""
    means = float(base.mean()), float(new.mean())
    change = means[1] - means[0]
    shown = off_scale(means[0], scale), off_scale(means[1], scale)
    usable = {basis: s for basis, s in spreads.items() if math.isfinite(s.error)}
    if math.isnan(change) or not usable:
        return Difference(*shown, change)
    basis, widest = max(usable.items(), key=lambda item: item[1].half_width(confidence))
    half = widest.half_width(confidence)
    p = max(spread.p_value(change) for spread in usable.values())
    return Difference(*shown, change, change - half, change + half, p, basis)


def run_spread(sides: Sequence[Floats]) -> Spread | None:
    """The standard error of the difference of two sides' means from how their values differ.

    The variance of single values is pooled over the sides.  None where each side has one value.
    """
    degrees = sum(len(side) - 1 for side in sides)
    if degrees < 1:
        return None
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in sides)
    variance = squares / degrees * sum(1 / len(side) for side in sides)
    return Spread(math.sqrt(variance), degrees)


def _block_error(
    base: Sequence[Sample], new: Sequence[Sample], scale: Scale, paired: bool
) -> float:
    """Standard error of the difference by resampling blocks within each run."""
    bases, news = ([_replicates(s, scale) for s in side] for side in (base, new))
    if paired:
        moved = np.mean(news, axis=0) - np.mean(bases, axis=0)
        variance = _variance(moved) * correlation_factor(_residual(new) - _residual(base))
    else:
        variance = sum(
            _variance(moved) * neighbour_factor(sample) / len(side) ** 2
            for side, made in ((base, bases), (new, news))
            for sample, moved in zip(side, made, strict=True)
        )
    # Resampling B blocks with replacement has (B - 1) / B of the variance it stands for.
    variance *= BLOCKS / (BLOCKS - 1)
    least = sum(_least_variance(side) for side in (base, new))
    return math.sqrt(max(variance, least))


def _replicates(sample: Sample, scale: Scale) -> Floats:
    drawn = sample.replicates()
    if scale is Scale.POINTS:
        return drawn
    positive = (drawn > 0) & np.isfinite(drawn)
    return np.log(drawn, out=np.full(len(drawn), np.nan), where=positive)


def _variance(moved: Floats) -> float:
    """NaN where one replicate has no value: the sample is too thin for an interval."""
    return float(moved.var(ddof=1))


def _residual(side: Sequence[Sample]) -> Floats:
    """How far each block of a side lies from the side's value, on average over its runs."""
    residuals = []
    for sample in side:
        part, whole = sample.per_block()
        share = float(part.sum()) / float(whole.sum())
        residuals.append((part - share * whole) / float(whole.sum()))
    mean: Floats = np.mean(residuals, axis=0)
    return mean


def _least_variance(side: Sequence[Sample]) -> float:
    """The least variance of a side's share (Agresti & Caffo); 0 for what is not a share."""
    counted = [s for s in side if isinstance(s, Sums) and s.counts]
    if not counted:
        return 0.0
    good, n = (sum(float(getattr(s, name).sum()) for s in counted) for name in ("part", "whole"))
    share = (good + 1) / (n + 2)
    return share * (1 - share) / (n + 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that all those at most α together err in at most α of the cases."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


class Change(StrEnum):
    """What a comparison says of one metric, or of all.

    NONE: there is nothing to compare, in either side, or no baseline yet.
    """

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNDECIDED = "undecided"
    NONE = "none"


def decide(
    found: Difference, adjusted_p: float, minimum_effect: float, scale: Scale,
    lower_is_better: bool, confidence: float,
) -> Change:  # fmt: skip
    """Worse or better: not chance, and at least the minimum effect.

    Same: less than the minimum effect, and surely less than `MISSED_EFFECTS` of it.
    """
    effect = effect_on_scale(minimum_effect, scale)
    if math.isnan(found.p):
        return Change.UNDECIDED
    if adjusted_p <= 1 - confidence and abs(found.change) >= effect:
        return Change.WORSE if (found.change > 0) == lower_is_better else Change.BETTER
    margin = MISSED_EFFECTS * effect
    inside = abs(found.change) < effect and -margin < found.low and found.high < margin
    return Change.SAME if inside else Change.UNDECIDED


def overall(changes: Sequence[Change]) -> Change:
    """Of all metrics: worse if any is, else undecided if any is, else better if any is."""
    for change in (Change.WORSE, Change.UNDECIDED, Change.BETTER, Change.SAME):
        if change in changes:
            return change
    return Change.NONE
