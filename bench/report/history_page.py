"""The page of all nights: the last one, every metric's trend, and the nights that changed it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.judge.compare_documents import SYMBOLS
from bench.judge.metrics import METRICS
from bench.report import axes, figures
from bench.report.blocks import Block, Cell, Column, Figure, Note, Section, Table
from bench.report.changes import TONES, change_of, metric_name, own, quantity, result_cell
from bench.report.compare_page import because, cards, change_section
from bench.report.history_nights import Night, night_date, nights_section
from bench.report.numbers import count, span
from bench.report.page import assemble, write_page
from bench.report.sections.band import Band
from bench.report.thin import Floats
from bench.report.words import Words

_MOST_TICKS = 6
_FEWEST_ROUNDS = 2
_COLOURS = {"worse": "@vermilion", "better": "@green"}
_SIGNS = {"worse": "x", "better": "diamond"}


class LevelChange(Protocol):
    """`bench.nightly.series.LevelChange`."""

    @property
    def night(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def before(self) -> float: ...
    @property
    def after(self) -> float: ...
    @property
    def shown(self) -> str: ...


class Compared(Protocol):
    @property
    def metric(self) -> str: ...
    @property
    def statistic(self) -> str: ...


class Series(Protocol):
    """`bench.nightly.series.Series`."""

    @property
    def key(self) -> str: ...
    @property
    def compared(self) -> Compared: ...
    @property
    def nights(self) -> tuple[str, ...]: ...
    @property
    def values(self) -> tuple[float, ...]: ...
    @property
    def rounds(self) -> tuple[tuple[float, ...], ...]: ...
    @property
    def results(self) -> tuple[str, ...]: ...
    @property
    def changes(self) -> Sequence[LevelChange]: ...


def write_history_page(
    name: str, nights: Sequence[Night], series: Sequence[Series], path: Path, *, language: str
) -> Path:
    """Write the page of a series of nights, the oldest first and at least one, to `path`.

    Reports of rounds that lie in `runs/` beside it are linked, relative to it.
    """
    words, last = Words(language), nights[-1]
    sections = [
        _trends(words, series),
        change_section(words, last.change),
        _levels(words, series),
        _floors(words, last),
        nights_section(words, nights, path.parent),
    ]
    return write_page(assemble(words, _band(words, name, nights), sections), path)


def _band(words: Words, name: str, nights: Sequence[Night]) -> Band:
    last = nights[-1]
    facts = (
        (words("history.night"), f"{night_date(last.id)} {last.label}".strip()),
        (words("band.server"), last.server),
        (words("history.nights"), count(len(nights))),
        (
            words("history.held_against"),
            " ".join(own(words, text) for text in last.change["notes"]),
        ),
    )
    return Band(
        title=name,
        tone=TONES[last.verdict],
        symbol=SYMBOLS[last.verdict],
        verdict_word=words(f"change.verdict_{last.verdict}"),
        because=_because(words, last),
        cards=cards(words, last.change),
        facts=tuple((title, fact) for title, fact in facts if fact),
        kind="history.kind",
    )


def _because(words: Words, last: Night) -> str:
    valid = sum(each.valid for each in last.rounds)
    if valid < _FEWEST_ROUNDS:
        return words("history.few_rounds", n=count(valid), all=count(len(last.rounds)))
    return because(words, last.change)


def _trends(words: Words, series: Sequence[Series]) -> Section:
    """One small figure for each metric."""
    blocks: list[Block] = [_trend(words, each) for each in series]
    if not blocks:
        blocks = [Note(words("history.no_values"), tone="absent")]
    return Section("trends", words("history.trends"), words("history.trends_lead"), tuple(blocks))


def _trend(words: Words, series: Series) -> Figure:
    metric = METRICS[series.compared.metric]
    row = {
        "metric": metric.name,
        "statistic": series.compared.statistic,
        "title": metric.title.as_json(),
    }
    at = np.arange(len(series.nights), dtype=np.float64)
    values = np.array(series.values)
    told = [
        f"{night_date(night)}: {quantity(words, value, metric.unit)}"
        for night, value in zip(series.nights, series.values, strict=True)
    ]
    name = metric_name(words, row)
    line = figures.line(words("history.night_mean"), at, values, "@blue", hover="%{text}")
    traces = [_rounds(words, series), {**line, "text": told}, *_marked(words, series, told)]
    marks = [
        figures.Mark(series.nights.index(change.night) - 0.5, change.shown, colour="@purple")
        for change in series.changes
    ]
    step = -(-len(at) // _MOST_TICKS)
    dates = [night_date(night) for night in series.nights]
    told_to = len("01-02") if len({date[:10] for date in dates}) == len(dates) else None
    ticks = tuple((float(k), dates[k][5:][:told_to]) for k in range(0, len(at), step))
    return Figure(
        key=f"trend-{series.key.replace(' ', '-')}",
        title=name,
        reading=_trend_reading(words, series, metric.unit),
        spec=figures.figure(
            traces,
            axes.Axis(words("history.night"), ticks=ticks),
            _scale(name, metric.unit, values),
            marks=marks,
            height=240,
        ),
        table=_trend_table(words, name, series, metric.unit),
    )


def _scale(name: str, unit: str, values: Floats) -> axes.Axis:
    """The axis of a metric's values, by its unit."""
    if unit == "s":
        return axes.duration(name, values)
    if unit == "fraction":
        return axes.Axis(name, format=".2~%", from_zero=True)
    return axes.Axis(name, format="~s")


