"""Resources and what a token costs, beside the ideal ranges (metric system §6)."""

from __future__ import annotations

from bench.judge.hosts import HOSTS
from bench.judge.metric import Metric
from bench.judge.resources import RESOURCES
from bench.report.blocks import Block, Cell, Column, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import count, percent, span


def blocks(evidence: Evidence) -> list[Block]:
    words = evidence.words
    columns = [
        Column(words("column.metric")),
        Column(words("column.value"), "number"),
        Column(words("resources.ideal"), "number", words("resources.ideal_note")),
        Column(words("resources.place")),
        Column(words("column.n"), "number", words("resources.n_note")),
        Column(words("limits.source")),
    ]
    rows = [_row(evidence, metric) for metric in (*RESOURCES, *HOSTS)]
    return [Table(words("resources.table"), columns, rows)]


def _row(evidence: Evidence, metric: Metric) -> list[Cell]:
    entry = evidence.summary["metrics"][metric.name]
    value, reason = entry["value"], evidence.why_unknown(metric.name)
    return [
        Cell(evidence.title(metric.name), note=evidence.definition(metric.name)),
        evidence.cell(metric.name, value, reason),
        _ideal(evidence, metric),
        _place(evidence, metric, value, reason),
        Cell(count(entry["n"])),
        Cell(metric.source),
    ]


def _ideal(evidence: Evidence, metric: Metric) -> Cell:
    if metric.ideal is None:
        return absent(evidence.words("resources.no_ideal"))
    return Cell(span(*(percent(end) for end in metric.ideal)))


def _place(evidence: Evidence, metric: Metric, value: float | None, reason: str) -> Cell:
    """Where the value lies beside the ideal range; a hint and no verdict, so without a tone."""
    words = evidence.words
    if metric.ideal is None:
        return absent(words("resources.no_ideal"))
    if value is None:
        return absent(reason)
    low, high = metric.ideal
    place = "below" if value < low else "above" if value > high else "within"
    return Cell(words(f"resources.{place}"))
