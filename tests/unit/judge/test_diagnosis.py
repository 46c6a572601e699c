"""Each rule of diagnosis: it fires on its evidence, is clear without, and unknown when unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.judge.diagnosis_rules import RULES
from bench.judge.judgement import judge

Labels = dict[str, str]
Scrape = tuple[float, str, str, Labels, float]

_CPU = "node_cpu_seconds_total"
_ENGINE = "http://s/metrics"


def gauge(name: str, *readings: float, source: str = _ENGINE, **labels: str) -> list[Scrape]:
    """One reading a second."""
    return [(float(k), source, name, labels, value) for k, value in enumerate(readings)]


def counter(name: str, grown: float, source: str = _ENGINE, **labels: str) -> list[Scrape]:
    """Grows by so much over the run's 20 s."""
    return [*gauge(name, 0.0, source=source, **labels), (20.0, source, name, labels, grown)]


def queue(mean_s: float) -> list[Scrape]:
    """vLLM's queue time histogram: a hundred requests with this mean."""
    name = "vllm:request_queue_time_seconds"
    return counter(f"{name}_sum", 100 * mean_s) + counter(f"{name}_count", 100.0)


def waiting(*readings: float) -> list[Scrape]:
    return gauge("vllm:num_requests_waiting", *readings)


def running(*readings: float) -> list[Scrape]:
    return gauge("vllm:num_requests_running", *readings)


def kv(*readings: float) -> list[Scrape]:
    return gauge("vllm:kv_cache_usage_perc", *readings)


def preempted(count: float) -> list[Scrape]:
    return counter("vllm:num_preemptions_total", count)


def device(share: float) -> list[Scrape]:
    return gauge("DCGM_FI_PROF_GR_ENGINE_ACTIVE", share, share, source="d", gpu="0")


def cpu(busy: float) -> list[Scrape]:
    return [
        row
        for mode, share in (("user", busy), ("idle", 1 - busy))
        for row in counter(_CPU, 20 * share, source="h", cpu="0", mode=mode)
    ]


@pytest.fixture
def results(hand_run: Callable[..., Any], profile: Callable[..., Any]) -> Callable[..., Any]:
    """Result of every rule for some rows and scrapes, under limits on TTFT and TPOT."""
    limits = (("ttft_s", "p50", 0.2), ("tpot_s", "p50", 0.05))

    def make(rows: list[dict[str, Any]], scrapes: list[Scrape], **fields: Any) -> dict[str, str]:
        run = hand_run(rows, labelled=scrapes, **fields)
        found = judge(run, profile(*limits)).summary["diagnosis"]
        return {row["rule"]: row["result"] for row in found}

    return make


@pytest.fixture
def rows_of(ok_row: Callable[..., Any]) -> Callable[..., list[dict[str, Any]]]:
    """Forty requests over 20 s, or `n` of them at the same rate."""
    return lambda n=40, **fields: [ok_row(k / 2, **fields) for k in range(n)]


def ceiling(fraction: float) -> dict[str, Any]:
    return {"manifest": {"workload": {"ceiling": {"tokens_fraction": fraction}}}}


SLOW_FIRST = {"ttft_s": 0.4}
SLOW_TOKENS = {"itl_s": 0.08}
HALF_HIT = {"prompt_tokens": 100, "cached_tokens": 50}

# rule, evidence that makes it fire, evidence that makes it clear: (row fields, scrapes, fields).
BY_SCRAPES = [
    ("ttft_queue", (SLOW_FIRST, queue(0.3), {}), (SLOW_FIRST, queue(0.1), {})),
    ("ttft_queue", (SLOW_FIRST, waiting(0.8, 0.8), {}), (SLOW_FIRST, waiting(0.0, 0.0), {})),
    ("ttft_prefill", (SLOW_FIRST, queue(0.01), {}), ({}, queue(0.01), {})),
    (
        "tpot_memory",
        (SLOW_TOKENS, kv(0.5, 0.97) + preempted(3.0), {}),
        (SLOW_TOKENS, kv(0.5, 0.97) + preempted(0.0), {}),
    ),
    (
        "tpot_bandwidth",
        (SLOW_TOKENS, waiting(3, 3, 0) + running(8, 8, 8) + kv(0.6), {}),
        (SLOW_TOKENS, waiting(0, 0, 3) + running(8, 8, 8) + kv(0.6), {}),
    ),
    (
        "held_between",
        ({"n": 400, "ttft_s": 2.0}, running(*[1] * 10) + waiting(0, 0), {}),
        ({"n": 400, "ttft_s": 2.0}, running(*[4] * 10) + waiting(0, 0), {}),
    ),
    ("cache_eviction", (HALF_HIT, kv(0.99), ceiling(0.8)), (HALF_HIT, kv(0.4), ceiling(0.8))),
    ("cache_routing", (HALF_HIT, kv(0.4), ceiling(0.8)), (HALF_HIT, kv(0.4), ceiling(0.52))),
    ("device_idle", ({}, device(0.3) + waiting(0, 0), {}), ({}, device(0.3) + waiting(9, 9), {})),
    ("server_cpu", ({}, cpu(0.97) + device(0.5), {}), ({}, cpu(0.97) + device(0.9), {})),
]


