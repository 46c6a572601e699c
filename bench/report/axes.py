"""Axes of figures, with what is known of them: unit, scale, where the ticks stand.

Durations are in seconds and shown with SI prefixes, so that one axis serves microseconds and
minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report.numbers import seconds
from bench.report.thin import Floats

_LOG_FROM = 5
# Widest span in decades → which steps of a decade get a tick.
_LOG_STEPS = (
    (1.0, (1, 1.5, 2, 3, 5, 7)),
    (2.5, (1, 2, 5)),
    (4.0, (1, 3)),
    (99.0, (1,)),
)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its title (with the unit), scale, and d3 number format."""

    title: str
    log: bool = False
    format: str = ""
    suffix: str = ""
    from_zero: bool = False
    positive: bool = False
    top: float | None = None
    step: float | None = None
    ticks: tuple[tuple[float, str], ...] = ()
    downwards: bool = False
    categories: bool = False

    def layout(self) -> dict[str, Any]:
        axis: dict[str, Any] = {"title": {"text": self.title, "standoff": 8}}
        if self.log:
            axis["type"] = "log"
        if self.format:
            axis["tickformat"] = self.format
        if self.suffix:
            axis["ticksuffix"] = self.suffix
        if self.from_zero:
            axis["rangemode"] = "tozero"
        elif self.positive:
            axis["rangemode"] = "nonnegative"
        if self.top is not None:
            axis["range"] = [0, self.top]
        if self.step is not None:
            axis["dtick"] = self.step
        if self.categories:
            axis["type"] = "category"
        if self.ticks:
            axis["tickvals"] = [at for at, _ in self.ticks]
            axis["ticktext"] = [text for _, text in self.ticks]
        if self.downwards:
            axis["autorange"] = "reversed"
        return axis


def duration(title: str, values: Sequence[float] | Floats = ()) -> Axis:
    """An axis of durations in seconds.

    Logarithmic where the positive `values` span more than a factor of five, with ticks at round
    durations over that span and a decade beyond; else linear.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known) & (known > 0)]
    if len(known) == 0 or known.max() < _LOG_FROM * known.min():
        return Axis(title, format="~s", suffix="s", positive=True)
    low, high = np.log10(known.min()), np.log10(known.max())
    steps = next(steps for span, steps in _LOG_STEPS if high - low <= span)
    decades = range(int(np.floor(low)) - 1, int(np.ceil(high)) + 2)
    ticks = tuple(float(f"{step}e{decade}") for decade in decades for step in steps)
    return Axis(title, log=True, ticks=tuple((at, seconds(at)) for at in ticks))


def apart(values: Sequence[float], least: float = 0.09) -> list[float]:
    """Those of `values` that can be labelled on a logarithmic axis without overlap.

    The ends, then from the left what is at least the share `least` of the span from all others.
    Positive values, ascending.
    """
    if len(values) < 3:
        return list(values)
    at = np.log(np.asarray(values, dtype=np.float64))
    kept = [0, len(at) - 1]
    for index in range(1, len(at) - 1):
        if np.abs(at[kept] - at[index]).min() >= least * (at[-1] - at[0]):
            kept.append(index)
    return [values[index] for index in sorted(kept)]


def share(title: str, *, top: float | None = 1.02) -> Axis:
    """An axis of fractions, shown as percentages."""
    return Axis(title, format=".0%", from_zero=top is None, top=top)


def rows(title: str, labels: Sequence[str]) -> Axis:
    """An axis of named rows at 0, 1, 2 …, the first at the top."""
    return Axis(title, ticks=tuple(enumerate(labels)), downwards=True)
