"""A metric over the nights: its values, the noise floor, and the nights that changed its level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.judge.changepoint import change_points
from bench.judge.compare import scale_of
from bench.judge.compare_documents import percentage
from bench.judge.compare_likeness import unlike
from bench.judge.compare_nights import night_mean
from bench.judge.compare_stats import Scale, effect_on_scale, off_scale, shown_change
from bench.judge.profile import Compared
from bench.nightly.nights import Night


@dataclass(frozen=True, slots=True)
class LevelChange:
    """A change point: the first night of the new level, and by how much it moved."""

    night: str
    label: str
    before: float
    after: float
    shown: str
    p: float


@dataclass(frozen=True, slots=True)
class Series:
    """One statistic over the nights that were measured like the last one, the oldest first.

    `values` are in the metric's unit; `rounds` those of each night; `results` what each night's
    comparison came to.
    """

    key: str
    compared: Compared
    scale: Scale
    nights: tuple[str, ...]
    labels: tuple[str, ...]
    values: tuple[float, ...]
    rounds: tuple[tuple[float, ...], ...]
    results: tuple[str, ...]
    changes: tuple[LevelChange, ...]


def series_of(nights: Sequence[Night]) -> list[Series]:
    """A series for each statistic that the last night judged; nights unlike it are left out."""
    if not nights:
        return []
    last = nights[-1]
    alike = [night for night in nights if not unlike([night.conditions, last.conditions])]
    compared = [
        Compared(
            metric=row["metric"],
            statistic=row["statistic"],
            minimum_effect=row["minimum_effect"],
        )
        for row in last.change["metrics"]
    ]
    made = (_series(each, alike) for each in compared)
    return [series for series in made if series.nights]


def _series(compared: Compared, nights: Sequence[Night]) -> Series:
    key, scale = f"{compared.metric} {compared.statistic}", scale_of(compared)
    means = [(night, night_mean(night.as_values, compared)) for night in nights]
    known = [(night, mean) for night, mean in means if not math.isnan(mean)]
    measured = [night for night, _ in known]
    return Series(
        key=key,
        compared=compared,
        scale=scale,
        nights=tuple(night.id for night in measured),
        labels=tuple(night.label for night in measured),
        values=tuple(off_scale(mean, scale) for _, mean in known),
        rounds=tuple(night.values[key] for night in measured),
        results=tuple(_result(night, compared) for night in measured),
        changes=_changes(compared, scale, known),
    )


def _changes(
    compared: Compared, scale: Scale, known: Sequence[tuple[Night, float]]
) -> tuple[LevelChange, ...]:
    effect = effect_on_scale(compared.minimum_effect, scale)
    found = change_points(np.array([mean for _, mean in known]), effect)
    return tuple(
        LevelChange(
            night=known[point.index][0].id,
            label=known[point.index][0].label,
            before=off_scale(point.before, scale),
            after=off_scale(point.after, scale),
            shown=percentage(shown_change(point.shift, scale), scale),
            p=point.p,
        )
        for point in found
    )


def _result(night: Night, compared: Compared) -> str:
    """What the night's own comparison said of the statistic."""
    for row in night.change["metrics"]:
        if (row["metric"], row["statistic"]) == (compared.metric, compared.statistic):
            return str(row["result"])
    return "none"
