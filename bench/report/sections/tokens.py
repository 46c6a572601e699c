"""Tokens as they arrived: gaps, rate over time, and the slowest requests mark by mark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.report import axes, figures, thin
from bench.report.blocks import Block, Cell, Column, Figure, Note, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import count, seconds, significant
from bench.report.sections.latency import histogram, sliding_mean

_MARKS = 150
_SECONDS = 1200
_SEGMENTS = (
    ("lag", "intended_s", "sent_s", "@grey"),
    ("prefill", "sent_s", "first_s", "@blue"),
    ("decode", "first_s", "last_s", "@sky"),
)


def blocks(evidence: Evidence) -> list[Block]:
    shown: list[Block] = []
    itl_s = evidence.itl_s
    if len(itl_s):
        shown.append(histogram(evidence, "itl_s", itl_s, "@purple"))
    else:
        shown.append(Note(evidence.words("absent.no_gaps"), tone="absent"))
    shown.append(_rate(evidence))
    if len(evidence.slowest):
        shown.append(_timeline(evidence))
    return shown


def _rate(evidence: Evidence) -> Figure:
    words = evidence.words
    at, rate = evidence.per_second("output_tokens")
    start, end = evidence.window
    inside = rate[(at >= start) & (at < end)]
    value = evidence.scalar("output_tps")
    title, unit = words("tokens.rate"), words("unit.tokens/s")
    x, y = evidence.second_steps(rate, _SECONDS)
    hover = f"%{{x:,.0f}} s<br>%{{y:,.4~r}} {unit}"
    return Figure(
        key="token-rate",
        title=title,
        reading=words(
            "tokens.reading_rate",
            value=evidence.show("output_tps", value),
            low=significant(float(inside.min())) if len(inside) else "—",
            high=significant(float(inside.max())) if len(inside) else "—",
        ),
        spec=figures.figure(
            [
                figures.line(title, x, y, "@blue", hover=hover, shape="hv", fill=True),
                *sliding_mean(evidence, "output_tokens_mean_5min"),
            ],
            axes.Axis(words("axis.run_time"), from_zero=True),
            axes.Axis(words("axis.tokens_per_s"), format=",", from_zero=True),
            marks=evidence.window_marks(),
        ),
        table=evidence.series_table(title, {words("axis.tokens_per_s"): rate}),
        note=evidence.thinned(len(x) - 1, len(rate)),
    )


def _timeline(evidence: Evidence) -> Figure:
    words = evidence.words
    slowest = evidence.slowest
    origin = slowest["intended_s"].to_numpy()
    labels = [f"#{index}" for index in slowest["index"]]
    rows = np.arange(len(slowest), dtype=np.float64)
    traces = []
    for name, begin, finish, colour in _SEGMENTS:
        starts = slowest[begin].to_numpy() - origin
        lengths = slowest[finish].to_numpy() - origin - starts
        title = words(f"timeline.{name}")
        hover = f"%{{text}} · {title}: %{{x:.4~s}}s"
        traces.append(figures.spans(title, rows, starts, lengths, labels, colour, hover=hover))
    marks, shown, total = _arrival_marks(evidence, slowest, origin, labels)
    traces.append(marks)
    top = slowest.iloc[0]
    spans = (slowest["last_s"] - slowest["intended_s"]).fillna(slowest["e2e_s"])
    longest = float(spans.max())
    spec = figures.figure(
        traces,
        axes.Axis(words("axis.since_intended"), format="~s", suffix="s", top=1.02 * longest),
        axes.rows(words("axis.request"), labels),
        height=90 + 20 * len(slowest),
    )
    focus = {
        str(index): [row, 0, float(span) * 1.02]
        for row, (index, span) in enumerate(zip(slowest["index"], spans, strict=True))
    }
    return Figure(
        key="timeline",
        title=words("timeline.title", n=len(slowest)),
        reading=words(
            "timeline.reading",
            index=int(top["index"]),
            e2e=seconds(top["e2e_s"]),
            ttft=seconds(top["ttft_s"]) if pd.notna(top["ttft_s"]) else "—",
            tokens=count(top["output_tokens"]) if pd.notna(top["output_tokens"]) else "—",
        ),
        spec={**spec, "rows": focus},
        table=_table(evidence, slowest),
        note=words("timeline.note", shown=count(shown), total=count(total))
        if shown < total
        else "",
        wide=True,
    )


def _arrival_marks(
    evidence: Evidence, slowest: pd.DataFrame, origin: thin.Floats, labels: list[str]
) -> tuple[figures.Trace, int, int]:
    """One mark for each token event; of a long stream those around its least and longest gaps."""
    words = evidence.words
    arrivals = evidence.arrivals(slowest.index.to_numpy())
    x: list[float] = []
    y: list[float] = []
    text: list[str] = []
    total = 0
    for row, (position, label) in enumerate(zip(slowest.index, labels, strict=True)):
        at, tokens = arrivals.get(int(position), (np.array([]), np.array([])))
        gaps = np.diff(at, prepend=at[:1])
        kept = thin.thin(gaps, _MARKS)
        total += len(at)
        x += (at[kept] - origin[row]).tolist()
        y += [row] * len(kept)
        text += [f"{label} · {k + 1}/{len(at)} (+{seconds(gaps[k])}, {tokens[k]})" for k in kept]
    title = words("timeline.arrival")
    trace: dict[str, Any] = figures.points(
        title,
        x,
        y,
        "@mark",
        hover=f"{title} %{{text}}<br>%{{x:.5~s}}s",
        symbol="line-ns-open",
        size=8,
        text=text,
    )
    return trace, len(x), total


def _table(evidence: Evidence, slowest: pd.DataFrame) -> Table:
    words = evidence.words
    unknown = absent(words("absent.not_reached"))
    rows = []
    for _, request in slowest.iterrows():
        durations = [request["schedule_lag_s"], request["ttft_s"], request["e2e_s"]]
        cells = [Cell(seconds(d)) if pd.notna(d) else unknown for d in durations]
        rows.append((Cell(f"#{int(request['index'])}"), *cells))
    columns = [Column(words("axis.request"))]
    columns += [Column(evidence.short(m), "number") for m in ("schedule_lag_s", "ttft_s", "e2e_s")]
    return Table(words("timeline.title", n=len(slowest)), columns, rows)