def _rounds(words: Words, series: Series) -> figures.Trace:
    """Every single round, behind the line of the nights."""
    at = [float(k) for k, rounds in enumerate(series.rounds) for _ in rounds]
    values = [value for rounds in series.rounds for value in rounds]
    return figures.points(words("history.rounds"), at, values, "@grey", hover="%{y:.4~s}", size=4)


def _marked(words: Words, series: Series, told: Sequence[str]) -> list[figures.Trace]:
    """The nights that were worse or better than their baseline."""
    traces = []
    for result, colour in _COLOURS.items():
        chosen = [k for k, found in enumerate(series.results) if found == result]
        if chosen:
            traces.append(
                figures.points(
                    words(f"change.{result}"),
                    [float(k) for k in chosen],
                    [series.values[k] for k in chosen],
                    colour,
                    hover="%{text}",
                    symbol=_SIGNS[result],
                    size=9,
                    text=[told[k] for k in chosen],
                )
            )
    return traces


def _trend_reading(words: Words, series: Series, unit: str) -> str:
    last = quantity(words, series.values[-1], unit)
    if not series.changes:
        return words("history.reading_level", n=count(len(series.values)), last=last)
    change = series.changes[-1]
    night = f"{night_date(change.night)} {change.label}".strip()
    return words("history.reading_change", last=last, night=night, change=change.shown)


def _trend_table(words: Words, name: str, series: Series, unit: str) -> Table:
    columns = [
        Column(words("history.night")),
        Column(words("column.value"), "number"),
        Column(words("history.range"), "number"),
        Column(words("limits.result")),
    ]
    rows = [
        (
            Cell(night_date(night)),
            Cell(quantity(words, value, unit)),
            Cell(span(*(quantity(words, edge, unit) for edge in (min(rounds), max(rounds))))),
            result_cell(words, result),
        )
        for night, value, rounds, result in zip(
            series.nights, series.values, series.rounds, series.results, strict=True
        )
    ]
    return Table(name, columns, rows)


def _levels(words: Words, series: Sequence[Series]) -> Section:
    """Which night changed which metric."""
    found = [(each, change) for each in series for change in each.changes]
    found.sort(key=lambda pair: pair[1].night, reverse=True)
    blocks: list[Block] = [Note(words("history.no_levels"), tone="absent")]
    if found:
        columns = [
            Column(words("history.night")),
            Column(words("column.metric")),
            Column(words("compare.change"), "number"),
            Column(words("history.before"), "number"),
            Column(words("history.after"), "number"),
        ]
        blocks = [Table(words("history.levels"), columns, [_level(words, *each) for each in found])]
    return Section("levels", words("history.levels"), words("history.levels_lead"), tuple(blocks))


def _level(words: Words, series: Series, change: LevelChange) -> list[Cell]:
    metric = METRICS[series.compared.metric]
    row = {
        "metric": metric.name,
        "statistic": series.compared.statistic,
        "title": metric.title.as_json(),
    }
    worse = (change.after > change.before) == (metric.direction == "lower")
    return [
        Cell(f"{night_date(change.night)} {change.label}".strip()),
        Cell(metric_name(words, row)),
        Cell(change.shown, tone="fail" if worse else "pass"),
        Cell(quantity(words, change.before, metric.unit)),
        Cell(quantity(words, change.after, metric.unit)),
    ]


def _floors(words: Words, last: Night) -> Section:
    """By how much nights differ by chance."""
    columns = [
        Column(words("column.metric")),
        Column(words("history.floor"), "number", words("history.floor_note")),
        Column(words("history.learnt"), "number"),
        Column(words("compare.minimum"), "number", words("compare.minimum_note")),
    ]
    rows = []
    for row in last.change["metrics"]:
        floor = last.change["noise_floor"][f"{row['metric']} {row['statistic']}"]
        rows.append(
            (
                Cell(metric_name(words, row)),
                Cell(change_of(words, floor["error"], row["scale"]).removeprefix("+")),
                Cell(count(floor["differences"])),
                Cell(change_of(words, row["minimum_effect"], row["scale"]).removeprefix("+")),
            )
        )
    table = Table(words("history.floors"), columns, rows)
    return Section("floors", words("history.floors"), words("history.floors_lead"), (table,))
