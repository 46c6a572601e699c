"""How a sweep looks on a terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rich.text import Text

from bench.cli.screen import Screen
from bench.cli.verdict_view import quantity

_WIDTH = 80
_ATTAINED: Mapping[str, tuple[str, str]] = {
    "met": ("✓ met", "blue"),
    "missed": ("✗ missed", "yellow"),
    "undecided": ("? undecided", "magenta"),
    "invalid": ("! not valid", "magenta"),
    "none": ("", ""),
}
_VERDICTS: Mapping[str, str] = {
    "pass": "✓ PASS: what was sought is shown",
    "fail": "✗ FAIL: what was sought is shown not to hold",
    "undecided": "? UNDECIDED: too few samples, the end was not reached, or a run is not valid",
    "invalid": "! NOT VALID: no run can be trusted",
    "none": "· nothing was sought: the steps stand for themselves",
}
_HEADS = ("done/s", "TTFT P50", "P99", "TPOT P50", "tokens/s", "good/s", "good")
_WIDTHS = (8, 9, 9, 9, 9, 8, 8)


def show(found: Mapping[str, Any], stream: IO[str]) -> None:
    """Print the content of sweep.json."""
    console = Screen(file=stream, width=_WIDTH, highlight=False, soft_wrap=True)
    open_loop = found["loop"] == "open"
    head = "req/s" if open_loop else "slots"
    console.print(Text(_line((head, *_HEADS), ""), "dim"))
    for step in found["steps"]:
        words, style = _ATTAINED[step["attained"]]
        if found["goal"] == "max-rate" and step["valid"]:
            words, style = _kept_up(step, found["saturation"])
        console.print(Text(_line(_cells(step), words), style))
    for line in _findings(found, open_loop=open_loop):
        console.print(line)
    console.print(_VERDICTS[found["verdict"]], style="bold")


def load_words(load: float, *, open_loop: bool) -> str:
    """`4 requests per second`, `8 slots`."""
    return f"{load:.4g} {'requests per second' if open_loop else 'slots'}"


def _line(cells: tuple[str, ...], words: str) -> str:
    load, *rest = cells
    columns = (f"{cell:>{width}}" for cell, width in zip(rest, _WIDTHS, strict=True))
    return f"{load:>6}{''.join(columns)} {words}".rstrip()


def _cells(step: Mapping[str, Any]) -> tuple[str, ...]:
    metrics = step["metrics"]

    def percentile(metric: str, name: str) -> str:
        row = metrics[metric]
        return "∞" if name in row["infinite"] else quantity(row[name], "s")

    def value(metric: str, unit: str) -> str:
        return quantity(metrics[metric]["value"], unit).split(" ")[0].removesuffix("/s")

    return (
        f"{step['load']:.4g}",
        value("request_rps", "1/s"),
        percentile("ttft_s", "p50"),
        percentile("ttft_s", "p99"),
        percentile("tpot_s", "p50"),
        value("output_tps", "tokens/s"),
        value("goodput_rps", "1/s"),
        quantity(metrics["goodput_fraction"]["value"], "fraction"),
    )


def _kept_up(step: Mapping[str, Any], saturation: Mapping[str, Any]) -> tuple[str, str]:
    """Whether the server kept up with the rate."""
    share, wanted = step["sustained"]["value"], saturation["wanted"]
    if share is None:
        return "", ""
    return ("✓ kept up", "blue") if share >= wanted else ("✗ fell behind", "yellow")


def _findings(found: Mapping[str, Any], *, open_loop: bool) -> list[str]:
    lines = []
    unit = "req/s" if open_loop else "slot(s)"
    if found["attained"] is not None:
        wanted = quantity(found["attained"]["wanted"], "fraction")
        name = "max goodput" if open_loop else "most slots"
        lines.append(f"{name}: {_highest(found['attained'], unit)}, {wanted} of requests good")
    saturation = found["saturation"]
    lost = "" if saturation["lost"] is None else f"; not at {saturation['lost']:.4g}"
    follows = "the server keeps up" if open_loop else "throughput follows the slots"
    lines.append(f"{follows} to {_highest(saturation, unit)}{lost}")
    peak = quantity(found["peak_output_tps"]["value"], "tokens/s")
    lines.append(f"highest output throughput: {peak}")
    scaling = found["metrics"]["scaling_coefficient"]
    if scaling["value"] is not None:
        ends = (scaling[end] for end in ("low", "high"))
        low, high = ("—" if end is None else f"{end:.3g}" for end in ends)
        lines.append(f"scaling coefficient: {scaling['value']:.3g} [{low}, {high}]")
    return lines


def _highest(row: Mapping[str, Any], unit: str) -> str:
    """`8 req/s [4, 16]`; — and ∞ where no run shows an end, nothing where none shows either."""
    if row["value"] is None:
        return "—"
    if row["low"] is None and "high" in row["infinite"]:
        return f"{row['value']:.4g} {unit}"
    low = "—" if row["low"] is None else f"{row['low']:.4g}"
    high = "∞" if "high" in row["infinite"] else f"{row['high']:.4g}"
    return f"{row['value']:.4g} {unit} [{low}, {high}]"
