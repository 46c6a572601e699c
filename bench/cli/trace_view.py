"""How `bench trace inspect` shows a trace to a person, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from bench.cli.plain import visible
from bench.cli.screen import Screen
from bench.workload.inspect import TraceStats
from bench.workload.readers import COUNTS

_UNKNOWN = "—"


def show(name: str, chosen: TraceStats, whole: TraceStats | None) -> None:
    """Print the rows chosen, and beside them the whole file where it is more."""
    console = Screen(highlight=False, markup=False)
    blocks = "no block ids"
    if chosen.block_tokens is not None:
        blocks = f"blocks of {chosen.block_tokens} tokens ({chosen.block_rule})"
    console.print(f"{visible(name)}: {chosen.format}, {blocks}")
    console.print(_measures_table([chosen] if whole is None else [chosen, whole]))
    console.print()
    console.print(_lengths_table(chosen))
    for absent in _absences(chosen):
        console.print(f"{_UNKNOWN} {absent}")
    for key, number in chosen.counts.items():
        console.print(f"{number:,} {COUNTS[key]}")
    for warning in chosen.warnings:
        console.print(f"! {visible(warning)}")


def _measures_table(shown: list[TraceStats]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=len(shown) > 1)
    table.add_column("")
    for title in ("chosen", "whole")[: len(shown)]:
        table.add_column(title, justify="right")
    columns = [_measures(stats) for stats in shown]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    return table


def _measures(stats: TraceStats) -> dict[str, str]:
    times = stats.times
    dispersion = {
        f"dispersion at {width_s} s": _number(value, "{:.1f}")
        for width_s, value in times.dispersion.items()
    }
    return {
        "rows": f"{stats.rows:,}",
        "duration": _number(times.duration_s, "{:,.1f} s"),
        "rate": _number(times.rate_rps, "{:,.2f} /s"),
        "inter-arrival CV": _number(times.iat_cv, "{:.2f}"),
        **dispersion,
        "sessions": _number(stats.sessions, "{:,}"),
        "turns of a session, mean": _number(stats.turns.mean, "{:.1f}"),
        "turns of a session, most": _number(stats.turns.max, "{:,}"),
        "cache ceiling, blocks": _number(stats.ceiling_blocks, "{:.2%}"),
        "cache ceiling, tokens": _number(stats.ceiling_tokens, "{:.2%}"),
    }


def _lengths_table(stats: TraceStats) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("tokens")
    columns = ("total", "mean", "min", "p50", "p90", "p95", "p99", "max")
    for title in columns:
        table.add_column(title, justify="right")
    for name, lengths in (("input", stats.input_tokens), ("output", stats.output_tokens)):
        numbers = (_number(getattr(lengths, column), "{:,.0f}") for column in columns)
        table.add_row(name, *numbers)
    return table


def _absences(stats: TraceStats) -> Iterator[str]:
    """Why something is not shown."""
    if stats.times.timed < 2:
        yield "rate, burstiness: the trace has no times"
    elif None in stats.times.dispersion.values():
        yield "dispersion: the trace is shorter than two such bins"
    if stats.sessions is None:
        yield "sessions: the trace names none"
    if stats.block_tokens is None:
        yield "cache ceiling: the trace has no block ids"
    if not stats.input_tokens.n:
        yield "input tokens: the trace holds text, which is counted by the server's tokenizer"
    if not stats.output_tokens.n:
        yield "output tokens: the trace does not say"


def _number(value: float | None, form: str) -> str:
    return _UNKNOWN if value is None else form.format(value)
