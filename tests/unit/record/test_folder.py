"""The run folder while it is written."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import NotValidError, UsageError
from bench.model import Manifest
from bench.record.folder import RunFolder, safe_name

COUNTS: dict[str, Any] = {
    "reason": "finished",
    "planned": 10,
    "ok": 6,
    "failed": {"http_503": 1, "timeout": 1},
    "dropped": 1,
    "aborted": 1,
}


def read(folder: RunFolder, name: str) -> Any:
    return json.loads((folder.path / name).read_text())


def test_the_name_tells_time_recipe_and_run(tmp_path: Path, manifest: Manifest) -> None:
    """A folder is named <utc>-<recipe>-<4 hex>, and the manifest knows it."""
    folder = RunFolder.create(tmp_path / "reports", "chat", manifest)
    assert re.fullmatch(r"\d{8}T\d{6}Z-chat-[0-9a-f]{4}", folder.path.name)
    written = read(folder, "manifest.json")
    assert written["run_id"] == folder.path.name
    assert written["created_utc"].endswith("+00:00")
    assert written["command"] == ["bench", "run"]
    assert written["schema"] == 1


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("a/b\\c\0d\ne", "a-b-c-d-e"),
        (".hidden", "hidden"),
        ("-rf *", "rf"),
        ("对话 chat", "对话-chat"),
        ("\ud800", "run"),
        ("", "run"),
        ("x" * 500, "x" * 48),
        ("<script>alert(1)</script>", "script-alert-1-script"),
    ],
)
def test_hostile_names_are_made_safe(
    tmp_path: Path, manifest: Manifest, hostile: str, safe: str
) -> None:
    """A recipe's name can't leave the folder, hide it, or break a shell line."""
    assert safe_name(hostile) == safe
    folder = RunFolder.create(tmp_path, hostile, manifest)
    assert folder.path.parent == tmp_path and folder.path.is_dir()


def test_a_base_that_is_a_file_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    """The error says where and what to do."""
    base = tmp_path / "file"
    base.write_text("")
    with pytest.raises(UsageError, match=r"can't make a run folder in .*file") as caught:
        RunFolder.create(base, "chat", manifest)
    assert "-o" in caught.value.hint


def test_a_run_of_the_same_name_is_not_touched(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the drawn name is taken another is drawn."""
    drawn = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(drawn))
    monkeypatch.setattr("bench.record.folder.datetime", _Noon)
    paths = [RunFolder.create(tmp_path, "chat", manifest).path.name[-4:] for _ in range(2)]
    assert paths == ["aaaa", "bbbb"]


class _Noon:
    """A clock that stands still."""

    @staticmethod
    def now(zone: Any) -> Any:
        from datetime import datetime

        return datetime(2026, 1, 1, 12, tzinfo=zone)


def test_secrets_are_not_written(tmp_path: Path, manifest: Manifest) -> None:
    """Neither manifest nor journal nor end.json holds a secret, by key, by form or by value."""
    told = replace(
        manifest,
        command=("bench", "run", "-t", "http://me:pass-word@host:8000/v1?api_key=abcdefgh"),
        target={"headers": {"Authorization": "Bearer abcdefghij"}, "note": "own-secret here"},
    )
    folder = RunFolder.create(tmp_path, "chat", told, secrets=["own-secret"])
    folder.journal("warning", text="server said own-secret")
    folder.finish({**COUNTS, "reason": "own-secret"})
    written = "".join(p.read_text() for p in folder.path.glob("*.json*"))
    for secret in ("pass-word", "abcdefgh", "own-secret"):
        assert secret not in written
    assert "http://***@host:8000/v1?api_key=***" in written


def test_a_journal_line_is_on_disk_when_the_call_returns(
    tmp_path: Path, manifest: Manifest
) -> None:
    """Each event is one JSON line with its time; nothing is held back."""
    folder = RunFolder.create(tmp_path, "chat", manifest)
    folder.journal("start", at_ns=5, start_ns=4)
    assert read(folder, "journal.jsonl") == {"at_ns": 5, "event": "start", "start_ns": 4}
    folder.journal("signal", name="SIGINT", share=float("nan"))
    lines = (folder.path / "journal.jsonl").read_text().splitlines()
    last = json.loads(lines[1])
    assert last["at_ns"] > 0 and last["event"] == "signal" and last["share"] is None


def test_a_journal_on_a_full_disk_is_one_clear_error(tmp_path: Path, manifest: Manifest) -> None:
    """ENOSPC on a journal line is a NotValidError."""
    folder = RunFolder.create(tmp_path, "chat", manifest)
    (folder.path / "journal.jsonl").symlink_to("/dev/full")
    with pytest.raises(NotValidError, match="no space left"):
        folder.journal("start")


def test_the_balance_holds(tmp_path: Path, manifest: Manifest) -> None:
    """planned = ok + failed + dropped + aborted leaves nothing unaccounted."""
    folder = RunFolder.create(tmp_path, "chat", manifest)
    folder.finish(COUNTS)
    assert read(folder, "end.json") == {"schema": 1, **COUNTS, "unaccounted": 0}


def test_a_lost_request_is_said(tmp_path: Path, manifest: Manifest) -> None:
    """A planned request that ended nowhere is counted, not hidden."""
    folder = RunFolder.create(tmp_path, "chat", manifest)
    folder.finish({**COUNTS, "planned": 13})
    assert read(folder, "end.json")["unaccounted"] == 3


def test_an_open_ended_plan_is_what_was_started(tmp_path: Path, manifest: Manifest) -> None:
    """Where only the duration bounds a run, planned is the number accounted for."""
    folder = RunFolder.create(tmp_path, "chat", manifest)
    folder.finish({**COUNTS, "planned": None})
    end = read(folder, "end.json")
    assert (end["planned"], end["unaccounted"]) == (10, 0)


def test_a_full_disk_leaves_no_half_end(tmp_path: Path, manifest: Manifest) -> None:
    """end.json is whole or absent."""
    folder = RunFolder.create(tmp_path, "chat", manifest)
    (folder.path / ".end.json.tmp").symlink_to("/dev/full")
    with pytest.raises(NotValidError, match="no space left"):
        folder.finish(COUNTS)
    left = sorted(path.name for path in folder.path.iterdir())
    assert left == ["manifest.json", "requests", "server"]
