"""Whether the run can be trusted, rule by rule (metric system §10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.blocks import Block, Cell, Column, Note, Table, absent
from bench.report.changes import quantity
from bench.report.evidence import Evidence
from bench.report.numbers import bound

TONES = {"ok": "pass", "violated": "fail", "unknown": "undecided", "waived": "none"}
_SYMBOLS = {"ok": "✓", "violated": "✗", "unknown": "?", "waived": "·"}


def blocks(evidence: Evidence) -> list[Block]:
    words, rules = evidence.words, evidence.verdict["validity"]
    valid = evidence.verdict["valid"]
    broken = sum(rule["result"] == "violated" for rule in rules)
    unknown = sum(rule["result"] == "unknown" for rule in rules)
    sentence = words("validity.valid" if valid else "validity.not_valid", n=broken, all=len(rules))
    if unknown:
        sentence += words("page.sentence_break") + words("validity.unknown", n=unknown)
    columns = [
        Column(words("validity.rule")),
        Column(words("limits.result")),
        Column(words("validity.measured"), "number"),
        Column(words("validity.allowed"), "number"),
        Column(words("limits.advice"), "long"),
    ]
    rows = [_row(evidence, rule) for rule in rules]
    tone = "pass" if valid else "invalid"
    return [Note(sentence, tone=tone), Table(words("validity.table"), columns, rows)]


def _row(evidence: Evidence, rule: Mapping[str, Any]) -> list[Cell]:
    words, result = evidence.words, rule["result"]
    measured = absent(words("absent.no_input"))
    if rule["value"] is not None:
        measured = Cell(quantity(words, rule["value"], rule["unit"]))
    limit = quantity(words, rule["limit"], rule["unit"])
    return [
        Cell(evidence.own(rule["title"]), note=rule["rule"]),
        Cell(f"{_SYMBOLS[result]} {words(f'result.{result}')}", tone=TONES[result]),
        measured,
        Cell(bound(rule["direction"], limit)),
        Cell(evidence.own(rule["advice"])),
    ]
