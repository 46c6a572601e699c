"""The composite score and what it is made of (metric system §7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.blocks import Block, Cell, Column, Note, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import significant


def blocks(evidence: Evidence) -> list[Block]:
    words, score = evidence.words, evidence.verdict["score"]
    scenario = evidence.own(score["scenario"]["title"])
    if score["value"] is None:
        listed = (f"{evidence.own(m['what'])} ({evidence.own(m['why'])})" for m in score["missing"])
        missing = words("page.list_break").join(listed)
        sentence = words("score.incomplete", scenario=scenario, missing=missing)
    else:
        value = significant(score["value"])
        sentence = words("score.reading", scenario=scenario, value=value)
    return [Note(sentence), _table(evidence, score)]


def _table(evidence: Evidence, score: Mapping[str, Any]) -> Table:
    words = evidence.words
    columns = [
        Column(words("column.metric")),
        Column(words("score.dimension")),
        Column(words("column.value"), "number"),
        Column(words("score.target"), "number", words("score.target_note")),
        Column(words("score.worst"), "number", words("score.worst_note")),
        Column(words("score.points"), "number"),
        Column(words("score.weight"), "number"),
        Column(words("score.coefficient"), "number"),
        Column(words("limits.source")),
    ]
    return Table(words("score.table"), columns, [_row(evidence, row) for row in score["metrics"]])


def _row(evidence: Evidence, row: Mapping[str, Any]) -> list[Cell]:
    words, metric = evidence.words, row["metric"]
    reason = evidence.why_unknown(metric)
    infinite = words("absent.infinite")
    value = evidence.cell(metric, row["value"], reason)
    return [
        Cell(evidence.limit_name(row), note=evidence.definition(metric)),
        Cell(evidence.own(row["dimension"]["title"])),
        Cell("∞", note=infinite) if row["infinite"] else value,
        Cell(evidence.show(metric, row["target"])),
        Cell(evidence.show(metric, row["worst"])),
        absent(reason) if row["points"] is None else Cell(significant(row["points"])),
        Cell(significant(row["weight"])),
        Cell(significant(row["coefficient"])),
        Cell(row["source"]),
    ]
