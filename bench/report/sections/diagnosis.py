"""Rules of diagnosis: which fired, on what evidence, and which could not be held (§5.7.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.blocks import Block, Cell, Column, Note, Table
from bench.report.changes import quantity
from bench.report.evidence import Evidence
from bench.report.numbers import DASH, bound

_SYMBOLS = {"fires": "✗", "clear": "✓", "unknown": "?"}
_TONES = {"fires": "fail", "clear": "pass", "unknown": "undecided"}


def blocks(evidence: Evidence) -> list[Block]:
    words, rules = evidence.words, evidence.summary["diagnosis"]
    fired = [rule for rule in rules if rule["result"] == "fires"]
    unknown = sum(rule["result"] == "unknown" for rule in rules)
    key = "diagnosis.fired" if fired else "diagnosis.none"
    sentence = words(key, n=len(fired), all=len(rules))
    if unknown:
        sentence += words("page.sentence_break") + words("diagnosis.unknown", n=unknown)
    shown: list[Block] = [Note(sentence)]
    if fired:
        shown.append(_fired(evidence, fired))
    return [*shown, _all(evidence, rules)]


def _fired(evidence: Evidence, fired: list[Mapping[str, Any]]) -> Table:
    words = evidence.words
    rows = [
        (
            Cell(evidence.own(rule["symptom"])),
            Cell(_observed(evidence, rule)),
            Cell(evidence.own(rule["cause"])),
            Cell(evidence.own(rule["next_step"])),
            Cell(rule["source"]),
        )
        for rule in fired
    ]
    heads = ("symptom", "evidence", "cause", "next_step")
    columns = [Column(words(f"diagnosis.{head}"), "long") for head in heads]
    return Table(
        words("diagnosis.table"), [*columns, Column(words("limits.source"))], rows, key="diagnosis"
    )


def _all(evidence: Evidence, rules: list[Mapping[str, Any]]) -> Table:
    words = evidence.words
    rows = []
    for rule in rules:
        result = rule["result"]
        rows.append(
            (
                Cell(evidence.own(rule["symptom"]), note=rule["rule"]),
                Cell(f"{_SYMBOLS[result]} {words(f'diagnosis.{result}')}", tone=_TONES[result]),
                Cell(_observed(evidence, rule)),
                Cell(_missing(evidence, rule)),
            )
        )
    columns = [
        Column(words("diagnosis.symptom"), "long"),
        Column(words("limits.result")),
        Column(words("diagnosis.evidence"), "long"),
        Column(words("diagnosis.missing"), "long"),
    ]
    return Table(words("diagnosis.all"), columns, rows, folded=True)


def _observed(evidence: Evidence, rule: Mapping[str, Any]) -> str:
    """`TTFT P99 812 ms (≥ 500 ms)` of every condition whose value is known."""
    seen = [each for each in rule["evidence"] if each["value"] is not None]
    found = (_condition(evidence, each) for each in seen)
    return evidence.words("page.list_break").join(found) or DASH


def _condition(evidence: Evidence, each: Mapping[str, Any]) -> str:
    value, threshold = (
        quantity(evidence.words, each[key], each["unit"]) for key in ("value", "threshold")
    )
    title = evidence.own(each["title"])
    return evidence.words(
        "diagnosis.condition",
        title=title,
        value=value,
        threshold=bound(each["direction"], threshold),
    )


def _missing(evidence: Evidence, rule: Mapping[str, Any]) -> str:
    absent = [evidence.own(each["title"]) for each in rule["evidence"] if each["value"] is None]
    return evidence.words("page.list_break").join(absent)
