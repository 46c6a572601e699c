"""The classes of failures are a closed set."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import bench.load
from bench.load.errors import ERROR_CLASSES, is_error_class
from bench.load.flight import Flight
from bench.model import Turn


def test_every_status_has_a_class_and_nothing_else_has() -> None:
    """The family of statuses is open to any three digits; other names are not in the set."""
    assert is_error_class("http_429")
    assert is_error_class("http_999")
    assert not is_error_class("http_42")
    assert not is_error_class("http_5xx")
    assert not is_error_class("reset")


def test_a_flight_takes_no_other_class() -> None:
    """A name that is not in the set is a bug, and is found where it is made."""
    with pytest.raises(ValueError, match="no error class"):
        Flight(Turn(0, None, None, None, None), 0, 0, "").fail("oops")


def test_every_class_is_used() -> None:
    """Each name of the table stands as a literal in a function, so that none is left behind."""
    room = Path(bench.load.__file__).parent
    texts = {
        node.value
        for path in room.rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(ERROR_CLASSES) - texts == set()


def test_names_are_words_of_the_report() -> None:
    """A name can be a key of the report's words; time limits are known by their ending."""
    assert all(re.fullmatch(r"[a-z_]+", name) for name in ERROR_CLASSES)
    timeouts = {name for name in ERROR_CLASSES if name.endswith("timeout")}
    assert timeouts == {"connect_timeout", "first_byte_timeout", "idle_timeout", "total_timeout"}


# -- docs/errors.md ----------------------------------------------------------------------------

ROOT = Path(__file__).parents[3]
SECTIONS = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").split("\n## ")[1:]
CLASSES, SIMULATED, OTHERS = (
    [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in section.splitlines()
        if line.startswith("|")
    ][2:]
    for section in SECTIONS
)
"""The rows of the three tables."""


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def sources(path: Path) -> dict[str, str]:
    """The source of each test of a file, with its decorators."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    return {
        node.name: "\n".join(
            lines[
                min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1 : node.end_lineno
            ]
        )
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


def test_the_document_has_the_table_of_classes() -> None:
    """Each class once, in the order and the words of the source."""
    told = {name: meaning for cell, meaning in CLASSES for name in names(cell)}
    statuses = told.pop("http_<status>")
    assert "Retry-After" in statuses
    assert list(told.items()) == list(ERROR_CLASSES.items())


def test_every_class_comes_of_a_fault() -> None:
    """No class of the document is without a fault that leads to it."""
    outcomes = {name for row in [*SIMULATED, *OTHERS] for name in names(row[1])}
    assert set(ERROR_CLASSES) - outcomes == set()
    assert all(name == "ok" or is_error_class(name) for name in outcomes)


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row[0])
def test_a_fault_has_the_test_that_the_document_names(row: list[str]) -> None:
    """The test is there and speaks of every class of its row."""
    _, outcome, test = row
    path, _, name = names(test)[0].partition("::")
    source = sources(ROOT / "tests" / path)[name]
    wanted = [each for each in names(outcome) if each != "ok"]
    assert [each for each in wanted if f'"{each}"' not in source] == []
