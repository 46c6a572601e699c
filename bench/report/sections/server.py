"""What the server said of itself while it was loaded: batch, queue, KV cache, devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.report import axes, figures, thin
from bench.report.blocks import Block, Cell, Column, Figure, Table
from bench.report.changes import quantity
from bench.report.evidence import Evidence
from bench.report.numbers import DASH, count, significant
from bench.report.observed import Line, total
from bench.servers.family import SERIES, Kind

_POINTS = 800
_MOST_LINES = 8
_UNLISTED = {"process_start_s"}  # an instant, and a matter of validity

# Units that the series' own name says.
_COUNTED: Mapping[str, Callable[[float], str]] = {"requests": significant, "tokens": count}


@dataclass(frozen=True, slots=True)
class _Group:
    """One figure: which series share its axis, and whether engines are added up."""

    key: str
    series: tuple[str, ...]
    summed: bool
    axis: Callable[[str], axes.Axis]


def _plain(title: str) -> axes.Axis:
    return axes.Axis(title, format=",", from_zero=True)


def _bytes(title: str) -> axes.Axis:
    return axes.Axis(title, format="~s", suffix="B", from_zero=True)


_GROUPS = (
    _Group("batch", ("running", "waiting", "swapped"), True, _plain),
    _Group("kv_usage", ("kv_usage_fraction",), False, axes.share),
    _Group("waits", ("queue_s", "prefill_s"), False, axes.duration),
    _Group("step_tokens", ("iteration_tokens",), False, _plain),
    _Group("growth", ("preemptions", "requests_rejected", "requests_failed"), True, _plain),
    _Group("device_busy", ("device_utilization_fraction",), False, axes.share),
    _Group("device_memory", ("device_memory_used_bytes",), False, _bytes),
    _Group("device_power", ("device_power_w",), False, _plain),
)


def blocks(evidence: Evidence) -> list[Block]:
    lines = evidence.observed
    shown: list[Block] = [
        _figure(evidence, group, present)
        for group in _GROUPS
        if (present := [series for series in group.series if _moves(lines.get(series, ()))])
    ]
    shown.append(_table(evidence, lines))
    return shown


def _moves(lines: Sequence[Line]) -> bool:
    """Whether there is anything to draw: a counter that never grew is left to the table."""
    return any(SERIES[line.series].kind is not Kind.COUNTER or line.values.any() for line in lines)


def _figure(evidence: Evidence, group: _Group, present: Sequence[str]) -> Figure:
    words = evidence.words
    chosen: list[Line] = []
    for series in present:
        lines = evidence.observed[series]
        chosen += [total(lines)] if group.summed else lines
    drawn = chosen[:_MOST_LINES]
    traces, kept_points, all_points = [], 0, 0
    for line, colour in zip(drawn, figures.PALETTE * 2, strict=False):
        kept = thin.thin(line.values, _POINTS)
        kept_points += len(kept)
        all_points += len(line.values)
        name = figures.literal(_name(evidence, line))
        hover = f"%{{x:,.1f}} s<br>{name}: %{{y:.4~s}}"
        shape = "hv" if group.summed else "linear"
        traces.append(
            figures.line(name, line.at_s[kept], line.values[kept], colour, hover=hover, shape=shape)
        )
    note = evidence.thinned(kept_points, all_points)
    if len(drawn) < len(chosen):
        note += " " + words("server.lines_note", shown=len(drawn), total=len(chosen))
    return Figure(
        key=f"server-{group.key}",
        title=words(f"server.{group.key}"),
        reading=words("page.list_break").join(_reading(evidence, line) for line in drawn[:3]),
        spec=figures.figure(
            traces,
            axes.Axis(words("axis.run_time"), from_zero=True),
            group.axis(words(f"server.{group.key}_axis")),
            marks=evidence.window_marks(),
        ),
        note=note.strip(),
    )


def _name(evidence: Evidence, line: Line) -> str:
    title = evidence.words(f"series.{line.series}")
    return f"{title} · {line.label}" if line.label else title


def _reading(evidence: Evidence, line: Line) -> str:
    write = _writer(evidence, line.series)
    if SERIES[line.series].kind is Kind.COUNTER:
        return evidence.words(
            "server.reading_counter",
            name=_name(evidence, line),
            grown=write(float(line.values[-1])),
        )
    return evidence.words(
        "server.reading_gauge",
        name=_name(evidence, line),
        mean=write(float(line.values.mean())),
        max=write(float(line.values.max())),
    )


def _writer(evidence: Evidence, series: str) -> Callable[[float], str]:
    unit = SERIES[series].unit
    if unit in _COUNTED:
        return _COUNTED[unit]
    return lambda value: quantity(evidence.words, value, unit)


def _table(evidence: Evidence, lines: Mapping[str, Sequence[Line]]) -> Table:
    words = evidence.words
    rows = []
    for series in sorted(lines.keys() - _UNLISTED):
        write = _writer(evidence, series)
        counts = SERIES[series].kind is Kind.COUNTER
        for line in lines[series][:_MOST_LINES]:
            values = line.values
            extremes = (values.min(), values.mean(), values.max())
            rows.append(
                (
                    Cell(words(f"series.{series}"), note=series),
                    Cell(line.source),
                    Cell(line.label or DASH),
                    *(Cell(DASH if counts else write(float(value))) for value in extremes),
                    Cell(write(float(values[-1])) if counts else DASH),
                )
            )
    columns = [
        Column(words("server.series")),
        Column(words("server.source"), "code"),
        Column(words("server.labels"), "code"),
        *(Column(words(f"column.{name}"), "number") for name in ("min", "mean", "max")),
        Column(words("server.grown"), "number"),
    ]
    return Table(words("server.table"), columns, rows, folded=True)
