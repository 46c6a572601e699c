"""What others wrote is shown on a terminal, and does nothing there."""

from __future__ import annotations

import io

import pytest
from rich.console import Console as Terminal

from bench.cli.compare_view import show as show_comparison
from bench.cli.console import Console
from bench.cli.plain import visible

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b1m\x00\x7f\r[/red]\u202e"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x9bb\x7f", "a\\x9bb\\x7f"),
        ("over\rwritten", "over\\rwritten"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("two\nlines\tand 全角\u3000空格 – 👩‍🚀", "two\nlines\tand 全角\u3000空格 – 👩‍🚀"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    """Escapes, C1 controls and marks of direction; writing of every script stays."""
    assert visible(text) == shown


def test_a_note_of_a_run_does_not_steer() -> None:
    """A server's name for its model stands in the notes of a run."""
    out = io.StringIO()
    Console(terminal=Terminal(file=out, force_terminal=False)).note(f"model {HOSTILE}")
    assert out.getvalue() == f"· model {visible(HOSTILE)}\n"
    assert "[/red]" in out.getvalue()


def test_a_comparison_does_not_steer() -> None:
    """Models of two runs, as their manifests have them; markup in them is text."""
    found = {
        "metrics": [],
        "unlike": [{"title": {"en": "model"}, "values": [HOSTILE, "b"]}],
        "invalid": [HOSTILE],
        "notes": [],
        "pairs": [],
        "verdict": "none",
    }
    out = io.StringIO()
    show_comparison(found, out)
    assert out.getvalue().replace("\n", "").isprintable()
    assert out.getvalue().count("[/red]") == 2
