"""Each limit of the profile with what it was judged on (metric system §9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.blocks import Block, Cell, Column, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import count, percent, unknown
from bench.report.sections.band import SYMBOLS


def blocks(evidence: Evidence) -> list[Block]:
    words = evidence.words
    columns = [
        Column(words("column.metric")),
        Column(words("limits.result")),
        Column(words("limits.limit"), "number"),
        Column(words("column.value"), "number"),
        Column(evidence.interval_title, "number"),
        Column(words("column.n"), "number", words("limits.n_note")),
        Column(words("limits.margin"), "number", words("limits.margin_note")),
        Column(words("limits.source")),
        Column(words("limits.advice"), "long"),
    ]
    rows = [_row(evidence, limit) for limit in evidence.limits]
    shown: list[Block] = [Table(words("limits.table"), columns, rows)]
    if evidence.verdict["references"]:
        shown.append(_references(evidence))
    return shown


def _row(evidence: Evidence, limit: Mapping[str, Any]) -> list[Cell]:
    words, metric, result = evidence.words, limit["metric"], limit["result"]
    name, bound = evidence.limit_name(limit), evidence.bound(limit)
    if limit["level"] != "target":
        bound = words("limits.of_level", bound=bound, level=words(f"limits.level_{limit['level']}"))
    infinite = words("absent.infinite") if "value" in limit["infinite"] else ""
    reason = infinite or evidence.own(limit["advice"]) or words("absent.no_value")
    return [
        Cell(name, note=evidence.definition(metric)),
        Cell(f"{SYMBOLS[result]} {words(f'result.{result}')}", tone=result),
        Cell(bound),
        Cell("∞", note=infinite) if infinite else evidence.cell(metric, limit["value"], reason),
        _interval(evidence, limit, infinite or words("absent.no_interval")),
        Cell(count(limit["n"])),
        _margin(evidence, limit, reason),
        Cell(limit["source"] or words("limits.no_source")),
        Cell(evidence.own(limit["advice"]) or evidence.own(limit["note"])),
    ]


def _interval(evidence: Evidence, limit: Mapping[str, Any], reason: str) -> Cell:
    text = evidence.interval(limit)
    return Cell(text) if text else absent(reason)


def _margin(evidence: Evidence, limit: Mapping[str, Any], reason: str) -> Cell:
    value, bound = limit["value"], limit["bound"]
    if unknown(value) or not bound:
        return absent(reason)
    margin = (bound - value) / abs(bound)
    if limit["direction"] == "higher":
        margin = -margin
    text = percent(margin)
    return Cell(text if margin < 0 else f"+{text}")


def _references(evidence: Evidence) -> Table:
    words = evidence.words
    rows = [
        (
            Cell(evidence.own(reference["title"])),
            Cell(evidence.title(reference["metric"])),
            evidence.cell(reference["metric"], reference["value"], words("absent.no_value")),
            Cell(reference["source"]),
        )
        for reference in evidence.verdict["references"]
    ]
    columns = [
        Column(words("limits.reference")),
        Column(words("column.metric")),
        Column(words("column.value"), "number"),
        Column(words("limits.source")),
    ]
    return Table(words("limits.references"), columns, rows)
