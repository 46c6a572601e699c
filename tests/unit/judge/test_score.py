"""The composite score: its weights, its points, and when there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bench.judge.judgement import judge
from bench.judge.profile import Score, load_profile
from bench.judge.score import points
from bench.judge.score_weights import DIMENSIONS, SCENARIOS

_COST = ("cost", "cost_per_request", "value", 0.0005, 0.01)
_PRICES = {"accelerators": 1, "per_accelerator_hour": 3.6}


def rows(*metrics: tuple[Any, ...], **more: Any) -> dict[str, Any]:
    """A profile's `score` from (dimension, metric, statistic, target, worst)."""
    names = ("dimension", "metric", "statistic", "target", "worst")
    listed = [{**dict(zip(names, m, strict=True)), "source": "§0", **more} for m in metrics]
    return {"scenario": "realtime-chat", "metrics": listed}


def complete(ttft_worst_s: float = 0.2) -> dict[str, Any]:
    """One metric for each dimension; TTFT of 0.1 s and 10 requests in 10.18 s."""
    return rows(
        ("latency", "ttft_s", "p50", 0.05, ttft_worst_s),
        ("throughput", "request_rps", "value", 0.9, 0.1),
        _COST,
        ("quality", "error_rate", "value", 0.001, 0.005),
        ("availability", "request_availability", "value", 0.999, 0.9),
    )


def read(score: dict[str, Any]) -> Score:
    """As from a profile's file."""
    return Score.model_validate_json(json.dumps(score))


@pytest.fixture
def scored(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], profile: Callable[..., Any]
) -> Callable[..., dict[str, Any]]:
    """The score of ten requests, one a second, under a profile's `score`."""

    def make(score: dict[str, Any], **fields: Any) -> dict[str, Any]:
        run = hand_run([ok_row(float(k), **fields) for k in range(10)])
        found: dict[str, Any] = judge(run, profile(score=read(score), prices=_PRICES)).verdict[
            "score"
        ]
        return found

    return make


def test_the_weights_are_those_of_the_documents() -> None:
    """§5.4.4: five scenarios, each adding up to 100 %."""
    assert {name: tuple(s.weights.values()) for name, s in SCENARIOS.items()} == {
        "realtime-chat": (40, 20, 15, 15, 10),
        "batch": (10, 40, 30, 15, 5),
        "online-inference": (30, 25, 20, 15, 10),
        "edge": (35, 15, 25, 15, 10),
        "enterprise": (25, 20, 15, 20, 20),
    }
    for scenario in SCENARIOS.values():
        assert sum(scenario.weights.values()) == 100
        assert scenario.weights.keys() == DIMENSIONS.keys()


@pytest.mark.parametrize(
    ("value", "target", "worst", "expected"),
    [
        (0.05, 0.1, 0.5, 100), (0.1, 0.1, 0.5, 100), (0.3, 0.1, 0.5, 50), (0.5, 0.1, 0.5, 0),
        (float("inf"), 0.1, 0.5, 0), (900, 1000, 500, 80), (2000, 1000, 500, 100), (1, 1000, 5, 0),
    ],
)  # fmt: skip
def test_points_fall_linearly_from_target_to_worst(
    value: float, target: float, worst: float, expected: float
) -> None:
    """Better than the target is no bonus, worse than the worst no malus; either direction."""
    assert points(value, target, worst) == pytest.approx(expected)


def test_a_complete_score_is_the_weighted_mean(scored: Callable[..., Any]) -> None:
    """TTFT of 100 ms between 50 and 200 has 66.7 points at weight 40; the others by their own."""
    found = scored(complete())
    by_metric = {row["metric"]: row for row in found["metrics"]}
    assert by_metric["ttft_s"]["points"] == pytest.approx(100 * 2 / 3)
    assert by_metric["request_availability"]["points"] == 100
    assert 0 < by_metric["cost_per_request"]["points"] < 100
    assert by_metric["cost_per_request"]["points"] == pytest.approx(
        100 * (0.01 - by_metric["cost_per_request"]["value"]) / 0.0095
    )
    expected = sum(row["points"] * row["weight"] for row in found["metrics"]) / 100
    assert found["missing"] == []
    assert found["value"] == pytest.approx(expected)


def test_a_coefficient_counts_its_metric_more(scored: Callable[..., Any]) -> None:
    """Twice the coefficient on a metric of 0 points pulls the score down by its share."""
    plain, weighty = complete(0.06), complete(0.06)
    weighty["metrics"][0]["coefficient"] = 2.0
    before, after = scored(plain)["value"], scored(weighty)["value"]
    assert after == pytest.approx(before * 100 / 140)


