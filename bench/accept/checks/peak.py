"""Checks on the rate search: the peak it found, and what capacity planning said of it."""

from __future__ import annotations

import math

from pydantic import Field

from bench.accept.checks.check import MEASURED, Asked, Check, OnScenario
from bench.accept.missing import missing
from bench.accept.points import points_of
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text
from bench.judge.sweep import bracket, highest_held
from bench.judge.verdict import Result


def peak_found(asked: Asked, wanted: OnScenario) -> Finding:
    """`max_goodput_rps`: the highest rate that held, with its interval."""
    record = asked.facts.record(f"scenario:{wanted.scenario}")
    points = record["observed"]["points"]
    held, lost = bracket(points_of(points))
    runs = tuple(record["runs"])
    if held is None:
        raise missing(
            "too_short", why=Text("没有任何速率达到达标率", "no rate held the attainment")
        )
    closed = lost is not None
    found = highest_held(points_of(points))
    best = next(p for p in points if p["rate_rps"] == held)
    attained = f"{best['attainment']:.1%} [{best['low']:.1%}, {best['high']:.1%}]"
    text = Text(
        f"{len(runs)} 次运行；该速率下达标率 {attained}，要求 {best['wanted']:.0%}。"
        + ("" if closed else "未达到上限：增加搜索次数。"),
        f"{len(runs)} runs; attainment there {attained}, wanted {best['wanted']:.0%}."
        + ("" if closed else " The end was not reached: allow more runs."),
    )
    result = Result.PASS if closed else Result.UNDECIDED
    return asked.finding(result, text, value=held, low=None if math.isnan(found.low) else found.low,
                         high=found.high, unit="1/s", n=len(runs), links=runs)  # fmt: skip


class ForecastParameters(OnScenario):
    accuracy: float = Field(gt=0, lt=1)


def forecast(asked: Asked, wanted: ForecastParameters) -> Finding:
    """1 − |forecast − measured| / measured; the formula is QPS × tokens / batch / throughput."""
    said = asked.facts.settings.forecast_rps
    if said is None:
        raise missing("forecast_rps")
    found = peak_found(asked, OnScenario(scenario=wanted.scenario))
    assert found.value is not None
    if found.result is not Result.PASS:
        raise missing(
            "too_short",
            why=Text("速率搜索未达到上限，峰值未知", "the search did not reach the peak's end"),
        )
    accuracy = 1 - abs(said - found.value) / found.value
    text = Text(f"预测 {said:g}/s，实测 {found.value:.4g}/s。",
                f"Forecast {said:g}/s, measured {found.value:.4g}/s.")  # fmt: skip
    return asked.held(
        accuracy, wanted.accuracy, "higher", "fraction", text, n=found.n, links=found.links
    )


PEAK = (
    Check("peak_found", MEASURED, peak_found, OnScenario),
    Check("forecast", MEASURED, forecast, ForecastParameters),
)
