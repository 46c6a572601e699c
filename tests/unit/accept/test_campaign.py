"""Going through a plan's activities: what is done stays, what was stopped ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.accept import campaign
from bench.accept.campaign import Means, conduct_plan
from bench.accept.plan import plan_of
from bench.accept.settings import Settings
from bench.judge.checklist import load_checklist
from bench.model import Target
from bench.record.plan_folder import PlanFolder
from bench.sweep.steps import Interrupted

Record = dict[str, Any]


class Shown:
    """Which activities began."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def activity(self, position: int, total: int, key: str, serves: Sequence[str]) -> None:
        self.keys.append(key)


@pytest.fixture
def folder(tmp_path: Path) -> PlanFolder:
    made = PlanFolder(tmp_path / "accepted", kind="acceptance")
    made.begin({})
    return made


def go(folder: PlanFolder, ends: Mapping[str, type[Exception]]) -> tuple[bool, list[str]]:
    """Whether the small plan was gone through, and the activities that were begun.

    Nothing is loaded or probed; the activities named in `ends` end with that exception.
    """
    checklist = load_checklist("small")
    plan = plan_of(checklist, Settings())
    shown = Shown()

    async def look(means: object, progress: object) -> tuple[Any, list[Any]]:
        server = SimpleNamespace(family="openai", title="t", version="1")
        return SimpleNamespace(model="m", url="http://h", server=server), []

    class Loader:
        def __init__(self, load: Any, watch: object) -> None:
            self.load = load

        def make(self, name: str, record: Record) -> None:
            if name in ends:
                raise ends[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "_look", look)
        patch.setattr(campaign, "Loader", Loader)
        patch.setattr(campaign, "_PROBES", dict.fromkeys(campaign._PROBES, lambda _: {}))
        means = Means(Target("http://h", "m"))
        whole = conduct_plan(plan, Settings(), folder, means, 1.0, shown)  # type: ignore[arg-type]
    return whole, shown.keys


def test_what_is_done_is_not_made_again(folder: PlanFolder) -> None:
    """A second pass makes nothing."""
    whole, first = go(folder, {})
    assert whole and first
    assert go(folder, {}) == (True, [])
    assert {record["state"] for record in folder.records().values()} == {"done"}


def test_an_interrupted_activity_ends_it(folder: PlanFolder) -> None:
    """Nothing after it is begun, it is not taken for done, and the next pass goes on with it."""
    whole, begun = go(folder, {"baseline": Interrupted})
    assert not whole
    assert begun[-1] == "scenario:baseline"
    assert "scenario:baseline" not in folder.records()
    whole, later = go(folder, {})
    assert whole and later[0] == "scenario:baseline"
