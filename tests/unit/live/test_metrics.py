"""A run in progress as Prometheus metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bench.conduct.tally import Totals
from bench.errors import UsageError
from bench.live.metrics import Endpoint, LiveMetrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: LiveMetrics) -> Samples:
    """What a scrape reads."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def metrics(ready: Callable[..., Any]) -> LiveMetrics:
    """A run of 100 requests that has begun."""
    made = LiveMetrics()
    made.began(Path("reports/20260101T120000Z-chat-1f3a"), ready(requests=100))
    return made


def test_before_a_run_there_is_nothing() -> None:
    """An endpoint that is up before the run begins shows no series, so no zeros are stored."""
    assert samples(LiveMetrics()) == {}


def test_before_the_first_second_only_the_plan_is_known(metrics: LiveMetrics) -> None:
    """Counts that are not known yet are absent."""
    assert {name for name, _ in samples(metrics)} == {"bench_run_info", "bench_planned_requests"}


def test_outcomes_and_classes_are_counted(metrics: LiveMetrics) -> None:
    """Each total stands under its outcome, each failure under its class."""
    totals = Totals(due=9, sent=8, ok=4, failed=3, dropped=1, aborted=0, running=1)
    totals.failed_by_class = {"http_503": 2, "timeout": 1}
    metrics.second(totals, 3.0)
    found = samples(metrics)
    outcomes = {labels: v for (name, labels), v in found.items() if name == "bench_requests_total"}
    assert outcomes == {
        (("outcome", "ok"),): 4,
        (("outcome", "failed"),): 3,
        (("outcome", "dropped"),): 1,
        (("outcome", "aborted"),): 0,
    }
    assert found["bench_failures_total", (("class", "http_503"),)] == 2
    assert found["bench_requests_due_total", ()] == 9
    assert found["bench_requests_running", ()] == 1
    assert found["bench_elapsed_seconds", ()] == 3.0


def test_latencies_are_cumulative_histograms(metrics: LiveMetrics) -> None:
    """Every answer is counted once, in all buckets from its own on, over all seconds."""
    metrics.second(Totals(ttft_s=[0.09, 0.11]), 1.0)
    metrics.second(Totals(ttft_s=[100.0]), 2.0)
    found = samples(metrics)
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in found.items()
        if name == "bench_ttft_seconds_bucket"
    }
    assert (buckets[0.05], buckets[0.1], buckets[0.15], buckets[60.0]) == (0, 1, 2, 2)
    assert buckets[math.inf] == found["bench_ttft_seconds_count", ()] == 3
    assert found["bench_ttft_seconds_sum", ()] == pytest.approx(100.2)


def test_a_judged_run_tells_its_values_and_its_verdict(metrics: LiveMetrics) -> None:
    """Known values are told, infinite ones as +Inf, unknown ones not at all."""
    summary = {
        "metrics": {
            "ttft_s": {"n": 9, "p50": 0.1, "p99": None, "infinite": ["p99"]},
            "goodput_rps": {"value": None, "low": None, "high": None},
        }
    }
    metrics.conclude(summary, {"verdict": "fail", "valid": True})
    found = samples(metrics)
    results = {labels: v for (name, labels), v in found.items() if name == "bench_result"}
    assert results == {
        (("metric", "ttft_s"), ("statistic", "p50")): 0.1,
        (("metric", "ttft_s"), ("statistic", "p99")): math.inf,
    }
    assert found["bench_verdict", (("verdict", "fail"),)] == 1
    assert found["bench_verdict", (("verdict", "pass"),)] == 0
    assert found["bench_valid", ()] == 1


def test_the_next_run_begins_anew(metrics: LiveMetrics, ready: Callable[..., Any]) -> None:
    """Where several runs are made after each other, none shows another's numbers."""
    metrics.second(Totals(ok=5, ttft_s=[0.1]), 1.0)
    metrics.conclude({"metrics": {}}, {"verdict": "none", "valid": True})
    metrics.began(Path("reports/next"), ready(duration_s=30.0))
    found = samples(metrics)
    assert {name for name, _ in found} == {"bench_run_info", "bench_planned_seconds"}


def test_series_stay_few(metrics: LiveMetrics) -> None:
    """However many requests a run has, its series are bounded by outcomes, classes and buckets."""
    for second in range(50):
        values_s = [0.001 * step for step in range(second)]
        metrics.second(Totals(ok=second, ttft_s=values_s, tpot_s=values_s, e2e_s=values_s), 1.0)
    assert len(samples(metrics)) < 100


def test_a_port_that_is_taken_is_told(metrics: LiveMetrics) -> None:
    """The second endpoint on a port is refused with the address, before anything is sent."""
    with Endpoint(metrics, "127.0.0.1", 0) as endpoint:
        port = int(endpoint.url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: Address already in use"):
            Endpoint(metrics, "127.0.0.1", port)
