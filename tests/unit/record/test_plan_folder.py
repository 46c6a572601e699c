"""A folder of several runs: what is read back from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import ConfigError, RunFolderError
from bench.record.plan_folder import PLAN, PlanFolder, open_plan_folder


@pytest.fixture
def folder(tmp_path: Path) -> PlanFolder:
    made = PlanFolder(tmp_path / "s", kind="sweep")
    made.begin({"rates": [1, 2]})
    return made


@pytest.mark.parametrize("text", [None, "", '{"schema":', "[]", "null"])
def test_a_folder_without_a_readable_plan_is_named(folder: PlanFolder, text: str | None) -> None:
    """Missing, torn, or JSON of another shape."""
    (folder.path / PLAN).unlink()
    if text is not None:
        (folder.path / PLAN).write_text(text)
    with pytest.raises(RunFolderError, match="holds no sweep"):
        folder.plan()


@pytest.mark.parametrize("text", ["", '{"key": ', "[]", "{}", "3"])
def test_a_torn_record_counts_as_not_made(folder: PlanFolder, text: str) -> None:
    """The others are read."""
    folder.keep({"key": "scenario:whole"})
    (folder.path / "activities" / "torn.json").write_text(text)
    assert list(folder.records()) == ["scenario:whole"]


def test_another_plan_is_not_continued(folder: PlanFolder) -> None:
    """The same plan is, whenever and by whichever version it was begun; what differs is named."""
    own = {"created_utc": "later", "bench_version": "2"}
    folder.resume({"rates": [1, 2], **own})
    with pytest.raises(ConfigError, match=r"with another model, rates$"):
        folder.resume({"rates": [1], "model": "m"})


def test_the_newest_folder_is_resumed(tmp_path: Path) -> None:
    """Of those of its stem; without one that is said."""
    for name in ("20260101T000000Z-sweep-aaaa", "20260102T000000Z-sweep-0000"):
        PlanFolder(tmp_path / name, kind="sweep").begin({})
    PlanFolder(tmp_path / "20260103T000000Z-acceptance-0000", kind="acceptance").begin({})

    def resumed(stem: str) -> str:
        found = open_plan_folder(stem, stem, {}, base=tmp_path, path=None, resume=True, secrets=())
        return found.path.name

    assert resumed("sweep") == "20260102T000000Z-sweep-0000"
    with pytest.raises(RunFolderError, match="to resume"):
        resumed("tuning")