def test_metrics_of_a_dimension_share_its_weight(scored: Callable[..., Any]) -> None:
    """Two metrics of latency have 20 each."""
    score = complete()
    score["metrics"].append({**score["metrics"][0], "metric": "tpot_s"})
    weights = {row["metric"]: row["weight"] for row in scored(score)["metrics"]}
    assert (weights["ttft_s"], weights["tpot_s"], weights["request_rps"]) == (20, 20, 20)


def test_a_dimension_without_a_metric_leaves_no_score(scored: Callable[..., Any]) -> None:
    """What is there has points; the score is absent and says what is missing."""
    found = scored(rows(_COST))
    assert found["value"] is None
    assert found["metrics"][0]["points"] is not None
    named = {row["what"]["en"]: row["why"]["en"] for row in found["missing"]}
    assert named.keys() == {"Latency", "Throughput", "Quality", "Availability"}
    assert set(named.values()) == {"the profile gives it no metric"}


def test_an_absent_value_leaves_no_score(scored: Callable[..., Any]) -> None:
    """One-token answers have no ITL, nothing was scraped for energy: each with its reason."""
    score = complete()
    score["metrics"][0] |= {"metric": "itl_s"}
    score["metrics"][2] |= {"metric": "energy_per_token_j"}
    found = scored(score, tokens=1)
    assert found["value"] is None
    why = {row["what"]["en"]: row["why"]["en"] for row in found["missing"]}
    assert why["Inter-token latency (ITL)"] == "no value in the window"
    assert why["Energy per output token"] == "the server's series was not scraped"


def test_a_run_that_is_not_valid_has_no_score(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], profile: Callable[..., Any]
) -> None:
    """The points stand, the score is withheld."""
    run = hand_run([ok_row(float(k)) for k in range(10)], end=None)
    found = judge(run, profile(score=read(complete()), prices=_PRICES)).verdict["score"]
    assert found["value"] is None
    assert found["missing"][0]["why"]["en"] == "the run is not valid"


@pytest.mark.parametrize("metric", ["ttft_s", "itl_s"])
def test_failed_requests_that_reach_the_percentile_have_no_points(
    hand_run: Callable[..., Any],
    ok_row: Callable[..., Any],
    failed_row: Callable[..., Any],
    profile: Callable[..., Any],
    metric: str,
) -> None:
    """A TTFT of +∞ is worse than any worst bound, and so are tokens that never came."""
    run = hand_run([ok_row(0.0), failed_row(1.0), failed_row(2.0)])
    score = complete()
    score["metrics"][0]["metric"] = metric
    row = judge(run, profile(score=read(score))).verdict["score"]["metrics"][0]
    assert (row["value"], row["infinite"], row["points"]) == (None, True, 0.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metric": "tfft_s"}, 'did you mean "ttft_s"'),
        ({"dimension": "speed"}, "no dimension is named"),
        ({"target": 0.5}, "expected a target below the worst bound"),
        ({"statistic": "value"}, "expected statistic p50"),
        ({"coefficient": 2.5}, "less than or equal to 2"),
    ],
)
def test_a_score_that_can_not_be_made_is_refused(change: dict[str, Any], says: str) -> None:
    """Unknown names, a target on the wrong side, a coefficient out of 0.5 to 2."""
    score = complete()
    score["metrics"][0] |= change
    with pytest.raises(ValidationError, match=says):
        read(score)


def test_an_unknown_scenario_is_refused() -> None:
    """The nearest known name is given."""
    with pytest.raises(ValidationError, match='did you mean "batch"'):
        read({**complete(), "scenario": "bach"})


def test_a_profile_without_a_score_has_none(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """Nothing is made up: verdict.json holds null."""
    assert judge(hand_run([ok_row(0.0)])).verdict["score"] is None
    assert load_profile("base").score is None
    assert load_profile("realtime-chat").score is not None


def test_a_cost_is_in_the_currency_of_the_profile(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], profile: Callable[..., Any]
) -> None:
    """Limits and scores name it; other units stay as they are."""
    rules = profile(
        ("cost_per_request", "value", 1.0),
        ("request_rps", "value", 1.0),
        score=read(complete()),
        prices=_PRICES,
        currency="CNY",
    )
    verdict = judge(hand_run([ok_row(float(k)) for k in range(10)]), rules).verdict
    assert [row["unit"] for row in verdict["limits"]] == ["CNY", "1/s"]
    assert {row["metric"]: row["unit"] for row in verdict["score"]["metrics"]}[
        "cost_per_request"
    ] == "CNY"
    assert verdict["profile"]["currency"] == "CNY"
