"""The page of a comparison: what changed, by how much, how sure that is, how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.judge.compare_documents import SYMBOLS
from bench.report import axes, figures
from bench.report.blocks import Block, Cell, Column, Figure, Note, Section, Table, absent
from bench.report.changes import (
    TONES,
    Row,
    change_of,
    interval_of,
    metric_name,
    metric_title,
    own,
    result_cell,
    value_cell,
)
from bench.report.numbers import DASH, count, percent
from bench.report.page import assemble, write_page
from bench.report.sections.band import Band, Card
from bench.report.words import Words

_CARDS = 4
_MOST_EFFECTS = 10  # drawn on either side, so that one wide interval does not flatten the others
_ORDER = ("worse", "undecided", "better", "same", "none")


def write_compare_page(found: Mapping[str, Any], path: Path, *, language: str) -> Path:
    """Write the page of a comparison's JSON (`bench.judge.compare_documents`) to `path`."""
    words = Words(language)
    sections = [change_section(words, found), *_pairs(words, found), _conditions(words, found)]
    return write_page(assemble(words, _band(words, found), sections), path)


def _band(words: Words, found: Mapping[str, Any]) -> Band:
    result = "undecided" if found["invalid"] else found["verdict"]
    return Band(
        title=f"{found['base'][0]} → {found['new'][0]}",
        tone=TONES[result],
        symbol=SYMBOLS[result],
        verdict_word=words(f"change.verdict_{result}"),
        because=because(words, found),
        cards=cards(words, found),
        facts=(
            (words("compare.base"), words("compare.runs", n=count(len(found["base"])))),
            (words("compare.new"), words("compare.runs", n=count(len(found["new"])))),
        ),
        kind="compare.kind",
    )


def because(words: Words, found: Mapping[str, Any]) -> str:
    """One sentence: how many metrics came to the verdict, and the first of them."""
    if found["invalid"]:
        return words("compare.because_invalid", names=", ".join(found["invalid"]))
    rows = [row for row in found["metrics"] if row["result"] == found["verdict"]]
    if not rows or found["verdict"] in ("same", "none"):
        return words(f"compare.because_{found['verdict']}")
    first = max(rows, key=lambda row: abs(row["change"] or 0.0) / row["minimum_effect"])
    change = change_of(words, first["change"], first["scale"])
    named = words("compare.first", metric=metric_name(words, first), change=change)
    return words(f"compare.because_{found['verdict']}", n=len(rows), first=named)


def cards(words: Words, found: Mapping[str, Any]) -> tuple[Card, ...]:
    """The metrics that changed most in units of the least that matters, the worst first."""

    def rank(row: Row) -> tuple[int, float]:
        return _ORDER.index(row["result"]), -abs(row["change"] or 0.0) / row["minimum_effect"]

    chosen = sorted((row for row in found["metrics"] if row["result"] != "none"), key=rank)
    return tuple(
        Card(
            name=metric_title(words, row),
            value=change_of(words, row["change"], row["scale"]),
            limit=words(f"change.{row['result']}"),
            interval=interval_of(words, row) or DASH,
            tone=TONES[row["result"]],
            symbol=SYMBOLS[row["result"]],
        )
        for row in chosen[:_CARDS]
    )


def change_section(words: Words, found: Mapping[str, Any]) -> Section:
    """Every metric compared: the figure of intervals and the table."""
    blocks: list[Block] = [_table(words, found)]
    drawn = [row for row in found["metrics"] if row["low"] is not None and row["high"] is not None]
    if drawn:
        blocks.insert(0, _figure(words, drawn))
    return Section(
        "changes", words("compare.changes"), words("compare.changes_lead"), tuple(blocks)
    )


def _table(words: Words, found: Mapping[str, Any]) -> Table:
    level = percent(found["confidence"])
    columns = [
        Column(words("column.metric")),
        Column(words("limits.result")),
        Column(words("compare.base"), "number"),
        Column(words("compare.new"), "number"),
        Column(words("compare.change"), "number"),
        Column(words("limits.interval", level=level), "number", words("compare.basis_note")),
        Column(words("compare.minimum"), "number", words("compare.minimum_note")),
        Column(words("compare.p"), "number", words("compare.p_note")),
        Column(words("limits.advice"), "long"),
    ]
    rows = [_row(words, row) for row in found["metrics"]]
    return Table(words("compare.table"), columns, rows)


