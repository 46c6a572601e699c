"""The classes of failures are a closed set."""

from __future__ import annotations

import ast
import re
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
    """Each name of the table stands as a literal in the room, so that none is left behind."""
    room = Path(bench.load.__file__).parent
    texts = {
        node.value
        for path in room.rglob("*.py")
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(ERROR_CLASSES) - texts == set()


def test_names_are_words_of_the_report() -> None:
    """A name can be a key of the report's words; time limits are known by their ending."""
    assert all(re.fullmatch(r"[a-z_]+", name) for name in ERROR_CLASSES)
    timeouts = {name for name in ERROR_CLASSES if name.endswith("timeout")}
    assert timeouts == {"connect_timeout", "first_byte_timeout", "idle_timeout", "total_timeout"}
