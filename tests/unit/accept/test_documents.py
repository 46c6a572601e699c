"""What an acceptance writes: JSON, JUnit, Markdown, the page; folders that can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.accept.documents import as_json, junit, markdown
from bench.errors import ConfigError, RunFolderError
from bench.judge.checklist_result import (
    Acceptance,
)
from bench.record.plan_folder import PlanFolder, latest_path
from bench.report.acceptance_page import write_acceptance

HOSTILE = "<script>alert(1)</script> | x"


@pytest.fixture
def acceptance(acceptance_of: Callable[[str], Acceptance]) -> Acceptance:
    """With a hostile text in it."""
    return acceptance_of(HOSTILE)


def test_json_accounts_for_every_item(acceptance: Acceptance) -> None:
    """It can be written as JSON, infinities named and not written; counts add up."""
    text = json.dumps(as_json(acceptance), allow_nan=False)
    found = json.loads(text)
    assert sum(found["counts"].values()) == len(found["items"]) == 17
    assert found["verdict"] == "fail"
    assert found["rehearsal"] is True
    failed = next(item for item in found["items"] if item["result"] == "fail")
    assert failed["parts"][0]["findings"][0]["infinite"] == ["value"]


def test_junit_skips_what_is_not_decided(acceptance: Acceptance) -> None:
    """Failures are failures; undecided and not applicable are skipped with the reason."""
    suite = ElementTree.fromstring(junit(acceptance)).find("testsuite")
    assert suite is not None
    counts = acceptance.counts
    assert int(suite.get("failures", "")) == counts["fail"]
    assert int(suite.get("skipped", "")) == counts["undecided"] + counts["not_applicable"]
    skipped = [case.find("skipped") for case in suite]
    assert any("not used here" in (s.get("message") or "") for s in skipped if s is not None)


def test_markdown_has_a_row_for_each_item_and_escapes(acceptance: Acceptance) -> None:
    """What came from elsewhere is neither markup nor a column of the table."""
    text = markdown(acceptance)
    assert text.count("\n| S") == 17
    assert "not an acceptance" in text
    assert "<script>" not in text
    assert "\\| x" in text


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_page_is_whole_in_both_languages(
    acceptance: Acceptance, tmp_path: Path, language: str
) -> None:
    """Every item, who attested, no script, no hole where a word should be."""
    page = write_acceptance(acceptance, tmp_path / "acceptance.html", language=language)
    text = page.read_text(encoding="utf-8")
    assert all(item.item.id in text for item in acceptance.items)
    assert "Li Na" in text and "https://wiki.example/x" in text
    assert "<script" not in text
    assert ("缺" in text, "坏了" in text) == (language == "zh",) * 2
    assert ("broke" in text) == (language == "en")
    assert ("Not an acceptance".lower() in text.lower()) == (language == "en")


PLAN = {"created_utc": "a", "bench_version": "1", "scale": 1.0, "settings": {"choose": ("S1.1",)}}


def test_a_folder_is_begun_once(tmp_path: Path) -> None:
    """A second beginning is refused; resuming the same plan is not."""
    folder = PlanFolder(tmp_path / "a", kind="acceptance")
    folder.begin(PLAN)
    with pytest.raises(ConfigError, match="already"):
        folder.begin(PLAN)
    folder.resume({**PLAN, "created_utc": "b", "bench_version": "2"})


def test_another_plan_can_not_be_resumed(tmp_path: Path) -> None:
    """What differs is named."""
    folder = PlanFolder(tmp_path / "a", kind="acceptance")
    folder.begin(PLAN)
    with pytest.raises(ConfigError, match="another scale"):
        folder.resume({**PLAN, "scale": 0.5})


def test_records_hold_no_secret_and_a_torn_one_counts_as_not_made(tmp_path: Path) -> None:
    """The key is taken out; half a file is no record."""
    folder = PlanFolder(tmp_path / "a", ["very-secret"], kind="acceptance")
    folder.begin(PLAN)
    folder.keep({"key": "probe:keys", "state": "failed", "why": "said very-secret"})
    (folder.path / "activities" / "torn.json").write_text('{"key": "x"', encoding="utf-8")
    records = folder.records()
    assert list(records) == ["probe:keys"]
    assert "very-secret" not in json.dumps(records)


def test_the_newest_acceptance_is_found(tmp_path: Path) -> None:
    """By checklist; none is said to be none."""
    for name in ("20260101T000000Z-accept-small-aaaa", "20260201T000000Z-accept-small-bbbb"):
        PlanFolder(tmp_path / name, kind="acceptance").begin(PLAN)
    assert latest_path(tmp_path, "accept-small").name.endswith("bbbb")
    with pytest.raises(RunFolderError, match="medium"):
        latest_path(tmp_path, "accept-medium")
