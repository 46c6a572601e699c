"""Why is it slow?  Rules that fire on the evidence of one run (§5.7.5, §4.5.5, §13.5).

A rule is a conjunction of conditions.  It fires when every one is known and met, is clear when one
is known and not met, and is unknown else: it never fires on what was not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bench.judge.metric import Measured, Reading, Text
from bench.judge.validity import Finding


class State(StrEnum):
    FIRES = "fires"
    CLEAR = "clear"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What the rules look at: the judged window, its run metrics, the rules of validity."""

    measured: Measured
    readings: Mapping[str, Reading]
    findings: Sequence[Finding]

    def value(self, metric: str) -> float | None:
        """A run metric's value; None where it has none."""
        value = self.readings[metric].estimate.value
        return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Condition:
    """`measure` gives a value, or None where the run does not tell.

    Met at or above `threshold`, or at or below it with `at_most`.
    """

    title: Text
    unit: str
    measure: Callable[[Case], float | None]
    threshold: Callable[[Case], float]
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A symptom, what shows it, its likely cause, and what to do next."""

    name: str
    symptom: Text
    conditions: tuple[Condition, ...]
    cause: Text
    next_step: Text
    source: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A condition held against a run."""

    condition: Condition
    value: float | None
    threshold: float

    @property
    def met(self) -> bool | None:
        """None where the value is not known."""
        if self.value is None:
            return None
        if self.condition.at_most:
            return self.value <= self.threshold
        return self.value >= self.threshold

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.condition.title.as_json(),
            "unit": self.condition.unit,
            "value": self.value,
            "threshold": self.threshold,
            "direction": "lower" if self.condition.at_most else "higher",
            "met": self.met,
        }


def diagnose(rules: Sequence[Rule], case: Case) -> list[dict[str, Any]]:
    """Every rule held against a run, as the `diagnosis` part of summary.json."""
    return [_hold(rule, case) for rule in rules]


def _hold(rule: Rule, case: Case) -> dict[str, Any]:
    seen = [Observed(c, _known(c.measure(case)), c.threshold(case)) for c in rule.conditions]
    return {
        "rule": rule.name,
        "result": _state(seen).value,
        "symptom": rule.symptom.as_json(),
        "evidence": [each.as_json() for each in seen],
        "cause": rule.cause.as_json(),
        "next_step": rule.next_step.as_json(),
        "source": rule.source,
    }


def _state(seen: Sequence[Observed]) -> State:
    if any(each.met is False for each in seen):
        return State.CLEAR
    return State.UNKNOWN if any(each.met is None for each in seen) else State.FIRES


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
