"""How a verdict looks on a terminal: words and signs first, colour only beside them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import IO, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.cli.screen import Screen
from bench.errors import ExitCode

EXIT_CODES: Mapping[str, ExitCode] = {
    "pass": ExitCode.PASS,
    "none": ExitCode.PASS,
    "fail": ExitCode.OBJECTIVE_FAILED,
    "undecided": ExitCode.UNDECIDED,
    "invalid": ExitCode.UNDECIDED,
}
"""What each verdict tells the shell."""

_RESULTS: Mapping[str, tuple[str, str]] = {
    "pass": ("✓ pass", "blue"),
    "fail": ("✗ FAIL", "bold yellow"),
    "undecided": ("? undecided", "magenta"),
    "not_applicable": ("– n/a", "dim"),
}
_VERDICTS: Mapping[str, str] = {
    "pass": "✓ PASS: every objective that applies is met",
    "fail": "✗ FAIL: at least one objective is not met",
    "undecided": "? UNDECIDED: too few samples, or a value is unknown",
    "invalid": "! NOT VALID: this run can't be trusted, so it gets no verdict",
    "none": "· no objective was judged",
}
_WIDTH = 80
_SHOWN: tuple[tuple[str, str], ...] = (
    ("ttft_s", "TTFT"),
    ("tpot_s", "TPOT"),
    ("itl_s", "ITL"),
    ("e2e_s", "E2E"),
)
_RATES = ("request_rps", "output_tps", "goodput_rps", "cache_client", "error_rate")


def show(verdict: Mapping[str, Any], summary: Mapping[str, Any], stream: IO[str]) -> None:
    """Write the run's numbers, its limits and the verdict; at most 80 columns wide."""
    console = Screen(file=stream, width=_WIDTH, highlight=False, markup=False)
    console.print(_latencies(summary))
    console.print(_line(summary))
    for row in verdict["limits"]:
        _print_limit(console, row)
    if verdict["score"] is not None:
        console.print(_score(verdict["score"]))
    for rule in summary["diagnosis"]:
        if rule["result"] == "fires":
            _print_diagnosis(console, rule)
    for rule in verdict["reasons"]:
        value, limit = quantity(rule["value"], rule["unit"]), quantity(rule["limit"], rule["unit"])
        sign = "≥" if rule["direction"] == "higher" else "≤"
        console.print(f"! {rule['title']['en']}: {value}, wanted {sign} {limit}", style="bold")
        console.print(f"    {rule['advice']['en']}")
    unknown = [rule["rule"] for rule in verdict["validity"] if rule["result"] == "unknown"]
    if unknown:
        console.print(f"not checked, for want of inputs: {', '.join(unknown)}", style="dim")
    wider = [rule["rule"] for rule in verdict["validity"] if rule["standard"] is not None]
    if wider:
        console.print(f"the profile lets through more than the metric system: {', '.join(wider)}")
    console.print(_VERDICTS[verdict["verdict"]], style="bold")


def _latencies(summary: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("", "n", "mean", "P50", "P90", "P99", "max"):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for name, short in _SHOWN:
        row = summary["metrics"][name]
        numbers = [
            "∞" if key in row["infinite"] else quantity(row[key], "s")
            for key in ("mean", "p50", "p90", "p99", "max")
        ]
        table.add_row(short, f"{row['n']:,}", *numbers)
    return table


def _line(summary: Mapping[str, Any]) -> str:
    """Rates and the window, broken between values and never within one."""
    metrics, window = summary["metrics"], summary["window"]
    parts = [
        f"{name} {quantity(metrics[name]['value'], unit)}"
        for name, unit in zip(
            _RATES, ("1/s", "tokens/s", "1/s", "fraction", "fraction"), strict=True
        )
        if metrics[name]["value"] is not None
    ]
    length = window["end_s"] - window["start_s"]
    parts.append(f"window {length:.0f} s ({window['rule']})")
    kept = ", ".join(part.replace(" ", "\u00a0") for part in parts)
    return textwrap.fill(kept, _WIDTH).replace("\u00a0", " ")


def _print_limit(console: Screen, row: Mapping[str, Any]) -> None:
    """Result, limit, value, interval; what would decide it on a line of its own."""
    words, style = _RESULTS[row["result"]]
    if row["level"] != "target":
        words = f"{row['level']} {words[0]}"
        style = "dim"
    sign = "≤" if row["direction"] == "lower" else "≥"
    statistic = "" if row["statistic"] == "value" else f" {row['statistic']}"
    name = row["metric"].removesuffix("_s").removesuffix("_fraction")
    limit = f"{name}{statistic} {sign} {quantity(row['bound'], row['unit'])}"
    value, interval = _numbers(row)
    console.print(Text(f"{words:<15}{limit:<30}{value:>11}  {interval}".rstrip(), style))
    if row["advice"] and row["result"] == "undecided":
        console.print(Text(f"{'':<15}{row['advice']['en']}", "dim"))


def _score(score: Mapping[str, Any]) -> str:
    scenario = score["scenario"]["title"]["en"]
    if score["value"] is not None:
        return f"score {score['value']:.1f} of 100 ({scenario})"
    missing = "; ".join(f"{m['what']['en']} ({m['why']['en']})" for m in score["missing"])
    return f"score incomplete ({scenario}): {missing}"


def _print_diagnosis(console: Screen, rule: Mapping[str, Any]) -> None:
    """Symptom, its evidence, its likely cause and the next step."""
    console.print(f"→ {rule['symptom']['en']}", style="bold")
    for each in rule["evidence"]:
        value, bound = (quantity(each[key], each["unit"]) for key in ("value", "threshold"))
        sign = "≥" if each["direction"] == "higher" else "≤"
        console.print(f"    {each['title']['en']} {value} ({sign} {bound})")
    for text in (rule["cause"], rule["next_step"]):
        console.print(Padding(text["en"], (0, 0, 0, 4)))


def _numbers(row: Mapping[str, Any]) -> tuple[str, str]:
    """A row's value, and its interval where it has one that is not the value itself."""

    def number(name: str) -> str:
        if name in row["infinite"]:
            return "∞"
        return quantity(row[name], row["unit"])

    if row["low"] is None and not row["infinite"]:
        return number("value"), ""
    if number("low") == number("high"):
        return number("value"), ""
    return number("value"), f"[{number('low')}, {number('high')}]".replace(" tokens/s", "")


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit; — where unknown."""
    if value is None or math.isnan(value):
        return "—"
    if unit == "s":
        small = abs(value) < 1
        return f"{_digits(value * 1e3)} ms" if small else f"{_digits(value)} s"
    if unit == "fraction":
        return f"{value * 100:.4g} %"
    shown = {"1": "", "1/s": "/s"}.get(unit, f" {unit}")
    return f"{_digits(value)}{shown}"


def _digits(value: float) -> str:
    """Three significant digits, or the whole number from 100 on."""
    return f"{value:,.0f}" if value == 0 or abs(value) >= 100 else f"{value:.3g}"