def _row(words: Words, row: Row) -> list[Cell]:
    interval, reason = interval_of(words, row), own(words, row["advice"])
    effect = change_of(words, row["minimum_effect"], row["scale"]).removeprefix("+")
    change = change_of(words, row["change"], row["scale"])
    no_interval = absent(reason or words("absent.no_interval"))
    p = row["p_adjusted"]
    return [
        Cell(metric_name(words, row), note=own(words, row["title"])),
        result_cell(words, row["result"]),
        value_cell(words, row, "base"),
        value_cell(words, row, "new"),
        Cell(change) if row["change"] is not None else no_interval,
        Cell(interval, note=words(f"compare.basis_{row['basis']}")) if interval else no_interval,
        Cell(effect),
        no_interval if p is None else Cell("< 0.001" if p < 0.001 else f"{p:.3f}"),
        Cell(reason),
    ]


def _figure(words: Words, rows: Sequence[Row]) -> Figure:
    """Changes in units of the minimum effect, worse to the right, so that one axis serves all."""

    def placed(row: Row, name: str) -> float:
        sign = 1 if row["direction"] == "lower" else -1
        return sign * float(row[name]) / float(row["minimum_effect"])

    names = [metric_name(words, row) for row in rows]
    at = np.arange(len(rows), dtype=np.float64)
    ends = np.sort([[placed(row, "low"), placed(row, "high")] for row in rows], axis=1)
    beyond = bool((np.abs(ends) > _MOST_EFFECTS).any())
    ends = np.clip(ends, -_MOST_EFFECTS, _MOST_EFFECTS)
    told = [
        f"{change_of(words, row['change'], row['scale'])} ({interval_of(words, row)})"
        for row in rows
    ]
    hover = "%{text}"
    estimates = np.clip([placed(row, "change") for row in rows], -_MOST_EFFECTS, _MOST_EFFECTS)
    spans = figures.spans(
        words("compare.interval"), at, ends[:, 0], ends[:, 1] - ends[:, 0], told, "@sky",
        hover=hover,
    )  # fmt: skip
    points = figures.points(
        words("compare.estimate"), estimates, at, "@blue", hover=hover, size=8, text=told
    )
    marks = [
        figures.Mark(-1, "", colour="@green"),
        figures.Mark(0, "", colour="@grey", dash="dot"),
        figures.Mark(1, ""),
    ]
    worse = sum(row["result"] == "worse" for row in rows)
    better = sum(row["result"] == "better" for row in rows)
    return Figure(
        key="changes",
        title=words("compare.figure"),
        reading=words("compare.reading", worse=worse, better=better, all=len(rows)),
        spec=figures.figure(
            [spans, points],
            axes.Axis(words("compare.axis")),
            axes.rows("", names),
            marks=marks,
            height=90 + 34 * len(rows),
        ),
        note=words("compare.beyond", most=_MOST_EFFECTS) if beyond else "",
        wide=True,
    )


def _pairs(words: Words, found: Mapping[str, Any]) -> list[Section]:
    """The same requests on both sides; no section where the plans differ."""
    if not found["pairs"]:
        return []
    columns = [
        Column(words("column.metric")),
        Column(words("compare.pairs_n"), "number"),
        Column(words("compare.pairs_change"), "number"),
        Column(words("limits.interval", level=percent(found["confidence"])), "number"),
        Column(words("compare.pairs_slower"), "number"),
    ]
    rows = [
        (
            Cell(words(f"short.{pair['metric']}")),
            Cell(count(pair["n"])),
            Cell(change_of(words, pair["change"], "relative")),
            Cell(interval_of(words, {**pair, "scale": "relative"})),
            Cell(percent(pair["slower_fraction"])),
        )
        for pair in found["pairs"]
    ]
    table = Table(words("compare.pairs"), columns, rows)
    return [Section("pairs", words("compare.pairs"), words("compare.pairs_lead"), (table,))]


def _conditions(words: Words, found: Mapping[str, Any]) -> Section:
    """Which runs, what differs between them, and what the reader has to know."""
    rows = [
        (Cell(words(f"compare.{side}")), Cell(name))
        for side in ("base", "new")
        for name in found[side]
    ]
    columns = [Column(words("compare.side")), Column(words("compare.run"), "code")]
    blocks: list[Block] = [Note(own(words, text)) for text in found["notes"]]
    blocks += [
        Note(
            words(
                "compare.unlike",
                what=own(words, each["title"]),
                values=" / ".join(each["values"]),
            ),
            tone="undecided",
        )
        for each in found["unlike"]
    ]
    blocks.append(Table(words("compare.table_runs"), columns, rows))
    title, lead = words("compare.conditions"), words("compare.conditions_lead")
    return Section("conditions", title, lead, tuple(blocks))
