"""How scenarios are made: repeats, searches, pairs, each taken up where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.accept import loads
from bench.accept.failures import ActivityFailed
from bench.accept.loads import Load, Loader, NotPossible
from bench.accept.settings import Settings
from bench.conduct.run import Done, Order
from bench.judge.checklist import load_checklist
from bench.model import Target
from bench.record.plan_folder import PlanFolder
from bench.record.synthetic import SyntheticRun, write_synthetic_run
from bench.sweep.steps import Interrupted
from bench.workload.arrivals import Poisson

PEAK_RPS = 20.0

Make = Callable[..., tuple[Loader, list[Order]]]


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A loader over runs that are written and not made; above 20/s the server is too slow.

    `ends` says how each run ends: "ok", "killed" (not valid) or "interrupted".
    """

    def make(settings: Settings | None = None, *, ends: str = "ok") -> tuple[Loader, list[Order]]:
        orders: list[Order] = []

        def conduct(order: Order, _: object) -> Done:
            arrivals = order.recipe.arrivals
            rate_rps = arrivals.rate_rps if isinstance(arrivals, Poisson) else 10.0
            slow = rate_rps > PEAK_RPS
            shape = SyntheticRun(
                requests=600,
                rate_rps=rate_rps,
                ttft_s=(2.0 if slow else 0.02, 0.1),
                killed=ends == "killed",
                seed=len(orders) + 1,
            )
            path = write_synthetic_run(order.folder / f"run{len(orders)}", shape)
            orders.append(order)
            return Done(path, {}, ends == "interrupted")

        monkeypatch.setattr(loads, "conduct", conduct)
        folder = PlanFolder(tmp_path / "accepted", kind="acceptance")
        if not folder.path.exists():
            folder.begin({})
        found: Any = SimpleNamespace(
            model="m", url="http://h", server=SimpleNamespace(family="openai")
        )
        load = Load(
            load_checklist("small"), settings or Settings(), folder, Target("http://h", ""),
            found, 1.0, 1, "wire", None, None, (), (),
        )  # fmt: skip
        return Loader(load, SimpleNamespace()), orders  # type: ignore[arg-type]

    return make


def record(key: str = "scenario:x") -> dict[str, Any]:
    return {"key": key, "state": "partial", "runs": [], "observed": {}}


def test_repeats_go_on_where_they_stopped(loader: Make) -> None:
    """With one of three made, two more are; each is in the record, relative to the folder."""
    made, orders = loader()
    kept = record()
    kept["runs"] = ["runs/earlier"]
    made.make("baseline", kept)
    assert len(orders) == 2
    assert kept["runs"] == ["runs/earlier", "runs/run0", "runs/run1"]


def test_a_search_finds_the_peak(loader: Make) -> None:
    """The bracket ends around 20/s, within a tenth, and every point says what it attained."""
    made, _ = loader(Settings(search=loads.Settings().search.model_copy(update={"start_rps": 6.0})))
    kept = record()
    made.make("peak", kept)
    points = kept["observed"]["points"]
    held = max(p["rate_rps"] for p in points if p["held"])
    lost = min(p["rate_rps"] for p in points if not p["held"])
    assert held <= PEAK_RPS < lost <= held * 1.1
    assert all(p["attainment"] == (1.0 if p["held"] else 0.0) for p in points)


def test_a_search_among_runs_that_are_not_valid_gives_up(loader: Make) -> None:
    """A run that can't be trusted is made twice, and is no point of the search."""
    made, orders = loader(ends="killed")
    kept = record()
    with pytest.raises(ActivityFailed, match="not valid"):
        made.make("peak", kept)
    assert len(orders) == 2
    assert kept["observed"]["points"] == []


def test_a_search_begins_at_what_the_baseline_reached(loader: Make) -> None:
    """And without a baseline at one request a second."""
    made, orders = loader()
    baseline = record("scenario:baseline")
    made.make("baseline", baseline)
    made.make("peak", record())
    first = orders[3].recipe.arrivals
    assert isinstance(first, Poisson)
    assert first.rate_rps == pytest.approx(10.0, rel=0.3)


def test_a_share_of_the_peak(loader: Make) -> None:
    """80 % of what was found; not possible where nothing was."""
    made, orders = loader()
    with pytest.raises(NotPossible) as lacking:
        made.make("loaded", record())
    assert lacking.value.code == "peak"
    peak = record("scenario:peak")
    peak["observed"] = {
        "points": [{"rate_rps": 10.0, "attainment": 1.0, "low": 0.99, "high": 1.0, "wanted": 0.9}]
    }
    made.load.folder.keep(peak)
    made.make("loaded", record())
    arrivals = orders[-1].recipe.arrivals
    assert isinstance(arrivals, Poisson) and arrivals.rate_rps == 8.0


def pair(before: dict[str, Any], after: dict[str, Any]) -> Settings:
    given = {"pairs": {"fusion": {"before": before, "after": after}}}
    return Settings.model_validate(given, strict=False)


def test_a_pair_takes_turns_in_going_first(loader: Make) -> None:
    """before, after; after, before; before, after: a drift favours neither."""
    made, orders = loader(pair({"url": "http://b"}, {"url": "http://a", "model": "m8"}))
    kept = record()
    made.make("fusion", kept)
    assert [order.target.base_url[-1] for order in orders] == ["b", "a", "a", "b", "b", "a"]
    assert orders[1].target.model == "m8"
    assert kept["observed"]["rounds"][1] == ["runs/run3", "runs/run2"]


def test_a_pair_of_stored_runs_is_read(loader: Make, tmp_path: Path) -> None:
    """Nothing is run; unequal numbers are refused."""
    runs = [str(write_synthetic_run(tmp_path / name, SyntheticRun(requests=20))) for name in "ab"]
    made, orders = loader(pair({"runs": runs[:1]}, {"runs": runs[1:]}))
    kept = record()
    made.make("fusion", kept)
    assert kept["observed"]["rounds"] == [runs]
    assert not orders
    made, _ = loader(pair({"runs": runs}, {"runs": runs[1:]}))
    with pytest.raises(ActivityFailed, match="as many runs"):
        made.make("fusion", record())


@pytest.mark.parametrize(("name", "code"), [("fusion", "pair"), ("failure", "hooks.break")])
def test_what_is_not_given_is_not_possible(loader: Make, name: str, code: str) -> None:
    """The code names the note on how to give it."""
    made, orders = loader()
    with pytest.raises(NotPossible) as lacking:
        made.make(name, record())
    assert (lacking.value.code, orders) == (code, [])


def test_an_interrupted_run_is_no_result(loader: Make) -> None:
    """It ends the campaign, and its run is not in the record."""
    made, _ = loader(ends="interrupted")
    kept = record()
    with pytest.raises(Interrupted):
        made.make("baseline", kept)
    assert kept["runs"] == []
