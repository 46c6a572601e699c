"""What the pages of changes share: a row of a comparison's JSON in one language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.judge.compare_documents import SYMBOLS, percentage
from bench.judge.profile import quantile_of
from bench.report import numbers
from bench.report.blocks import Cell, absent
from bench.report.numbers import DASH, significant, with_unit
from bench.report.words import Words

TONES: Mapping[str, str] = {
    "worse": "fail",
    "better": "pass",
    "same": "pass",
    "undecided": "undecided",
    "none": "none",
}

_WRITTEN: Mapping[str, Callable[[float], str]] = {
    "s": numbers.seconds,
    "fraction": numbers.percent,
    "bytes": numbers.bytes_of,
    "bytes/s": lambda value: f"{numbers.bytes_of(value)}/s",
    "B/s": lambda value: with_unit(significant(value / 1e9), "GB/s"),
    "bit/s": lambda value: with_unit(significant(value / 1e9), "Gbit/s"),
}

Row = Mapping[str, Any]


def own(words: Words, text: Mapping[str, str] | None) -> str:
    """Of words that the judge gives in both languages, this page's; empty for none."""
    return text[words.language] if text else ""


def metric_title(words: Words, row: Row) -> str:
    """`Time to first token (TTFT), P99`, for who knows no short names."""
    title, q = own(words, row["title"]), quantile_of(row["statistic"])
    statistic = words(f"statistic.{row['statistic']}") if q is None else f"P{100 * q:g}"
    return words("statistic.title", metric=title, statistic=statistic) if statistic else title


def metric_name(words: Words, row: Row) -> str:
    """`P99 TTFT`, or the metric's title where it has one value."""
    short = f"short.{row['metric']}"
    name = words(short) if words.known(short) else own(words, row["title"])
    q = quantile_of(row["statistic"])
    if q is not None:
        return words("statistic.name", statistic=f"P{100 * q:g}", metric=name)
    if row["statistic"] == "value":
        return name
    statistic = words(f"statistic.{row['statistic']}")
    return words("statistic.name", statistic=statistic, metric=name)


def quantity(words: Words, value: float | None, unit: str) -> str:
    """A value with its unit, "—" where unknown; an infinite one has no unit."""
    if value is None or np.isnan(value):
        return DASH
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if unit in _WRITTEN:
        return _WRITTEN[unit](value)
    named = f"unit.{unit}"
    shown = words(named) if words.known(named) else unit
    return with_unit(significant(value), "" if unit == "1" else shown)


def result_cell(words: Words, result: str) -> Cell:
    """`✗ worse`, with its tone."""
    return Cell(f"{SYMBOLS[result]} {words(f'change.{result}')}", tone=TONES[result])


def change_of(words: Words, value: float | None, scale: str) -> str:
    """A signed change; points are named in the page's language."""
    text = percentage(value, scale)
    return text.replace("pt", words("change.points")) if scale == "points" else text


def interval_of(words: Words, row: Row) -> str:
    """`−1.2 – +3.4 %`; empty where there is none."""
    if row["low"] is None or row["high"] is None:
        return ""
    low, high = (
        change_of(words, row[end], row["scale"]).replace(" ", numbers.SPACE)
        for end in ("low", "high")
    )
    return numbers.span(low, high)


def value_cell(words: Words, row: Row, side: str) -> Cell:
    """A side's value, or why it has none."""
    if row[side] is None:
        return absent(own(words, row["advice"]) or words("absent.no_value"))
    return Cell(quantity(words, row[side], row["unit"]))
