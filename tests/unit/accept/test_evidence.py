"""Evidence files: checked against their schema and the checklist, expiry honoured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bench.accept.evidence import Evidence, read_evidence
from bench.errors import ConfigError
from bench.judge.checklist import load_checklist
from bench.judge.checklist_result import Finding
from bench.judge.verdict import Result

TODAY = date(2026, 11, 22)
TARGET = "http://10.0.0.5:8000"
HEAD = f"targets: [{TARGET}/v1]\nevidence:\n"
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


def read(folder: Path, target: str = TARGET, **changes: str | None) -> Evidence:
    """The evidence of a folder with one statement, changed; None takes a field out."""
    entry = {key: value for key, value in {**STATEMENT, **changes}.items() if value is not None}
    lines = [f"{key}: {value}" for key, value in entry.items()]
    (folder / "a.yaml").write_text(f"{HEAD}  - " + "\n    ".join(lines), encoding="utf-8")
    return read_evidence(folder, load_checklist("small"), TODAY, target)


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
    text = HEAD + "  - {kind: imported, item: S1.1, part: storage, file: fio.json}"
    (tmp_path / "b.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no file .*fio\.json"):
        read_evidence(tmp_path, load_checklist("small"), TODAY, TARGET)


def test_no_folder_is_no_evidence() -> None:
    """Nothing is attested, nothing imported."""
    found = read_evidence(None, load_checklist("small"), TODAY, TARGET)
    assert not found.statements and not found.imported


def test_evidence_of_another_service_decides_nothing(
    tmp_path: Path, ask: Callable[..., Finding]
) -> None:
    """It is no evidence of this one, and whose it is is said."""
    found = read(tmp_path, target="http://10.0.0.6:8000")
    assert not found.statements and found.elsewhere == {("S3.5", "search"): TARGET}
    moved = replace(found, elsewhere={("X1", "p0"): TARGET})
    for check in ("attested", "storage"):
        parameters = {"bytes_per_s": 1.0} if check == "storage" else {}
        finding = ask(check, parameters, evidence=moved)
        assert finding.result is Result.UNDECIDED
        assert TARGET in finding.text.en and "targets" in finding.text.zh


def test_evidence_says_what_it_is_of(tmp_path: Path) -> None:
    """A file without targets, or with one that is no address, is refused."""
    for head in ("evidence: []", "targets: []\nevidence: []", "targets: [prod]\nevidence: []"):
        (tmp_path / "a.yaml").write_text(head, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"a\.yaml.*targets"):
            read_evidence(tmp_path, load_checklist("small"), TODAY, TARGET)


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
