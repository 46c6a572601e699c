"""Tonight against a baseline of nights, with a noise floor learnt from nights that were alike.

Rounds of one night share its weather: clocks, temperatures, neighbours, memory layout.  So however
many rounds there are, what tonight differs from earlier nights by chance is only seen in how those
differed from each other.  Each accepted night i was once compared with the mean of the m nights
before it; with nothing changed, that difference has the variance σ² (1 + 1/m).  The noise floor is
σ, from the mean square of those A/A differences.  Few nights tell little of σ: the estimate is
drawn towards a third of the minimum effect, as if that had been seen in `PRIOR_NIGHTS` nights
(moderated variance: Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004)), and the Student-t interval has
as many degrees of freedom as nights, those included.

The rounds give a second interval, from how rounds of one night differ; the wider one counts, so a
night whose rounds lie apart is not trusted for the calm of others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.judge.compare import Row, judged_rows, scale_of
from bench.judge.compare_stats import (
    Basis,
    Change,
    Difference,
    Spread,
    effect_on_scale,
    on_scale,
    settled,
)
from bench.judge.metric import Text
from bench.judge.profile import Compared
from bench.judge.stats import Floats

PRIOR_NIGHTS = 4
PRIOR_EFFECT_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class NightValues:
    """What the rounds of one night measured.

    `values` maps a statistic (`key_of`) to one value for each round, in the metric's unit; a
    statistic that a round does not have is missing.  `new_level`: the nights before it are no
    baseline for it, since something was changed and accepted.
    """

    name: str
    values: Mapping[str, tuple[float, ...]]
    new_level: bool = False


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """By how much nights differ by chance: a standard deviation on the scale of differences."""

    error: float
    degrees: float
    differences: int


@dataclass(frozen=True, slots=True)
class NightlyChange:
    """Tonight's rows, with the noise floor of each, and the nights it was held against."""

    rows: tuple[Row, ...]
    floors: Mapping[str, NoiseFloor]
    baseline: tuple[str, ...] = field(default=())


def key_of(compared: Compared) -> str:
    """`ttft_s p50`: what a night's values are stored under."""
    return f"{compared.metric} {compared.statistic}"


def since_new_level(nights: Sequence[NightValues], most: int) -> list[NightValues]:
    """The last `most` nights that are alike: none from before the last new level."""
    first = max((k for k, night in enumerate(nights) if night.new_level), default=0)
    return list(nights[first:][-most:])


def compare_nights(
    tonight: NightValues,
    baseline: Sequence[NightValues],
    history: Sequence[NightValues],
    compared: Sequence[Compared],
    *,
    window: int,
    confidence: float,
) -> NightlyChange:
    """Tonight against `baseline`.

    `history` are the accepted nights, the oldest first, of which the noise floor is learnt, with a
    rolling baseline of at most `window` nights each.
    """
    floors = {key_of(each): noise_floor(history, each, window) for each in compared}
    rows = [_row(each, tonight, baseline, floors[key_of(each)], confidence) for each in compared]
    names = tuple(night.name for night in baseline)
    return NightlyChange(judged_rows(rows, confidence), floors, names)


def noise_floor(history: Sequence[NightValues], compared: Compared, window: int) -> NoiseFloor:
    """The noise floor of one statistic from the A/A differences of accepted nights."""
    means = np.array([night_mean(night, compared) for night in history])
    squares, first = [], 0
    for k, night in enumerate(history):
        if night.new_level:
            first = k
        before = means[max(first, k - window) : k]
        before = before[~np.isnan(before)]
        if len(before) and not math.isnan(means[k]):
            difference = float(means[k] - before.mean())
            squares.append(difference**2 / (1 + 1 / len(before)))
    prior = PRIOR_EFFECT_SHARE * effect_on_scale(compared.minimum_effect, scale_of(compared))
    degrees = PRIOR_NIGHTS + len(squares)
    variance = (PRIOR_NIGHTS * prior**2 + sum(squares)) / degrees
    return NoiseFloor(math.sqrt(variance), degrees, len(squares))


def night_mean(night: NightValues, compared: Compared) -> float:
    """The night's value: the mean of its rounds on the scale of differences; NaN without one."""
    found = _on_scale(night, compared)
    return float(found.mean()) if len(found) else math.nan


def _on_scale(night: NightValues, compared: Compared) -> Floats:
    scale = scale_of(compared)
    found = night.values.get(key_of(compared), ())
    return np.array([on_scale(value, scale) for value in found], np.float64)


def _row(
    compared: Compared,
    tonight: NightValues,
    baseline: Sequence[NightValues],
    floor: NoiseFloor,
    confidence: float,
) -> Row:
    scale, here = scale_of(compared), _on_scale(tonight, compared)
    nights = [_on_scale(night, compared) for night in baseline]
    nights = [rounds for rounds in nights if len(rounds) and not np.isnan(rounds).any()]
    if not nights:
        return Row(compared, scale, _UNKNOWN, math.nan, Change.NONE, _NO_BASELINE)
    means = np.array([float(rounds.mean()) for rounds in nights])
    if not len(here):
        return Row(compared, scale, _UNKNOWN, math.nan, Change.UNDECIDED, _NOT_TONIGHT)
    spreads = {Basis.NIGHTS: Spread(floor.error * math.sqrt(1 + 1 / len(means)), floor.degrees)}
    within = _round_spread(here, nights)
    if within is not None:
        spreads[Basis.RUNS] = within
    found = settled(means, np.array([float(here.mean())]), scale, spreads, confidence)
    advice = _UNDEFINED if math.isnan(found.p) else None
    return Row(compared, scale, found, math.nan, Change.UNDECIDED, advice)


def _round_spread(tonight: Floats, nights: Sequence[Floats]) -> Spread | None:
    """The error of the difference as far as rounds of one night differ, pooled over nights."""
    all_nights = (tonight, *nights)
    degrees = sum(len(rounds) - 1 for rounds in all_nights)
    if degrees < 1:
        return None
    squares = sum(float(((rounds - rounds.mean()) ** 2).sum()) for rounds in all_nights)
    means = 1 / len(tonight) + sum(1 / len(rounds) for rounds in nights) / len(nights) ** 2
    return Spread(math.sqrt(squares / degrees * means), degrees)


_UNKNOWN = Difference(math.nan, math.nan)
_NO_BASELINE = Text("基线中没有该值。", "the baseline does not have it")
_NOT_TONIGHT = Text("今夜没有一轮得到该值。", "no round of tonight has it")
_UNDEFINED = Text("无法比较：值为 0 或无穷。", "can't be compared: a value is 0 or infinite")
