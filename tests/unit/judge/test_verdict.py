"""Limits decided on runs where the right answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.judge.judgement import judge
from bench.judge.verdict import Result, Verdict, overall

Make = Callable[..., Any]


def row_of(run: Any, profile: Any) -> dict[str, Any]:
    """The only limit of a judged run."""
    (row,) = judge(run, profile).verdict["limits"]
    return row


@pytest.mark.parametrize(
    ("slow", "result"), [(0, "pass"), (10, "undecided"), (60, "fail")], ids=["none", "1 %", "6 %"]
)
def test_a_percentile_is_decided_by_counting(
    hand_run: Make, ok_row: Make, profile: Make, slow: int, result: str
) -> None:
    """Of 1,000 requests none, 1 % or 6 % over the bound pass, leave open or fail a P99."""
    every = 1000 // slow if slow else 0
    rows = [ok_row(k / 10, ttft_s=0.5 if every and k % every == 0 else 0.1) for k in range(1000)]
    found = row_of(hand_run(rows), profile(("ttft_s", "p99", 0.2)))
    assert (found["result"], found["n"]) == (result, 1000)
    assert (found["advice"] is None) is (result != "undecided")


def test_the_advice_is_enough(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """As many more good requests as the advice asks for decide the limit; 100 do not."""
    limit = profile(("ttft_s", "p99", 0.2))
    few = row_of(hand_run([ok_row(k / 10) for k in range(100)]), limit)
    assert few["result"] == "undecided"
    assert few["advice"]["en"] == "about 268 more requests would decide it"
    enough = row_of(hand_run([ok_row(k / 10) for k in range(100 + 268)]), limit)
    assert enough["result"] == "pass"


def test_a_value_at_the_bound_meets_it(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """ "<= 0.25 s" is met by 0.25 s exactly."""
    rows = [ok_row(float(k), ttft_s=0.25) for k in range(400)]
    assert row_of(hand_run(rows), profile(("ttft_s", "p99", 0.25)))["result"] == "pass"


def test_failures_are_over_every_latency_limit(
    hand_run: Make, ok_row: Make, failed_row: Make, profile: Make
) -> None:
    """5 % fast failures fail a P99 that every answer meets; its value is +∞."""
    rows = [failed_row(k / 10) if k % 20 == 0 else ok_row(k / 10) for k in range(1000)]
    found = row_of(hand_run(rows), profile(("e2e_s", "p99", 5.0)))
    assert (found["result"], found["value"]) == ("fail", None)
    assert "value" in found["infinite"]


def test_unknown_values_can_only_leave_a_limit_open(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """2 % aborted requests: P99 might be met by all of them or missed by all."""
    rows = [
        ok_row(k / 10, outcome="aborted", first_s=float("nan"), arrivals=[])
        if k % 50 == 0
        else ok_row(k / 10)
        for k in range(1000)
    ]
    found = row_of(hand_run(rows), profile(("ttft_s", "p99", 0.2)))
    assert (found["result"], found["unknown"]) == ("undecided", 20)


def test_correlated_requests_count_for_fewer(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """The same 2 % of slow requests in one burst say less than spread out."""
    limit = profile(("ttft_s", "p95", 0.2))
    spread = [ok_row(k / 10, ttft_s=0.5 if k % 50 == 0 else 0.1) for k in range(2000)]
    burst = [ok_row(k / 10, ttft_s=0.5 if 900 <= k < 940 else 0.1) for k in range(2000)]
    assert row_of(hand_run(spread), limit)["effective_n"] > 1900
    assert row_of(hand_run(burst), limit)["effective_n"] < 500


def test_a_tail_that_clusters_below_the_bound_is_correlated_all_the_same(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """None of 400 is over 1 s, but the slow ones come in one burst: not 400 independent proofs."""
    rows = [ok_row(k / 10, ttft_s=0.5 if 200 <= k < 220 else 0.1) for k in range(400)]
    found = row_of(hand_run(rows), profile(("ttft_s", "p99", 1.0)))
    assert (found["result"], found["effective_n"] < 200) == ("undecided", True)
    even = [ok_row(k / 10, ttft_s=0.5 if k % 20 == 0 else 0.1) for k in range(400)]
    assert row_of(hand_run(even), profile(("ttft_s", "p99", 1.0)))["result"] == "pass"


@pytest.mark.parametrize(("bound", "result"), [(0.2, "pass"), (0.1, "undecided"), (0.09, "fail")])
def test_means_are_decided_by_batch_means(
    hand_run: Make, ok_row: Make, profile: Make, bound: float, result: str
) -> None:
    """TTFTs between 80 and 120 ms: a mean of about 100 ms against three bounds."""
    drawn = np.random.default_rng(7).uniform(0.08, 0.12, 1000).tolist()
    rows = [ok_row(k / 10, ttft_s=ttft_s) for k, ttft_s in enumerate(drawn)]
    assert row_of(hand_run(rows), profile(("ttft_s", "mean", bound)))["result"] == result


def test_a_mean_with_many_unknown_values_is_open(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """5 % unknown values are too many to call a mean known."""
    rows = [ok_row(k / 10, outcome="aborted" if k % 20 == 0 else "ok") for k in range(400)]
    found = row_of(hand_run(rows), profile(("e2e_s", "mean", 10.0)))
    assert (found["result"], found["unknown"]) == ("undecided", 20)


LOST = [("e2e_s", "mean"), ("itl_s", "mean"), ("itl_s", "p99"), ("itl_s", "max")]


@pytest.mark.parametrize(("metric", "statistic"), LOST)
@pytest.mark.parametrize(
    ("lost", "n", "result"), [(0, 400, "pass"), (320, 400, "fail"), (1, 60, "undecided")]
)
def test_failing_fast_passes_nothing(
    hand_run: Make, ok_row: Make, failed_row: Make, profile: Make,
    metric: str, statistic: str, lost: int, n: int, result: str,
) -> None:  # fmt: skip
    """Four fifths failed at once: what the others took is no mean and no gap of all of them."""
    rows = [failed_row(k / 10) if k % n >= n - lost else ok_row(k / 10) for k in range(n)]
    found = row_of(hand_run(rows), profile((metric, statistic, 1.0)))
    if (statistic, lost) == ("max", 1):
        result = "fail"
    assert found["result"] == result
    assert ("value" in found["infinite"]) is (result == "fail")


def test_one_failure_of_a_thousand_leaves_a_mean_to_the_others(
    hand_run: Make, ok_row: Make, failed_row: Make, profile: Make
) -> None:
    """0.1 % is left to the error rate."""
    rows = [failed_row(k / 10) if k == 500 else ok_row(k / 10) for k in range(1000)]
    assert row_of(hand_run(rows), profile(("e2e_s", "mean", 1.0)))["result"] == "pass"


def test_gaps_of_requests_that_all_failed(hand_run: Make, failed_row: Make, profile: Make) -> None:
    """No token came: that is a fail and not "not applicable"."""
    rows = [failed_row(k / 10) for k in range(400)]
    assert row_of(hand_run(rows), profile(("itl_s", "p99", 1.0)))["result"] == "fail"


def test_a_window_without_requests_passes_nothing(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """All of the run is warm-up: no latency applies, and the server's calm proves nothing."""
    rows = [ok_row(float(k), phase="warmup") for k in range(20)]
    scrapes = [(float(k), "vllm:kv_cache_usage_perc", 0.1) for k in range(20)]
    limits = profile(("ttft_s", "p99", 1.0), ("kv_usage_max_fraction", "value", 0.95))
    verdict = judge(hand_run(rows, scrapes=scrapes), limits).verdict
    assert [row["result"] for row in verdict["limits"]] == ["undecided", "undecided"]
    assert verdict["verdict"] == "undecided"


