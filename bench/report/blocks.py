"""What a section is made of.  Text is plain; the template escapes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench.report.numbers import DASH


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, a note shown on hover, a tone (`pass`, `fail`, …), a link.

    `focus` names a row of a figure that the link brings into view.
    """

    text: str
    note: str = ""
    tone: str = ""
    href: str = ""
    focus: str = ""


def absent(reason: str) -> Cell:
    """The cell of a value that is not known, and why."""
    return Cell(DASH, note=reason, tone="absent")


@dataclass(frozen=True, slots=True)
class Column:
    """A column head; `kind` is `number` (right-aligned), `long` (wraps), `code`, or nothing."""

    title: str
    kind: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column's cells are its row headers.  `folded` ones open on a click."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    key: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure: a plotly specification, its one-line reading, and the same as a table.

    `note` says what was left out of the drawing, for example by thinning.
    """

    kind: ClassVar[str] = "figure"
    key: str
    title: str
    reading: str
    spec: Mapping[str, Any]
    table: Table | None = None
    note: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that stands alone; with tone `absent`, why a section has nothing to show."""

    kind: ClassVar[str] = "note"
    text: str
    tone: str = ""


Block = Figure | Table | Note


@dataclass(frozen=True, slots=True)
class Section:
    """A rendered section of the page."""

    key: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default_factory=tuple)
