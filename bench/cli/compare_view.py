"""How a comparison looks on a terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rich.text import Text

from bench.cli.plain import visible
from bench.cli.screen import Screen
from bench.cli.verdict_view import quantity
from bench.errors import ExitCode
from bench.judge.compare_documents import SYMBOLS, interval, shown

EXIT_CODES: Mapping[str, ExitCode] = {
    "worse": ExitCode.OBJECTIVE_FAILED,
    "undecided": ExitCode.UNDECIDED,
    "better": ExitCode.PASS,
    "same": ExitCode.PASS,
    "none": ExitCode.PASS,
}
"""What each result of a comparison tells the shell."""

_STYLES: Mapping[str, str] = {
    "worse": "bold yellow",
    "better": "blue",
    "same": "",
    "undecided": "magenta",
    "none": "dim",
}
_VERDICTS: Mapping[str, str] = {
    "worse": "✗ WORSE: at least one metric is worse, and that is not chance",
    "better": "✓ BETTER: at least one metric is better and none is worse",
    "same": "= SAME: nothing changed by as much as matters",
    "undecided": "? UNDECIDED: too little was measured to tell",
    "none": "· nothing to compare with",
}
_WIDTH = 80


def show(found: Mapping[str, Any], out: IO[str]) -> None:
    """Print a comparison's JSON."""
    console = Screen(file=out, width=_WIDTH, highlight=False, markup=False, soft_wrap=True)
    head = f"{'':<12}{'metric':<14}{'base':>9}{'new':>9}{'change':>10}  interval"
    console.print(Text(head, "dim"))
    for row in found["metrics"]:
        _print_row(console, row)
    for each in found["unlike"]:
        values = visible(" / ".join(each["values"]))
        console.print(f"! not alike: {each['title']['en']}: {values}", style="magenta")
    for name in found["invalid"]:
        console.print(f"! not valid, so nothing is decided: {visible(name)}", style="magenta")
    for text in found["notes"]:
        console.print(f"· {text['en']}", style="dim")
    for pair in found["pairs"]:
        change = shown({"change": pair["change"], "scale": "relative"})
        ends = interval({**pair, "scale": "relative"})
        name = pair["metric"].removesuffix("_s")
        line = f"· same request, {name}: median {change} {ends}, {pair['n']:,} requests"
        console.print(line, style="dim")
    console.print(_VERDICTS[found["verdict"]], style="bold")


def _print_row(console: Screen, row: Mapping[str, Any]) -> None:
    statistic = "" if row["statistic"] == "value" else f" {row['statistic']}"
    name = row["metric"].removesuffix("_s").removesuffix("_fraction") + statistic
    word = f"{SYMBOLS[row['result']]} {row['result']}"
    values = [
        quantity(row[side], row["unit"]).removesuffix(" tokens/s") for side in ("base", "new")
    ]
    style = _STYLES[row["result"]]
    line = f"{word:<12}{name:<14}{values[0]:>9}{values[1]:>9}{shown(row):>10}  {interval(row)}"
    console.print(Text(line, style))
    if row["advice"] and row["result"] in ("undecided", "none"):
        console.print(Text(f"{'':<12}{row['advice']['en']}", "dim"))