@pytest.mark.parametrize(("length_s", "result"), [(600, "pass"), (595, "pass"), (300, "undecided")])
def test_a_limit_on_ten_minutes_takes_ten_minutes(
    hand_run: Make, ok_row: Make, profile: Make, length_s: int, result: str
) -> None:
    """Half of them decide nothing for the whole, however good; a fail needs no more."""
    rows = [ok_row(float(k)) for k in range(length_s)]
    limit = {"metric": "ttft_s", "statistic": "p50", "window_s": 600.0, "source": "§0"}
    assert row_of(hand_run(rows), profile(limits=({**limit, "bound": 0.2},)))["result"] == result
    assert row_of(hand_run(rows), profile(limits=({**limit, "bound": 0.05},)))["result"] == "fail"


@pytest.mark.parametrize(("bound", "result"), [(5, "pass"), (20, "fail")])
def test_rates_are_decided_on_the_seconds_of_the_window(
    hand_run: Make, ok_row: Make, profile: Make, bound: float, result: str
) -> None:
    """Ten requests a second for a minute are more than 5 and fewer than 20."""
    rows = [ok_row(k / 10) for k in range(600)]
    found = row_of(hand_run(rows), profile(("request_rps", "value", bound)))
    assert (found["result"], found["direction"]) == (result, "higher")


