"""What `--help` looks like, and what a shell completes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from bench.cli.main import cli

WIDTH = 80


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The command and those below it, with the words that call them."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            yield from commands(inner, *path, name)


ALL = dict(commands(cli))


def page(path: tuple[str, ...], flag: str = "--help") -> str:
    """What `bench … --help` prints on a terminal of 80 columns."""
    return CliRunner().invoke(cli, [*path, flag], terminal_width=WIDTH).output


def completed(*words: str) -> list[tuple[str, str]]:
    """What a shell offers for the last word: (type, value)."""
    *before, incomplete = words
    found = ShellComplete(cli, {}, "bench", "_BENCH_COMPLETE").get_completions(before, incomplete)
    return [(item.type, item.value) for item in found]


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_fits_eighty_columns(path: tuple[str, ...]) -> None:
    """No line is wider than a terminal, examples included, and no sentence is cut off."""
    lines = page(path).splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
    assert [line for line in lines[1:] if line.endswith("...")] == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_each_command_has_a_short_flag_for_help(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-h`, as the top command says it for all."""
    # click keeps the flags of a command's first call, which may have been a test's, without a top
    monkeypatch.setattr(ALL[path], "_help_option", None)
    assert page(path, "-h") == page(path)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_says_what_it_does(path: tuple[str, ...]) -> None:
    """No option stands without a sentence."""
    options = [each for each in ALL[path].params if isinstance(each, click.Option)]
    assert [option.opts for option in options if not option.help and not option.hidden] == []


def test_the_options_of_run_stand_under_headings() -> None:
    """Each heading is there, and each option once."""
    text = page(("run",))
    for heading in ("The server", "When to send, and how much", "The trace", "The result"):
        assert f"\n{heading}:\n" in text
    context = click.Context(ALL["run",])
    for option in ALL["run",].get_params(context):
        record = option.get_help_record(context)
        assert record is not None
        assert len(re.findall(rf"^  {re.escape(record[0])}(?:  |$)", text, re.MULTILINE)) == 1


def test_shipped_names_are_completed() -> None:
    """Recipes for -w, profiles for -p; verbs as well."""
    assert completed("run", "-w", "lon") == [("plain", "long-context")]
    assert completed("run", "-p", "realt") == [("plain", "realtime-chat")]
    assert completed("profiles", "show", "realt") == [("plain", "realtime-chat")]
    assert completed("ju") == [("plain", "judge")]


def test_where_no_name_fits_files_are_completed(tmp_path: Path) -> None:
    """A path is left to the shell."""
    assert completed("run", "-w", "./my") == [("file", "./my")]
