"""Checks over stored runs: the error budget, what a token costs, how lately it was measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from bench.accept.checks.check import MEASURED, Asked, Check, Parameters
from bench.accept.missing import missing
from bench.address import parse_origin
from bench.errors import ConfigError
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text
from bench.judge.profile import MetricName

SERVERS_DOING = frozenset({"server_restarts", "request_count", "output_length"})
"""Rules of validity that a failing server breaks, and not the client."""


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """A judged run of the history: when it was made, against what, its summary.json.

    `broken` are the rules of validity that it breaks.
    """

    path: Path
    made: date
    target: str
    broken: frozenset[str]
    summary: dict[str, Any]


def stored_summaries(folders: Iterator[Path]) -> list[StoredSummary]:
    """Runs below the folders that were judged, oldest first, each once.

    Files that are not what they should be are left out: a history is what can be read of it.
    """
    found = {}
    for folder in folders:
        for manifest in folder.rglob("manifest.json"):
            try:
                stored = json.loads(manifest.read_bytes())
                verdict = json.loads((manifest.parent / "verdict.json").read_bytes())
                summary = json.loads((manifest.parent / "summary.json").read_bytes())
                made = date.fromisoformat(stored["created_utc"][:10])
                target = parse_origin(stored["target"]["url"]).url
                broken = frozenset(reason["rule"] for reason in verdict["reasons"])
            except (OSError, ValueError, KeyError, TypeError, ConfigError):
                continue
            path = manifest.parent.resolve()
            found[path] = StoredSummary(path, made, target, broken, summary)
    return sorted(found.values(), key=lambda run: (run.made, run.path))


def _history(asked: Asked, but: frozenset[str] = frozenset()) -> list[StoredSummary]:
    """The runs against the target that break no rule of validity `but` these."""
    settings, target = asked.facts.settings, parse_origin(asked.facts.target).url
    runs = stored_summaries(settings.path_of(folder) for folder in settings.history)
    usable = [run for run in runs if run.broken <= but]
    if not usable:
        raise missing("history")
    ours = [run for run in usable if run.target == target]
    if not ours:
        raise missing("history_elsewhere", count=len(usable), target=target)
    return ours


class BudgetParameters(Parameters):
    """`availability` is the objective; `spent` the most of its error budget that may be used."""

    availability: float = Field(gt=0, lt=1)
    spent: float = Field(gt=0)


def error_budget(asked: Asked, wanted: BudgetParameters) -> Finding:
    """(failed / planned) / (1 − objective) over all stored runs (burn rate).

    A run in which the server restarted is not valid, and its failures are spent all the same.
    """
    runs = _history(asked, SERVERS_DOING)
    failed = sum(sum(run.summary["counts"]["failed"].values()) for run in runs)
    planned = sum(run.summary["counts"]["planned"] or 0 for run in runs)
    if not planned:
        raise missing(
            "no_value", why=Text("保存的运行均未写明计划数", "no stored run states what it planned")
        )
    spent = failed / planned / (1 - wanted.availability)
    fewest = math.ceil(round(1 / (wanted.spent * (1 - wanted.availability)), 6))
    if not failed and planned < fewest:
        raise missing(
            "too_short",
            why=Text(
                f"{planned:,} 个请求，允许的失败不足 1 个；至少需要 {fewest:,} 个",
                f"{planned:,} requests, too few for one failure to be allowed; {fewest:,} are "
                "needed",
            ),
        )
    text = Text(
        f"{len(runs)} 次运行，{planned:,} 个请求，失败 {failed:,}。",
        f"{len(runs)} runs, {planned:,} requests, {failed:,} failed.",
    )
    return asked.held(spent, wanted.spent, "lower", "fraction", text, n=planned)


class TrendParameters(Parameters):
    """The least drop of a run metric from one month's median to the next one's."""

    metric: MetricName = "cost_per_1k_tokens"
    drop: float = Field(gt=0, lt=1)


def trend(asked: Asked, wanted: TrendParameters) -> Finding:
    """Between the last two months that hold runs with a value."""
    months: dict[str, list[float]] = {}
    for run in _history(asked):
        value = run.summary["metrics"].get(wanted.metric, {}).get("value")
        if value is not None:
            months.setdefault(f"{run.made:%Y-%m}", []).append(value)
    if len(months) < 2:
        raise missing(
            "no_value",
            why=Text(
                f"仅 {len(months)} 个月有 {wanted.metric}，至少需要 2 个月",
                f"{len(months)} month(s) with {wanted.metric}; 2 are needed",
            ),
        )
    (_, before), (last, after) = sorted(months.items())[-2:]
    drop = 1 - float(np.median(after)) / float(np.median(before))
    text = Text(f"{last} 较前一月的降幅。", f"Drop in {last} from the month before.")
    n = len(before) + len(after)
    return asked.held(drop, wanted.drop, "higher", "fraction", text, n=n)


class RecentParameters(Parameters):
    days: int = Field(ge=1)


def measured_lately(asked: Asked, wanted: RecentParameters) -> Finding:
    """Days since the last stored valid run."""
    last = _history(asked)[-1]
    age = (asked.facts.evidence.today - last.made).days
    text = Text(f"最近一次：{last.made}。", f"The last one: {last.made}.")
    return asked.held(age, wanted.days, "lower", "days", text)


HISTORY = (
    Check("error_budget", MEASURED, error_budget, BudgetParameters),
    Check("trend", MEASURED, trend, TrendParameters),
    Check("measured_lately", MEASURED, measured_lately, RecentParameters),
)