def test_a_rate_of_a_few_seconds_has_no_interval(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """Five seconds are no evidence of a rate, however high."""
    found = row_of(
        hand_run([ok_row(k / 100) for k in range(500)]), profile(("request_rps", "value", 1.0))
    )
    assert (found["result"], found["low"]) == ("undecided", None)


def test_an_error_rate_without_errors_is_not_proof_of_none(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """0 of 100 leaves < 0.1 % open and shows < 5 %."""
    rows = [ok_row(float(k)) for k in range(100)]
    strict = row_of(hand_run(rows), profile(("error_rate", "value", 0.001)))
    assert (strict["result"], strict["value"]) == ("undecided", 0.0)
    assert row_of(hand_run(rows), profile(("error_rate", "value", 0.05)))["result"] == "pass"


def test_itl_counts_tokens_and_clusters_by_request(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """10 % of requests stutter at each token: 4,000 tokens tell no more than their requests."""
    rows = [ok_row(k / 10, itl_s=0.05 if k % 100 < 10 else 0.02) for k in range(1000)]
    found = row_of(hand_run(rows), profile(("itl_s", "p95", 0.03)))
    assert (found["result"], found["n"]) == ("fail", 4000)
    assert found["effective_n"] < 1000


def test_itl_mean_and_max(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """Gaps of 20 ms: the mean and the largest are 20 ms."""
    run = hand_run([ok_row(k / 10) for k in range(200)])
    limits = profile(("itl_s", "mean", 0.021), ("itl_s", "max", 0.019))
    first, second = judge(run, limits).verdict["limits"]
    assert (first["result"], second["result"]) == ("pass", "fail")
    assert second["value"] == pytest.approx(0.02, rel=1e-5)


def test_a_percentile_of_what_should_be_high_looks_at_the_low_end(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """p05 of fluidity >= 0.9 holds when at least 95 % of requests are fluid."""
    deadlines = {"first_s": 0.2, "later_s": 0.03}
    limit = profile(("fluidity", "p05", 0.9), fluidity=deadlines)
    fluid = [ok_row(float(k)) for k in range(300)]
    rough = [ok_row(float(k), ttft_s=0.2 if k % 5 else 1.0) for k in range(300)]
    assert row_of(hand_run(fluid), limit)["result"] == "pass"
    assert row_of(hand_run(rough), limit)["result"] == "fail"


def test_a_limit_on_what_nobody_told_is_open_and_one_on_nothing_is_not_applicable(
    hand_run: Make, ok_row: Make, profile: Make
) -> None:
    """KV usage was not scraped: undecided.  Nothing failed, so recovery does not apply."""
    limits = profile(("kv_usage_max_fraction", "value", 0.95), ("recovery_s", "value", 300))
    verdict = judge(hand_run([ok_row(float(k)) for k in range(20)]), limits).verdict
    assert [row["result"] for row in verdict["limits"]] == ["undecided", "not_applicable"]
    assert verdict["limits"][0]["advice"]["en"] == "the server's series was not scraped"
    assert verdict["verdict"] == "undecided"


def test_only_targets_make_the_verdict(hand_run: Make, ok_row: Make, profile: Make) -> None:
    """A missed `excellent` level and a raised alert are listed and fail nothing."""
    rows = [ok_row(float(k)) for k in range(400)]
    limits = tuple(
        {"metric": "ttft_s", "statistic": "p99", "bound": bound, "level": level, "source": "§0"}
        for bound, level in ((0.2, "target"), (0.05, "excellent"), (0.06, "alert"))
    )
    verdict = judge(hand_run(rows), profile(limits=limits)).verdict
    assert [row["result"] for row in verdict["limits"]] == ["pass", "fail", "fail"]
    assert verdict["verdict"] == "pass"


@pytest.mark.parametrize(
    ("results", "valid", "verdict"),
    [
        ([], True, Verdict.NONE),
        ([Result.NOT_APPLICABLE], True, Verdict.NONE),
        ([Result.PASS, Result.NOT_APPLICABLE], True, Verdict.PASS),
        ([Result.PASS, Result.UNDECIDED], True, Verdict.UNDECIDED),
        ([Result.FAIL, Result.UNDECIDED], True, Verdict.FAIL),
        ([Result.PASS], False, Verdict.INVALID),
        ([Result.FAIL], False, Verdict.INVALID),
    ],
)
def test_a_run_is_as_good_as_its_worst_target(
    results: list[Result], valid: bool, verdict: Verdict
) -> None:
    """Fail before undecided before pass; nothing of a run that is not valid."""
    assert overall(results, valid) is verdict
