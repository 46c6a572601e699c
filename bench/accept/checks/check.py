"""What a check is: one row of the table in `bench.accept.checks`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from bench.accept.facts import Facts
from bench.judge.checklist import Basis
from bench.judge.checklist_result import Finding
from bench.judge.metric import Scope, Text
from bench.judge.metrics import METRICS
from bench.judge.profile import Limit, MetricName
from bench.judge.summary import QUANTILES
from bench.judge.verdict import Result
from bench.yamlfile import StrictModel


class Parameters(StrictModel):
    """Parameters of a check; a subclass for each that takes some."""

    def scenarios(self) -> tuple[str, ...]:
        """Scenarios whose runs the check looks at."""
        return ()

    def limits(self) -> tuple[Limit, ...]:
        """Bounds that those runs are to be judged against."""
        return ()


class OnScenario(Parameters):
    """Of a check that looks at the runs of one scenario."""

    scenario: str

    def scenarios(self) -> tuple[str, ...]:
        return (self.scenario,)


class OnStatistic(OnScenario):
    """Of a check that looks at one number of summary.json: `statistic` of `metric`."""

    metric: MetricName
    statistic: str

    @model_validator(mode="after")
    def _stands_in_the_summary(self) -> OnStatistic:
        one = METRICS[self.metric].scope is Scope.RUN
        known = ("value",) if one else ("mean", "std", "min", *QUANTILES, "max")
        if self.statistic not in known:
            raise ValueError(
                f'{self.metric}: expected statistic {", ".join(known)}, got "{self.statistic}"'
            )
        return self


@dataclass(frozen=True, slots=True)
class Asked:
    """One check asked of one part: what it may look at, and how to write down what it finds."""

    facts: Facts
    item: str
    part: str
    basis: Basis
    check: str

    def finding(self, result: Result, text: Text, **rest: Any) -> Finding:
        return Finding(result, self.basis, self.check, text, **rest)

    def held(
        self, value: float, bound: float, direction: str, unit: str, text: Text, **rest: Any
    ) -> Finding:
        """A counted value against its bound: passed on the good side of it, the bound included."""
        good = value <= bound if direction == "lower" else value >= bound
        return self.finding(
            Result.PASS if good else Result.FAIL,
            text,
            value=value,
            bound=bound,
            direction=direction,
            unit=unit,
            **rest,
        )


Evaluate = Callable[[Asked, Any], Finding]
"""From what is asked and the check's own parameters to a finding; raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Check:
    """`bases`: how it may come to its finding.  `needs`: keys of activities it looks at, beside
    the scenarios its parameters name."""

    name: str
    bases: frozenset[Basis]
    evaluate: Evaluate
    parameters: type[Parameters] = Parameters
    needs: tuple[str, ...] = ()


MEASURED = frozenset({Basis.MEASURED})
SCRAPED = frozenset({Basis.SCRAPED})
EITHER = MEASURED | SCRAPED
