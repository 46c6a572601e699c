"""Evidence files: checked against their schema and the checklist, expiry honoured."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from bench.accept.evidence import Evidence, read_evidence
from bench.errors import ConfigError
from bench.judge.checklist import load_checklist
from bench.judge.checklist_result import Finding
from bench.judge.verdict import Result

TODAY = date(2026, 11, 22)
STATEMENT = {
    "kind": "attested",
    "item": "S3.5",
    "part": "search",
    "result": "pass",
    "by": "Li Na",
    "at": "2026-01-01",
    "statement": "seen",
    "link": "https://wiki.example/x",
    "expires": "2027-01-01",
}


def read(folder: Path, **changes: str | None) -> Evidence:
    """The evidence of a folder with one statement, changed; None takes a field out."""
    entry = {key: value for key, value in {**STATEMENT, **changes}.items() if value is not None}
    lines = [f"{key}: {value}" for key, value in entry.items()]
    (folder / "a.yaml").write_text("evidence:\n  - " + "\n    ".join(lines), encoding="utf-8")
    return read_evidence(folder, load_checklist("small"), TODAY)


def test_a_statement_is_found_for_its_part(tmp_path: Path) -> None:
    """For that part of that item, and no other."""
    found = read(tmp_path)
    statement = found.statement("S3.5", "search")
    assert statement is not None and statement.by == "Li Na"
    assert found.statement("S3.5", "alert") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"item": "S9.9"}, 'no item "S9.9"'),
        ({"part": "searching"}, 'no part "searching"'),
        ({"by": None}, "a value is required"),
        ({"expires": None}, "a value is required"),
        ({"expires": "2025-12-31"}, "not after"),
        ({"at": "2026-12-24", "expires": "2027-12-24"}, "in the future"),
        ({"result": "undecided"}, "expected one of"),
        ({"link": "javascript:alert(1)"}, "expected an http"),
        ({"signed": "yes"}, "unknown field"),
    ],
)
def test_a_wrong_statement_is_refused(
    tmp_path: Path, changes: dict[str, str | None], said: str
) -> None:
    """With the file and what was expected."""
    with pytest.raises(ConfigError, match=r"a\.yaml") as caught:
        read(tmp_path, **changes)
    assert said in caught.value.message


def test_an_imported_file_has_to_be_there(tmp_path: Path) -> None:
    """A file that is named and missing is a mistake, not a lack of evidence."""
    text = "evidence:\n  - {kind: imported, item: S1.1, part: storage, file: fio.json}"
    (tmp_path / "b.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no file .*fio\.json"):
        read_evidence(tmp_path, load_checklist("small"), TODAY)


def test_no_folder_is_no_evidence() -> None:
    """Nothing is attested, nothing imported."""
    found = read_evidence(None, load_checklist("small"), TODAY)
    assert not found.statements and not found.imported


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({}, Result.PASS),
        ({"result": "fail"}, Result.FAIL),
        ({"expires": "2026-11-21"}, Result.UNDECIDED),
        ({"expires": "2026-11-22"}, Result.PASS),
    ],
)
def test_a_statement_holds_until_it_expires(
    tmp_path: Path, ask: Callable[..., Finding], changes: dict[str, str], result: Result
) -> None:
    """On its last day it still holds; afterwards it decides nothing."""
    found = read(tmp_path, **changes)
    (statement,) = found.statements
    moved = Evidence(
        found.folder, [statement.model_copy(update={"item": "X1", "part": "p0"})], (), TODAY
    )
    finding = ask("attested", evidence=moved)
    assert finding.result is result
    if result is not Result.UNDECIDED:
        assert (finding.by, finding.at) == ("Li Na", "2026-01-01")
