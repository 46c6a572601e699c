"""The `bench` command itself: its table of verbs, and how mistakes end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

from bench import __version__
from bench.cli.main import VERBS, cli, main
from bench.errors import (
    BenchError,
    ExitCode,
    NotValidError,
    RunFolderError,
    TargetError,
    TraceError,
)
from bench.shipped import shipped

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls `main` as the entry point does and gives the exit code."""

    def call(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["bench", *arguments])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return call


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `bench probe` raise."""

    def replace(error: BaseException) -> None:
        @click.command("probe")
        def command() -> None:
            raise error

        monkeypatch.setattr("bench.cli.probe.command", command)

    return replace


def commands(command: click.Command, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    """The command and those below it, each with the words that call it."""
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            found += commands(inner, *path, name)
    return found


def test_every_verb_is_a_command_with_the_help_of_the_table() -> None:
    """`bench --help` lists each verb with its sentence, and each can be loaded."""
    shown = re.sub(r"\s+", " ", CliRunner().invoke(cli, ["--help"]).output)
    for verb, sentence in VERBS.items():
        assert f"{verb} {sentence}" in shown
        assert cli.get_command(click.Context(cli), verb) is not None


@pytest.mark.parametrize(
    ("path", "command"),
    [found for found in commands(cli) if not isinstance(found[1], click.Group)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_help_says_what_and_shows_how(path: tuple[str, ...], command: click.Command) -> None:
    """Every command's help has a sentence and all its options; it or its group has an example."""
    shown = CliRunner().invoke(cli, [*path, "--help"])
    assert shown.exit_code == 0
    assert command.help and len(command.help.split()) > 3
    above = [CliRunner().invoke(cli, [*path[:upto], "--help"]) for upto in range(1, len(path))]
    examples = [help_text.output.partition("Example")[2] for help_text in (shown, *above)]
    assert any(f"bench {path[0]} " in text or f"bench {path[0]}\n" in text for text in examples)
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.opts[0] in shown.output


def test_the_version_is_the_package_s(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """`bench --version` says which version this is and ends well."""
    assert run("--version") == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["no-such-verb"], ["run"], ["run", "--no-such-option"], ["judge", "a", "b"]]
)
def test_wrong_usage_ends_with_two(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """A command that can't be understood ends with 2, and says why on stderr alone."""
    assert run(*arguments) == ExitCode.USAGE
    told = capsys.readouterr()
    assert told.out == ""
    assert "Error: " in told.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TraceError("a.jsonl:3: expected a number"), 2),
        (RunFolderError("runs/x: no manifest.json"), 2),
        (NotValidError("worker 0 died"), 4),
        (TargetError("can't connect"), 5),
        (BenchError("odd"), 1),
    ],
)
def test_an_error_ends_with_its_code(
    run: Run,
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    error: BenchError,
    code: int,
) -> None:
    """A mistake is one line on stderr, without a traceback, and its own exit code."""
    failing(error)
    assert run("probe") == code
    assert capsys.readouterr().err == f"bench: {error.message}\n"


def test_a_hint_is_a_second_line(
    run: Run, failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """What to do stands below what is wrong."""
    failing(TargetError("can't connect to a:1", "is the server up?"))
    assert run("probe") == ExitCode.TARGET_UNUSABLE
    assert capsys.readouterr().err == "bench: can't connect to a:1\n  → is the server up?\n"


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_ends_with_130(
    run: Run, failing: Callable[[BaseException], None], stop: BaseException
) -> None:
    """Ctrl-C outside a run ends as shells expect."""
    failing(stop)
    assert run("probe") == ExitCode.INTERRUPTED


def test_a_bug_keeps_its_traceback(run: Run, failing: Callable[[BaseException], None]) -> None:
    """What no one foresaw is not dressed up as a user's mistake."""
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run("probe")


@pytest.mark.parametrize("written_by", ["click", "rich"])
def test_a_reader_that_is_gone_ends_it_without_a_word(written_by: str) -> None:
    """`bench … | head`: 141, as of a tool that SIGPIPE ended, and not 1, which is a bug."""
    sample = str(shipped("workloads") / "sample-chat.jsonl")
    verb = ["metrics"] if written_by == "click" else ["trace", "inspect", sample]
    unread, pipe = os.pipe()
    os.close(unread)
    code = "import sys; from bench.cli import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", code, *verb], stdout=pipe, stderr=subprocess.PIPE, check=False
    )
    os.close(pipe)
    assert (ended.returncode, ended.stderr) == (ExitCode.UNREAD, b"")
