"""How many requests met each limit of the good set, and which limit costs most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.judge.goodput import within
from bench.judge.metric import Column as MetricColumn
from bench.judge.profile import GoodLimit
from bench.report import axes, figures
from bench.report.blocks import Block, Cell, Column, Figure, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import count, percent, span, unknown


def blocks(evidence: Evidence) -> list[Block]:
    *alone, joint = evidence.summary["slo_attainment"]
    only = _missed_alone(evidence, alone)
    return [_figure(evidence, alone, joint, only), _table(evidence, alone, joint, only)]


def _missed_alone(evidence: Evidence, limits: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each limit: judged requests that ended well and miss it and no other."""
    frame, judgement = evidence.requests, evidence.judgement
    missed = np.zeros((len(limits), len(frame)), np.bool_)
    for row, limit in zip(missed, limits, strict=True):
        metric = limit["metric"]
        values = MetricColumn(
            frame[metric].to_numpy(np.float64), judgement.not_applicable.get(metric)
        )
        met, undecided = within(values, GoodLimit(metric=metric, bound=limit["bound"]))
        row[:] = ~met & ~undecided & evidence.judged_ok
    alone = missed.sum(axis=0) == 1
    return [int((row & alone).sum()) for row in missed]


def _name(evidence: Evidence, limit: Mapping[str, Any]) -> str:
    metric = limit["metric"]
    if metric is None:
        return evidence.words("goodput.joint")
    return f"{evidence.short(metric)} {evidence.bound_of(metric, limit['bound'])}"


def _figure(
    evidence: Evidence,
    alone: Sequence[Mapping[str, Any]],
    joint: Mapping[str, Any],
    only: Sequence[int],
) -> Figure:
    words = evidence.words
    rows = [joint, *reversed(alone)]
    bars = figures.bars(
        words("goodput.met"),
        [figures.literal(_name(evidence, row)) for row in rows],
        [row["value"] for row in rows],
        ["@green", *["@blue"] * len(alone)],
        hover="%{y}: %{x:.3%}",
        across=True,
    )
    worst = int(np.argmax(only))
    key = "goodput.reading" if only[worst] else "goodput.reading_all"
    return Figure(
        key="attainment",
        title=words("goodput.attainment"),
        reading=words(
            key,
            share=percent(joint["value"]),
            worst=_name(evidence, alone[worst]),
            only=count(only[worst]),
        ),
        spec=figures.figure(
            [bars],
            axes.share(words("axis.share_met")),
            axes.Axis(""),
            height=110 + 34 * len(rows),
        ),
        wide=True,
    )


def _table(
    evidence: Evidence,
    alone: Sequence[Mapping[str, Any]],
    joint: Mapping[str, Any],
    only: Sequence[int],
) -> Table:
    words = evidence.words
    reason = absent(words("absent.no_interval"))
    rows = []
    for row, cost in zip([*alone, joint], [*only, None], strict=True):
        known = not unknown(row["low"]) and not unknown(row["high"])
        rows.append(
            (
                Cell(_name(evidence, row)),
                evidence.cell("goodput_fraction", row["value"], words("absent.no_value")),
                Cell(span(percent(row["low"]), percent(row["high"]))) if known else reason,
                Cell(count(row["n"])),
                absent(words("absent.joint")) if cost is None else Cell(count(cost)),
            )
        )
    columns = [
        Column(words("goodput.limit")),
        Column(words("goodput.met"), "number"),
        Column(evidence.interval_title, "number"),
        Column(words("column.n"), "number"),
        Column(words("goodput.only"), "number", words("goodput.only_note")),
    ]
    return Table(words("goodput.attainment"), columns, rows)