@pytest.mark.parametrize(("rule", "fires", "clear"), BY_SCRAPES, ids=[row[0] for row in BY_SCRAPES])
def test_a_rule_on_scrapes_fires_or_does_not(
    results: Callable[..., Any], rows_of: Callable[..., Any], rule: str, fires: Any, clear: Any
) -> None:
    """It fires on its evidence, is clear on the opposite, and never fires with nothing scraped."""
    for (fields, scrapes, more), expected in ((fires, "fires"), (clear, "clear")):
        assert results(rows_of(**fields), scrapes, **more)[rule] == expected
    fields, _, more = fires
    assert results(rows_of(**fields), [], **more)[rule] == "unknown"


@pytest.mark.parametrize(
    ("rule", "failure"),
    [
        ("admission_limit", {"error_class": "http_429"}),
        ("admission_limit", {"error_class": "http_503"}),
        ("resets", {"error_class": "disconnected_mid_body"}),
        ("timeouts", {"error_class": "first_byte_timeout"}),
        ("out_of_memory", {"error_class": "http_500", "error_text": "CUDA out of memory."}),
    ],
)
def test_a_rule_on_errors_fires_on_its_class_only(
    results: Callable[..., Any], rows_of: Callable[..., Any], rule: str, failure: dict[str, Any]
) -> None:
    """One failure of its class in 40 fires it, one of another class does not."""
    gone = {"intended_s": 3.1, "sent_s": 3.1, "done_s": 3.2, "outcome": "failed"}
    assert results([*rows_of(), {**gone, **failure}], [])[rule] == "fires"
    assert results([*rows_of(), {**gone, "error_class": "not_json"}], [])[rule] == "clear"


def test_a_request_sent_again_after_a_reset_counts(
    results: Callable[..., Any], rows_of: Callable[..., Any]
) -> None:
    """A reset that was healed by sending again is still a reset."""
    assert results(rows_of(reconnects=1), [])["resets"] == "fires"


def test_no_planned_request_tells_nothing_of_errors(results: Callable[..., Any]) -> None:
    """An empty run has no share of failures: unknown, which is not clear."""
    found = results([], [])
    for rule in ("admission_limit", "resets", "timeouts"):
        assert found[rule] == "unknown"


def test_the_client_is_named_when_it_broke_its_rules(
    results: Callable[..., Any], rows_of: Callable[..., Any]
) -> None:
    """A client that sent late is its own cause; one that is on time is not."""
    assert results(rows_of(sent_s=99.0), [])["client_bound"] == "fires"
    assert results(rows_of(), [])["client_bound"] == "clear"


def test_a_rule_says_what_it_saw_and_what_is_missing(
    hand_run: Callable[..., Any], rows_of: Callable[..., Any]
) -> None:
    """Without a profile TTFT is held against §4.4's 500 ms; the queue's share is missing."""
    found = judge(hand_run(rows_of(ttft_s=0.7))).summary["diagnosis"]
    row = next(each for each in found if each["rule"] == "ttft_queue")
    ttft, share = row["evidence"]
    assert (ttft["value"], ttft["threshold"]) == (pytest.approx(0.7), 0.5)
    assert (ttft["met"], share["met"], share["value"]) == (True, None, None)
    assert row["result"] == "unknown"


def test_the_good_set_is_a_limit_too(
    hand_run: Callable[..., Any], rows_of: Callable[..., Any], profile: Callable[..., Any]
) -> None:
    """A profile that limits TTFT in its good set alone is held to that."""
    rules = profile(good={"limits": ({"metric": "ttft_s", "bound": 0.3},)})
    found = judge(hand_run(rows_of(), labelled=queue(0.0)), rules).summary["diagnosis"]
    ttft = found[0]["evidence"][0]
    assert (ttft["threshold"], ttft["met"]) == (0.3, False)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_is_in_both_languages_and_names_its_source(rule: Any) -> None:
    """Symptom, cause, next step and the titles of the evidence are Chinese and English."""
    texts = [rule.symptom, rule.cause, rule.next_step, *(c.title for c in rule.conditions)]
    for text in texts:
        assert not any("一" <= letter <= "鿿" for letter in text.en)
        assert text.zh == text.en or any("一" <= letter <= "鿿" for letter in text.zh)
    assert rule.source
    assert rule.conditions
