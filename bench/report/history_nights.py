"""The part of the history page that lists every night and its rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.report.blocks import Cell, Column, Section, Table, absent
from bench.report.changes import result_cell
from bench.report.numbers import DASH
from bench.report.sections.band import SYMBOLS
from bench.report.words import Words

_RUNS = "runs"
REPORT = "report.html"
"""The page of a round, in its run folder."""


class Round(Protocol):
    """`bench.nightly.nights.Round`."""

    @property
    def run(self) -> str: ...
    @property
    def valid(self) -> bool: ...
    @property
    def verdict(self) -> str: ...
    @property
    def reasons(self) -> Sequence[str]: ...


class Night(Protocol):
    """`bench.nightly.nights.Night`."""

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def server(self) -> str: ...
    @property
    def rounds(self) -> Sequence[Round]: ...
    @property
    def change(self) -> Mapping[str, Any]: ...
    @property
    def verdict(self) -> str: ...
    @property
    def accepted(self) -> bool: ...
    @property
    def new_level(self) -> bool: ...


def nights_section(words: Words, nights: Sequence[Night], folder: Path) -> Section:
    """All nights, the last first, and their rounds; `folder` holds `runs/`."""
    columns = [
        Column(words("history.night")),
        Column(words("history.label")),
        Column(words("limits.result")),
        Column(words("history.accepted")),
        Column(words("history.rounds_valid"), "number"),
        Column(words("band.server")),
    ]
    rows = []
    for night in reversed(nights):
        valid = sum(each.valid for each in night.rounds)
        accepted = "history.new_level" if night.new_level else "page.yes"
        rows.append(
            (
                Cell(night_date(night.id)),
                Cell(night.label or DASH),
                result_cell(words, night.verdict),
                Cell(words(accepted if night.accepted else "page.no")),
                Cell(f"{valid} / {len(night.rounds)}"),
                Cell(night.server) if night.server else absent(words("absent.not_told")),
            )
        )
    table = Table(words("history.nights"), columns, rows)
    blocks = (table, _rounds(words, nights, folder))
    return Section("nights", words("history.nights"), words("history.nights_lead"), blocks)


def _rounds(words: Words, nights: Sequence[Night], folder: Path) -> Table:
    """A row for each round, with its run's report where there is one."""
    columns = [
        Column(words("history.night")),
        Column(words("history.run")),
        Column(words("limits.result")),
        Column(words("history.broken_rules"), "long"),
    ]
    rows = []
    for night in reversed(nights):
        for each in night.rounds:
            report = f"{_RUNS}/{each.run}/{REPORT}"
            there = (folder / report).is_file()
            rows.append(
                (
                    Cell(night_date(night.id)),
                    Cell(each.run, href=report if there else ""),
                    Cell(
                        f"{SYMBOLS[each.verdict]} {words(f'verdict.{each.verdict}')}",
                        tone=each.verdict,
                    ),
                    Cell(words("page.list_break").join(each.reasons)),
                )
            )
    return Table(words("history.round_runs"), columns, rows, key="rounds", folded=True)


def night_date(night_id: str) -> str:
    """`2026-01-02 02:00` of `20260102T020000Z`; anything else as it is."""
    if len(night_id) != len("20260102T020000Z") or not night_id.endswith("Z"):
        return night_id
    day, clock = night_id[:-1].split("T")
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:4]}"
