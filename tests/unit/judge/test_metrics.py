"""The table, and each metric on requests whose values are known by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UsageError
from bench.judge import metrics
from bench.judge.judgement import judge
from bench.judge.metric import ABSENT, Absence, Scope

_ROOT = Path(__file__).parents[3]


def values(run: Any, profile: Any = None) -> dict[str, Any]:
    return judge(run, profile).summary["metrics"]


def test_the_document_is_the_table() -> None:
    """docs/metrics.md is what `bench metrics --markdown` prints."""
    assert (_ROOT / "docs" / "metrics.md").read_text() == metrics.markdown()


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
def test_every_row_is_complete(metric: Any) -> None:
    """A metric has words in both languages, a unit, a formula, a source, and one way to compute."""
    for text in metrics.as_json(metric).values():
        assert text.strip()
    assert any("一" <= letter <= "鿿" for letter in metric.title_zh)
    assert (metric.request is not None) == (metric.scope is Scope.REQUEST)
    assert (metric.run is not None) == (metric.scope is Scope.RUN)
    assert (metric.kind is not None) == (metric.scope is Scope.RUN)


def test_every_absence_has_words() -> None:
    """Why a value is missing can be said in both languages."""
    assert set(ABSENT) == set(Absence)


_SYMBOLS = {
    "accelerators", "body", "end", "first", "intended", "last", "output", "output_tokens", "sent",
}  # fmt: skip
"""Names that formulas in both languages use."""


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
def test_a_formula_in_words_is_in_both_languages(metric: Any) -> None:
    """A formula without a Chinese one is made of names that need no translation."""
    names = set(re.findall(r"[a-z_]{3,}", metric.formula)) - metrics.METRICS.keys()
    if metric.formula_zh:
        assert any("一" <= letter <= "鿿" for letter in metric.formula_zh)
        assert metric.definition.zh == metric.formula_zh
    else:
        assert names <= _SYMBOLS | {"e2e"}
        assert metric.definition.zh == metric.formula


def test_fluidity_without_deadlines_applies_to_nothing(
    hand_run: Callable[..., Any],
    ok_row: Callable[..., Any],
    failed_row: Callable[..., Any],
    profile: Callable[..., Any],
) -> None:
    """A failed request is 0 % fluid where there are deadlines, and has no fluidity without."""
    run = hand_run([ok_row(0.0), failed_row(1.0)])
    without = values(run)["fluidity"]
    assert (without["n"], without["not_applicable"], without["min"]) == (0, 2, None)
    found = values(run, profile(fluidity={"first_s": 1.0, "later_s": 1.0}))["fluidity"]
    assert (found["n"], found["not_applicable"], found["min"]) == (2, 0, 0.0)


def test_an_unknown_metric_names_the_nearest() -> None:
    """`bench metrics ttft` is answered with ttft_s."""
    with pytest.raises(UsageError) as wrong:
        metrics.metric_named("ttft")
    assert "ttft_s" in wrong.value.hint


def test_latencies_count_from_the_intended_start(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """A request sent 0.3 s late has 0.3 s more TTFT and E2E than from its send."""
    row = ok_row(1.0, ttft_s=0.5, itl_s=0.1, tokens=5, sent_s=1.3)
    frame = judge(hand_run([row])).requests.iloc[0]
    assert frame["ttft_s"] == pytest.approx(0.5)
    assert frame["ttft_from_send_s"] == pytest.approx(0.2)
    assert frame["schedule_lag_s"] == pytest.approx(0.3)
    assert frame["e2e_s"] == pytest.approx(0.9)
    assert frame["tpot_s"] == pytest.approx(0.1)
    assert frame["normalized_latency_s"] == pytest.approx(0.18)


def test_one_token_has_no_tpot(hand_run: Callable[..., Any], ok_row: Callable[..., Any]) -> None:
    """TPOT of a one-token answer is not applicable: not 0, and not unknown."""
    row = values(hand_run([ok_row(0.0, tokens=1), ok_row(1.0, tokens=3)]))["tpot_s"]
    assert (row["n"], row["not_applicable"], row["unknown"]) == (1, 1, 0)
    assert row["min"] == pytest.approx(0.02)


def test_failing_fast_does_not_improve_a_percentile(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any]
) -> None:
    """A failure after 1 ms ranks as +∞; the mean is over the others."""
    row = values(hand_run([ok_row(0.0), ok_row(1.0), ok_row(2.0), failed_row(3.0, 0.001)]))["e2e_s"]
    assert (row["n"], row["infinite_n"], row["infinite"]) == (
        4,
        1,
        ["p90", "p95", "p99", "p999", "max"],
    )
    assert row["p99"] is None
    assert row["mean"] == pytest.approx(0.18)


def test_a_failure_after_one_token_is_no_request_of_one_token(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """A stream that broke after its first token ranks as +∞ in TPOT: it is not left out."""
    broken = ok_row(1.0, tokens=1, outcome="failed", error_class="reset")
    row = values(hand_run([ok_row(0.0), broken]))["tpot_s"]
    assert (row["n"], row["infinite_n"], row["not_applicable"]) == (2, 1, 0)


def test_what_the_end_cut_off_is_unknown(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """An aborted request keeps its TTFT and has no E2E, although its last read has a time."""
    found = values(hand_run([ok_row(0.0), ok_row(1.0, outcome="aborted")]))
    assert (found["ttft_s"]["n"], found["ttft_s"]["unknown"]) == (2, 0)
    assert (found["e2e_s"]["n"], found["e2e_s"]["unknown"]) == (1, 1)


def test_goodput_counts_what_met_every_limit(
    hand_run: Callable[..., Any],
    ok_row: Callable[..., Any],
    failed_row: Callable[..., Any],
    profile: Callable[..., Any],
) -> None:
    """Slow first token, slow tokens, a failure and a drop miss; one token has no TPOT to miss."""
    good = {
        "limits": (
            {"metric": "ttft_s", "bound": 0.2},
            {"metric": "tpot_s", "bound": 0.05},
        )
    }
    rows = [
        ok_row(0.0),
        ok_row(1.0, tokens=1),
        ok_row(2.0, ttft_s=0.3),
        ok_row(3.0, itl_s=0.06),
        failed_row(4.0),
        {"intended_s": 5.0, "outcome": "dropped"},
    ]
    found = judge(hand_run(rows), profile(good=good)).summary
    assert found["metrics"]["goodput_fraction"]["value"] == pytest.approx(2 / 6)
    assert found["metrics"]["slo_attainment"]["value"] == pytest.approx(3 / 6)
    alone = {row["metric"]: row["value"] for row in found["slo_attainment"]}
    assert alone == pytest.approx({"ttft_s": 3 / 6, "tpot_s": 3 / 6, None: 2 / 6})


def test_an_unknown_value_is_never_good(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], profile: Callable[..., Any]
) -> None:
    """An aborted request leaves goodput undecided: it lowers the value and not the upper end."""
    good = {"limits": ({"metric": "e2e_s", "bound": 1.0},)}
    rows = [*(ok_row(float(k)) for k in range(9)), ok_row(9.0, outcome="aborted")]
    row = judge(hand_run(rows), profile(good=good)).summary["metrics"]["goodput_fraction"]
    assert row["value"] == pytest.approx(0.9)
    assert row["high"] == 1.0


def test_error_and_timeout_rates_are_of_all_planned(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any]
) -> None:
    """Two failures of four, one of them a timeout."""
    rows = [ok_row(0.0), ok_row(1.0), failed_row(2.0), failed_row(3.0, error_class="idle_timeout")]
    found = values(hand_run(rows))
    assert found["error_rate"]["value"] == 0.5
    assert found["timeout_rate"]["value"] == 0.25
    assert found["request_availability"]["value"] == 0.5


def test_availability_is_of_seconds_that_tell(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any]
) -> None:
    """Three seconds with a success, one with nothing but a failure, silence in between."""
    rows = [ok_row(0.0), ok_row(1.0), failed_row(2.0), ok_row(6.0)]
    row = values(hand_run(rows))["availability"]
    assert (row["value"], row["n"]) == (0.75, 4)


def test_a_server_that_hangs_is_not_available(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any]
) -> None:
    """Ten silent seconds with a request that times out count; with one that is only slow, none."""
    hung = values(hand_run([ok_row(0.0), failed_row(1.0, 9.5, "idle_timeout"), ok_row(11.0)]))
    assert (hung["availability"]["value"], hung["availability"]["n"]) == (pytest.approx(2 / 12), 12)
    slow = values(hand_run([ok_row(0.0), ok_row(1.0, ttft_s=9.5), ok_row(11.0)]))
    assert (slow["availability"]["value"], slow["availability"]["n"]) == (1.0, 3)


def test_recovery_is_the_longest_outage(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any]
) -> None:
    """From the first of three failures to the next success; without one it has no end."""
    rows = [ok_row(0.0), failed_row(1.0), failed_row(2.0), failed_row(3.0), ok_row(4.0)]
    assert values(hand_run(rows))["recovery_s"]["value"] == pytest.approx(4.18 - 1.01)
    assert values(hand_run(rows[:2]))["recovery_s"]["value"] is None
    assert values(hand_run(rows[:1]))["recovery_s"]["absent"]["en"] == "nothing failed"


def test_jitter_is_the_spread_of_the_medians_of_equal_parts(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """Latency that doubles half way: 20 medians, ten of 0.18 s and ten of 0.36 s."""
    rows = [ok_row(k / 10, ttft_s=0.1 if k < 100 else 0.28) for k in range(200)]
    medians = np.repeat([0.18, 0.36], 10)
    row = values(hand_run(rows))["jitter"]
    assert row["value"] == pytest.approx(medians.std(ddof=1) / medians.mean(), rel=1e-3)
    assert values(hand_run(rows[:30]))["jitter"]["value"] is None


def test_burst_degradation_compares_with_the_time_before(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """Ten times the arrivals and 1.5 times the latency for five seconds: + 50 %."""
    calm = [ok_row(k / 5, ttft_s=0.12) for k in range(100)]
    burst = [ok_row(20 + k / 50, ttft_s=0.22) for k in range(250)]
    after = [ok_row(25 + k / 5, ttft_s=0.12) for k in range(25)]
    row = values(hand_run([*calm, *burst, *after]))["burst_degradation"]
    assert row["value"] == pytest.approx(0.5, abs=1e-6)
    assert values(hand_run(calm))["burst_degradation"]["value"] is None


@pytest.mark.parametrize(("arrivals", "is_burst"), [(19, False), (20, True)])
def test_a_burst_is_more_than_chance(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], arrivals: int, is_burst: bool
) -> None:
    """With 5 in five seconds, over 10 + 3 √10 = 19.5: so many hardly ever come by chance."""
    calm = [ok_row(float(k)) for k in range(20)]
    crowd = [ok_row(20 + 5 * k / arrivals) for k in range(arrivals)]
    after = [ok_row(25.0 + k) for k in range(10)]
    row = values(hand_run([*calm, *crowd, *after]))["burst_degradation"]
    assert (row["value"] is not None) == is_burst


def test_shedding_a_burst_is_a_degradation(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any]
) -> None:
    """Requests of the burst that were refused at once count as slower than any."""
    calm = [ok_row(k / 5) for k in range(100)]
    burst = [failed_row(20 + k / 50) if k % 5 else ok_row(20 + k / 50) for k in range(250)]
    found = values(hand_run([*calm, *burst, *(ok_row(25 + k / 5) for k in range(25))]))
    for name in ("burst_degradation", "latency_spread"):
        assert (found[name]["value"], found[name]["absent"]) == (None, None)


def test_jitter_of_a_stretch_that_failed_has_no_bound(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any],
    profile: Callable[..., Any],
) -> None:  # fmt: skip
    """A tenth of the window in which nearly all failed: its median is +∞, and so a limit fails."""
    rows = [failed_row(k / 10) if 100 <= k < 120 else ok_row(k / 10) for k in range(200)]
    judged = judge(hand_run(rows), profile(("jitter", "value", 0.1)))
    assert [row["result"] for row in judged.verdict["limits"]] == ["fail"]


def test_cost_needs_prices(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], profile: Callable[..., Any]
) -> None:
    """Two accelerators at 1.8 an hour cost 0.001 a second; without prices there is no cost."""
    rows = [ok_row(float(k)) for k in range(20)]
    prices = {"accelerators": 2, "per_accelerator_hour": 1.8}
    found = values(hand_run(rows), profile(prices=prices))
    assert found["cost_per_request"]["value"] == pytest.approx(
        0.001 / found["request_rps"]["value"]
    )
    assert values(hand_run(rows), profile())["cost_per_request"]["value"] is None


def test_definitions_of_other_tools_stand_side_by_side(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """A role frame 50 ms after the send is vLLM's first token and nobody else's."""
    row = ok_row(1.0, ttft_s=0.5, itl_s=0.1, tokens=5, sent_s=1.2, role_s=1.25)
    found = judge(hand_run([row])).summary["definitions"]
    assert found["bench"]["ttft"]["p50"] == pytest.approx(0.5)
    assert found["guidellm"]["ttft"]["p50"] == pytest.approx(0.3)
    assert found["vllm"]["ttft"]["p50"] == pytest.approx(0.05)
    assert found["vllm"]["itl"]["n"] == 5
    assert found["sglang"]["itl"]["n"] == 4
    assert found["guidellm"]["tpot"]["p50"] == pytest.approx(0.7 / 5)
    assert found["aiperf"]["tpot"]["p50"] == pytest.approx(0.1)
