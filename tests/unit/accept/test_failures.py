"""Why an activity was not made is told in both languages."""

from __future__ import annotations

import ast
import errno
import re
import socket
import ssl
import string
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

import bench.accept
from bench.accept.evidence import Evidence
from bench.accept.facts import Facts
from bench.accept.failures import FAILURES, failure, why_of
from bench.accept.missing import MISSING, Unavailable, missing
from bench.accept.settings import Settings
from bench.errors import BenchError, ConfigError, NotValidError, TargetError
from bench.judge.checklist import Checklist
from bench.judge.metric import Text
from bench.record.files import disk_error
from bench.servers.client import Reply, refused, unreachable

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("table", [MISSING, FAILURES])
def test_both_languages_say_the_same(table: Mapping[str, Text]) -> None:
    """Each entry is Chinese in one and not in the other, with the same placeholders."""
    for words in table.values():
        assert CHINESE.search(words.zh) and not CHINESE.search(words.en)
        assert placeholders(words.zh) == placeholders(words.en)


def called_with(function: str) -> set[str]:
    """The literal first arguments of the calls of a function in the room."""
    return {
        node.args[0].value
        for path in Path(bench.accept.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == function
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_entry_is_used_and_every_use_has_an_entry() -> None:
    """No failure is left without a cause, and none without words."""
    assert called_with("failure") == set(FAILURES)
    assert called_with("missing") | called_with("NotPossible") == set(MISSING)


def test_a_reason_inside_words_is_in_their_language() -> None:
    """A placeholder may itself have two languages."""
    text = missing("no_value", why=Text("没有", "none")).text
    assert (text.zh, text.en) == ("没有取值：没有", "No value: none")


def test_an_activitys_own_failure_has_its_words() -> None:
    """What failed, and what to do, is told as the table has it."""
    text = why_of(failure("uneven_pair", before=1, after=2))
    assert "1 与 2" in text.zh
    assert "1 and 2" in text.en


@pytest.mark.parametrize("kind", [ConfigError, TargetError, NotValidError])
def test_an_error_of_another_room_is_quoted(kind: type[BenchError]) -> None:
    """One that is not among the usual ones is quoted; what kind it is of is told in both."""
    text = why_of(kind("it {broke}"))
    assert text.en == "it {broke}"
    assert text.zh.endswith("：“it {broke}”") and CHINESE.search(text.zh)


def test_what_was_not_made_says_why(tmp_path: Path, checklist: Callable[..., Checklist]) -> None:
    """In the outline for the page, and to every check that wanted to look at it."""
    told = why_of(failure("hook_failed", name="stop", exit_code=3, said="no such unit"))
    records = {
        "scenario:gpu": {"state": "missing", "missing": "pair"},
        "hook:start": {"state": "failed", "why": told.as_json()},
        "probe:keys": {"state": "done"},
    }
    evidence = Evidence(tmp_path, (), (), date(2026, 11, 22))
    facts = Facts(tmp_path, checklist(), Settings(), evidence, records, {}, "vllm", "http://h")
    lacking = missing("pair", name="gpu").text
    assert facts.outline("scenario:gpu")["why"] == lacking.as_json()
    assert facts.outline("hook:start")["why"] == told.as_json()
    assert facts.outline("probe:keys")["why"] is None
    with pytest.raises(Unavailable) as found:
        facts.record("hook:start")
    assert found.value.text.zh == f"未能执行：{told.zh}"
    assert found.value.text.en == f"Could not be made: {told.en}"


def test_what_was_interrupted_decides_nothing(
    tmp_path: Path, checklist: Callable[..., Checklist]
) -> None:
    """One run of three is not the three that were asked for: go on with --resume."""
    evidence = Evidence(tmp_path, (), (), date(2026, 11, 22))
    records = {"scenario:s": {"state": "partial", "runs": ["runs/a"], "observed": {}}}
    facts = Facts(tmp_path, checklist(), Settings(), evidence, records, {}, "vllm", "http://h")
    with pytest.raises(Unavailable, match="--resume"):
        facts.runs("s")


def answered(status: int, body: bytes, content_type: str = "application/json") -> BenchError:
    reply = Reply("http://h:1/v1", status, {"content-type": content_type}, body)
    return refused(reply, "POST")


KEY: Any = SimpleNamespace(ssl=True, host="h", port=1, is_ssl=True)
USUAL = [
    unreachable("GET", "http://h:1/v1", error, 5.0)
    for error in (
        TimeoutError(),
        ConnectionResetError("reset"),
        aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused")),
        aiohttp.ClientConnectorError(KEY, OSError(113, "no route")),
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "unknown")),
        aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("self-signed")),
        ssl.SSLError("wrong version"),
    )
] + [
    answered(500, b'{"error": {"message": "out of memory"}}'),
    answered(404, b""),
    answered(502, b"<html>", "text/html"),
    disk_error(OSError(errno.ENOSPC, "full"), Path("x")),
    disk_error(OSError(errno.EACCES, "denied"), Path("x")),
]


@pytest.mark.parametrize("error", USUAL, ids=lambda error: error.message)
def test_what_a_server_gives_cause_for_is_told_in_chinese(error: BenchError) -> None:
    """As the rooms that raise it word it today: a change of their words shows here."""
    text = why_of(error)
    assert text.en.endswith(error.message)
    assert "“" not in text.zh and error.message not in text.zh
