"""What failed: by class, over time, with samples (metric system §5)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.report import axes, figures
from bench.report.blocks import Block, Cell, Column, Figure, Note, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import clock, count, percent

_SAMPLE_CHARACTERS = 300
_INTERVALS = 60
_FEW = 6  # counts up to here get a tick each


def blocks(evidence: Evidence) -> list[Block]:
    words = evidence.words
    failed = evidence.requests[evidence.requests["outcome"] == "failed"]
    if failed.empty:
        return [Note(words("errors.none", n=count(len(evidence.requests))), tone="pass")]
    classes = failed["error_class"].astype(object).fillna(words("errors.unclassified"))
    order = classes.value_counts().index.tolist()
    return [
        _by_class(evidence, failed, classes, order),
        _over_time(evidence, failed, classes, order),
    ]


def _by_class(
    evidence: Evidence, failed: pd.DataFrame, classes: pd.Series, order: list[str]
) -> Table:
    words = evidence.words
    rows = []
    for name in order:
        of_class = failed[classes == name]
        texts = of_class["error_text"].dropna()
        statuses = sorted({str(int(s)) for s in of_class["status"].dropna()})
        times = evidence.ended_s(of_class).dropna()
        rows.append(
            (
                Cell(name),
                Cell(count(len(of_class))),
                Cell(percent(len(of_class) / len(evidence.requests))),
                Cell(", ".join(statuses)) if statuses else absent(words("absent.no_status")),
                Cell(clock(times.min())) if len(times) else absent(words("absent.never_sent")),
                Cell(clock(times.max())) if len(times) else absent(words("absent.never_sent")),
                Cell(_cut(str(texts.iloc[0]))) if len(texts) else absent(words("absent.no_text")),
            )
        )
    columns = [
        Column(words("errors.class"), "code"),
        Column(words("column.requests"), "number"),
        Column(words("column.share"), "number"),
        Column(words("errors.status")),
        Column(words("errors.first"), "number"),
        Column(words("errors.last"), "number"),
        Column(words("errors.sample"), "long"),
    ]
    return Table(words("errors.by_class"), columns, rows)


def _over_time(
    evidence: Evidence, failed: pd.DataFrame, classes: pd.Series, order: list[str]
) -> Figure:
    words = evidence.words
    ended = evidence.ended_s(failed).to_numpy()
    step = evidence.interval_s(_INTERVALS)
    edges = np.arange(0, evidence.duration_s + step, step)
    centres = ((edges[:-1] + edges[1:]) / 2).tolist()
    traces = []
    totals = np.zeros(len(edges) - 1)
    for name, colour in zip(order, figures.PALETTE * len(order), strict=False):
        counts, _ = np.histogram(ended[(classes == name).to_numpy()], edges)
        totals += counts
        hover = f"%{{x:,.0f}} s<br>{figures.literal(name)}: %{{y:,}}"
        traces.append(figures.bars(figures.literal(name), centres, counts, colour, hover=hover))
    worst = int(np.argmax(totals))
    return Figure(
        key="errors-over-time",
        title=words("errors.over_time"),
        reading=words(
            "errors.reading",
            n=count(len(failed)),
            share=percent(len(failed) / len(evidence.requests)),
            top=order[0],
            worst=count(totals[worst]),
            start=clock(edges[worst]),
            end=clock(edges[worst + 1]),
        ),
        spec=figures.figure(
            traces,
            axes.Axis(words("axis.run_time"), from_zero=True),
            axes.Axis(
                words("axis.failed_per", interval=clock(step)),
                from_zero=True,
                step=1 if totals[worst] <= _FEW else None,
            ),
            stacked=True,
        ),
        wide=True,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SAMPLE_CHARACTERS else f"{text[:_SAMPLE_CHARACTERS]}…"
