"""A checklist and settings become a plan; what is wrong is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.accept.acceptance import describe
from bench.accept.plan import plan_of
from bench.accept.settings import Settings
from bench.errors import ConfigError
from bench.judge.checklist import Checklist, load_checklist, shipped_checklists

Make = Callable[..., Checklist]


def way(check: str, basis: str = "M", **parameters: Any) -> dict[str, Any]:
    return {"basis": basis, "check": check, "with": parameters}


@pytest.mark.parametrize("name", list(shipped_checklists()))
def test_shipped_checklists_can_be_planned(name: str) -> None:
    """Every check, parameter and scenario of them is known, and serves at least one item."""
    plan = plan_of(load_checklist(name), Settings())
    assert all(ids for key, ids in plan.activities.items() if key != "scenario:peak")


def test_checks_that_name_one_scenario_share_its_runs() -> None:
    """The small checklist's baseline is one activity for all items that look at it."""
    plan = plan_of(load_checklist("small"), Settings())
    assert list(plan.activities).count("scenario:baseline") == 1
    assert {"S1.1", "S2.4", "S4.4"} <= set(plan.activities["scenario:baseline"])


def test_what_is_skipped_is_not_made() -> None:
    """Activities that only left-out items need are not planned; the reasons are kept."""
    settings = Settings(choose=("S3.3",), skip={"S2.1": "not quantised"})
    plan = plan_of(load_checklist("small"), settings)
    assert set(plan.activities) == {"probe:keys", "probe:over_long"}
    assert plan.skipped["S2.1"].en == "not quantised"
    assert len(plan.skipped) == 16


def test_a_share_of_the_peak_brings_the_search_along() -> None:
    """An item that needs 80 % of the peak has the peak searched, before it."""
    keys = list(plan_of(load_checklist("small"), Settings(choose=("S3.4",))).activities)
    assert keys == ["scenario:peak", "scenario:loaded"]


def test_what_takes_the_service_away_comes_last() -> None:
    """Probes, loads, induced failures, a restart: in this order."""
    keys = list(plan_of(load_checklist("small"), Settings()).activities)
    assert keys[0].startswith("probe:")
    assert keys[-2:] == ["scenario:failure", "hook:start"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (way("limits"), 'no check is named "limits"'),
        (way("ready", "A", bound_s=1), "ready is measured"),
        (way("ready", bound_s=1, bound=1), "unknown field"),
        (way("rtt", scenario="nowhere", bound_s=1), 'no scenario is named "nowhere"'),
        (way("limit", scenario="s", metric="ttft", statistic="p99", bound=1), "no metric"),
        (way("limit", scenario="s", metric="ttft_s", statistic="p99", bound=-1), "above 0"),
        (way("utilisation", "S", scenario="s", of="cpu"), "no utilisation"),
        (way("series_present", "S", scenario="s", series=["gpu"]), "no series"),
        (way("histogram_within", "S", scenario="s", series="q", q=0.9, bound_s=1), "no series"),
        (way("spread", scenario="s", metric="ttft", statistic="p99", bound=1), "no metric"),
        (way("spread", scenario="s", metric="ttft_s", statistic="p98", bound=1), "statistic"),
        (way("expected", scenario="s", metric="output_tps", statistic="p99"), "statistic value"),
        (way("change", scenario="s", metric="ttft_s", statistic="p99"), "either at_least"),
        (way("outage", scenario="s", metric="ttft_s", bound=1), "no single value"),
        (way("health", scenario="s", p99_s=1, answered=0.9), "either p99_s"),
        (way("trend", metric="cost", drop=0.1), "no metric"),
    ],
)
def test_a_wrong_way_is_refused(checklist: Make, given: dict[str, Any], said: str) -> None:
    """The error names item and part, and what was wrong."""
    with pytest.raises(ConfigError, match=r"X1\.p0") as caught:
        plan_of(checklist(given, s={}), Settings())
    assert said in caught.value.message


def test_an_unknown_profile_is_refused() -> None:
    """It is found with the plan, not when the first scenario is to be run."""
    with pytest.raises(ConfigError, match='no profile is named "realtime"'):
        describe("small", Settings(profile="realtime"), 1.0)


def test_an_unknown_item_is_refused() -> None:
    """A typing error in `skip` must not leave an item judged that was meant to be left out."""
    with pytest.raises(ConfigError, match=r'no item "S9\.9"'):
        plan_of(load_checklist("small"), Settings(skip={"S9.9": "because"}))
