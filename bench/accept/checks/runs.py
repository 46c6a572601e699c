"""Checks on the runs of one scenario: limits on metrics, errors, the verdict of a profile."""

from __future__ import annotations

import re
from typing import Any

from pydantic import model_validator

from bench.accept.checks.check import EITHER, MEASURED, Asked, Check, OnScenario
from bench.accept.checks.history import SERVERS_DOING
from bench.accept.facts import JudgedRun, all_valid
from bench.accept.missing import missing
from bench.judge.checklist_result import Finding
from bench.judge.metric import Scope, Text, outcome_is
from bench.judge.metrics import METRICS
from bench.judge.profile import Limit, MetricName
from bench.judge.verdict import Result, Verdict

_SEVERITY = ("fail", "undecided", "pass", "not_applicable")


class LimitParameters(OnScenario):
    """`statistic` of `metric` within `bound` in every run of the scenario, each `window_s` long."""

    metric: str
    statistic: str
    bound: float
    window_s: float | None = None

    @model_validator(mode="after")
    def _can_be_judged(self) -> LimitParameters:
        self.limits()
        return self

    def limits(self) -> tuple[Limit, ...]:
        return (
            Limit(
                metric=self.metric,
                statistic=self.statistic,
                bound=self.bound,
                window_s=self.window_s,
                source="checklist",
            ),
        )


def limit(asked: Asked, wanted: LimitParameters) -> Finding:
    """Decided as a profile's limit is (metric system §9); the worst of several runs counts."""
    runs = asked.facts.valid_runs(wanted.scenario)
    rows = [(_row(run, wanted), run) for run in runs]
    row, run = min(rows, key=lambda pair: _SEVERITY.index(pair[0]["result"]))
    result = Result(row["result"])
    if result is Result.NOT_APPLICABLE:
        raise missing("no_value", why=Text(**row["advice"]))
    advice = row["advice"] or {"zh": "", "en": ""}
    of = Text("一次运行。", "One run.")
    if len(runs) > 1:
        of = Text(f"{len(runs)} 次运行中最差的一次。", f"The worst of {len(runs)} runs.")
    infinite = "value" in row["infinite"]
    return asked.finding(
        result,
        Text(of.zh + advice["zh"], f"{of.en} {advice['en']}".strip()),
        value=float("inf") if infinite else row["value"],
        low=row["low"],
        high=row["high"],
        unit=row["unit"],
        bound=row["bound"],
        direction=row["direction"],
        n=row["n"],
        links=(run.link,),
    )


def _row(run: JudgedRun, wanted: LimitParameters) -> dict[str, Any]:
    key = (wanted.metric, wanted.statistic, wanted.bound)
    rows = run.judgement.verdict["limits"]
    found: dict[str, Any] = next(
        row for row in rows if (row["metric"], row["statistic"], row["bound"]) == key
    )
    return found


def meets_profile(asked: Asked, wanted: OnScenario) -> Finding:
    """Every run meets every target of the scenario's profile."""
    runs = asked.facts.valid_runs(wanted.scenario)
    verdicts = [Verdict(run.judgement.verdict["verdict"]) for run in runs]
    worst = min(verdicts, key=lambda v: _SEVERITY.index(v.value) if v.value in _SEVERITY else 1)
    run = runs[verdicts.index(worst)]
    rows = [row for row in run.judgement.verdict["limits"] if row["level"] == "target"]
    missed = [row for row in rows if row["result"] == worst.value and worst is not Verdict.PASS]
    names = ", ".join(f"{row['metric']} {row['statistic']}" for row in missed)
    met = sum(row["result"] == "pass" for row in rows)
    text = Text(
        f"达到 {met}/{len(rows)} 项目标" + (f"；{names}" if names else "。"),
        f"{met} of {len(rows)} targets met" + (f"; not: {names}" if names else "."),
    )
    result = Result(worst.value) if worst.value in _SEVERITY else Result.UNDECIDED
    return asked.finding(result, text, value=met, bound=len(rows), direction="higher", unit="1",
                         links=(run.link,))  # fmt: skip


class ErrorParameters(OnScenario):
    """Regular expressions on the error's class and on what the server said, either may match."""

    error_class: str | None = None
    said: str | None = None


def no_errors(asked: Asked, wanted: ErrorParameters) -> Finding:
    """No request of any run ended so.  What was seen condemns even a run that is not valid."""
    runs = asked.facts.runs(wanted.scenario)
    total = count = 0
    guilty = []
    for run in runs:
        rows = run.judgement.requests
        failed = rows[outcome_is(rows, "failed")]
        hits = sum(
            _matches(wanted.error_class, error_class) or _matches(wanted.said, said)
            for error_class, said in zip(failed["error_class"], failed["error_text"], strict=True)
        )
        total, count = total + len(rows), count + hits
        guilty += [run.link] if hits else []
    if not count:
        all_valid(runs)
    text = Text(f"{total:,} 个请求中 {count:,} 个。", f"{count:,} of {total:,} requests.")
    links = tuple(guilty or [run.link for run in runs])
    return asked.held(count, 0, "lower", "requests", text, n=total, links=links)


def _matches(pattern: str | None, text: object) -> bool:
    return pattern is not None and isinstance(text, str) and bool(re.search(pattern, text, re.I))


class OutageParameters(OnScenario):
    """A run metric of the reliability table, over a run in which a part was taken away."""

    metric: MetricName
    bound: float

    @model_validator(mode="after")
    def _has_one_value(self) -> OutageParameters:
        if METRICS[self.metric].scope is not Scope.RUN:
            raise ValueError(f"{self.metric} has no single value of the run")
        return self


def outage(asked: Asked, wanted: OutageParameters) -> Finding:
    """Availability or recovery over the induced failure: counted facts of this one failure.

    `recovery_s` is 0 where no request failed: service was never lost.
    """
    (run,) = asked.facts.runs(wanted.scenario)
    broken = sorted(set(run.broken_rules) - SERVERS_DOING)
    if broken:
        raise missing("not_valid", rules=", ".join(broken))
    metric = METRICS[wanted.metric]
    entry = run.metrics[wanted.metric]
    value, low, high = (entry[name] for name in ("value", "low", "high"))
    if value is None and entry["absent"] and wanted.metric != "recovery_s":
        raise missing("no_value", why=Text(**entry["absent"]))
    if value is None:
        value = low = high = 0.0 if entry["absent"] else float("inf")
    good = value <= wanted.bound if metric.direction == "lower" else value >= wanted.bound
    hooks = run_hooks(asked, wanted.scenario)
    return asked.finding(
        Result.PASS if good else Result.FAIL,
        Text(f"故障 {hooks:.1f} s。", f"The failure lasted {hooks:.1f} s."),
        value=value, low=low, high=high, unit=metric.unit, bound=wanted.bound,
        direction=metric.direction, n=entry["n"], links=(run.link,),
    )  # fmt: skip


def run_hooks(asked: Asked, scenario: str) -> float:
    """Seconds from the break hook's end to the restore hook's end."""
    seen = asked.facts.observed(f"scenario:{scenario}")["hooks"]
    lasted: float = seen["restored_s"] - seen["broken_s"]
    return lasted


RUNS = (
    Check("limit", EITHER, limit, LimitParameters),
    Check("meets_profile", MEASURED, meets_profile, OnScenario),
    Check("no_errors", MEASURED, no_errors, ErrorParameters),
    Check("outage", MEASURED, outage, OutageParameters),
)
