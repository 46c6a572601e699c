"""What the documents say is there: commands, options, files, headings in both languages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from bench.cli.main import VERBS, cli
from bench.errors import ExitCode

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BY_NAME = {str(path.relative_to(ROOT)): path for path in DOCUMENTS}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")
_MAKE = re.compile(r"(?:^|`)make ([a-z][a-z-]*)", re.MULTILINE)
_BEHIND_THE_COMMAND = re.compile(r"\s{4,}|\s[|>#]\s")


def fences(text: str) -> list[tuple[str, str]]:
    """(language, content) of every fenced block."""
    return _FENCE.findall(text)


def commands(text: str) -> list[list[str]]:
    """The words behind `bench` of every command in a fenced block."""
    found = []
    for language, block in fences(text):
        if language not in ("", "sh", "console"):
            continue
        joined = re.sub(r"\s*\\\n\s*", " ", block)
        for line in joined.splitlines():
            words = shlex.split(_BEHIND_THE_COMMAND.split(line.strip(), maxsplit=1)[0])
            if words and words[0] in ("bench", ".venv/bin/bench"):
                found.append(words[1:])
    return found


ALL_COMMANDS = [
    (name, words)
    for name, path in BY_NAME.items()
    for words in commands(path.read_text(encoding="utf-8"))
]


def parse(words: list[str]) -> None:
    """Finds the command and parses its options, as the shell would; files need not exist."""
    command: click.Command = cli
    rest = words
    while True:
        context = click.Context(command)
        _, rest, _ = command.make_parser(context).parse_args(list(rest))
        if not isinstance(command, click.Group) or not rest:
            break
        _, inner, rest = command.resolve_command(context, rest)
        assert inner is not None
        command = inner


def test_commands_are_found() -> None:
    """The documents hold commands, so that the test below holds something."""
    assert len(ALL_COMMANDS) > 20
    assert {name for name, _ in ALL_COMMANDS} >= {"README.md", "docs/first-run.md"}


@pytest.mark.parametrize(
    ("document", "words"), ALL_COMMANDS, ids=lambda v: " ".join(v) if isinstance(v, list) else v
)
def test_a_command_in_a_document_exists(document: str, words: list[str]) -> None:
    """Every `bench` command in a fenced block names a verb, and options that it has."""
    assert document in BY_NAME
    parse(words)


@pytest.mark.parametrize("name", BY_NAME)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link of a document names a file or folder that is there."""
    path = BY_NAME[name]
    targets = _LINK.findall(path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_both_readmes_say_the_same() -> None:
    """The Chinese README has the headings, blocks, commands, links and tables of the English."""
    english = BY_NAME["README.md"].read_text(encoding="utf-8")
    chinese = BY_NAME["README.zh.md"].read_text(encoding="utf-8")

    def headings(text: str) -> list[int]:
        plain = _FENCE.sub("", text)
        return [len(marks) for marks in re.findall(r"^(#+) ", plain, re.MULTILINE)]

    def links(text: str) -> list[str]:
        return [link for link in _LINK.findall(text) if not link.startswith("README")]

    assert headings(english) == headings(chinese)
    assert fences(english) == fences(chinese)
    assert links(english) == links(chinese)
    assert english.count("\n|") == chinese.count("\n|")
    assert english.count("\n- ") == chinese.count("\n- ")


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readme_names_every_command(name: str) -> None:
    """The table of commands has every verb once."""
    text = BY_NAME[name].read_text(encoding="utf-8")
    commands_named = re.findall(r"^\| `bench (\w+)` \|", text, re.MULTILINE)
    assert sorted(commands_named) == sorted(VERBS)


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readme_has_the_two_commands_and_every_exit_code(name: str) -> None:
    """The first block is the two commands; the table has each exit code once."""
    text = BY_NAME[name].read_text(encoding="utf-8")
    assert fences(text)[0] == ("sh", "make demo\nmake test\n")
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert codes == sorted(ExitCode)


def test_targets_of_make_in_documents_exist() -> None:
    """Every `make TARGET` that a document names is a target of the Makefile."""
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = {word for path in DOCUMENTS for word in _MAKE.findall(path.read_text(encoding="utf-8"))}
    assert {"demo", "test"} <= named <= targets


def test_the_changelog_has_a_place_for_measurement() -> None:
    """Changes of what a number means have a heading of their own."""
    assert "\n### Measurement\n" in BY_NAME["CHANGELOG.md"].read_text(encoding="utf-8")


def test_the_table_of_metrics_is_the_table() -> None:
    """docs/metrics.md is what `bench metrics --markdown` prints (`make docs` writes it)."""
    from bench.judge import metrics

    assert BY_NAME["docs/metrics.md"].read_text(encoding="utf-8") == metrics.markdown()
