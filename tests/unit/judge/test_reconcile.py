"""Client and server side by side, on runs whose figures are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.judge.judgement import judge

Make = Callable[..., Any]
VLLM = {
    "request_success_total": 4,
    "prompt_tokens_total": 400,
    "generation_tokens_total": 20,
    "prompt_tokens_cached_total": 100,
    "prefix_cache_queries_total": 400,
    "prefix_cache_hits_total": 100,
}


def scraped(**grown: float) -> list[tuple[float, str, float]]:
    """vLLM's counters at 10 before the run and grown by `grown` after it, and `up`."""
    found = [(at_s, "up", 1.0) for at_s in (-0.5, 9.5)]
    for name, growth in grown.items():
        found += [(-0.5, f"vllm:{name}", 10.0), (9.5, f"vllm:{name}", 10.0 + growth)]
    return found


def histogram(name: str, buckets: dict[str, float], total: float) -> list[tuple[Any, ...]]:
    """A histogram that was empty before the run; `buckets` is cumulative by `le`."""
    rows: list[tuple[Any, ...]] = []
    for at_s, factor in ((-0.5, 0.0), (9.5, 1.0)):
        for le, count in buckets.items():
            rows.append((at_s, "s", f"vllm:{name}_bucket", {"le": le}, count * factor))
        rows.append((at_s, "s", f"vllm:{name}_sum", {}, total * factor))
        rows.append((at_s, "s", f"vllm:{name}_count", {}, list(buckets.values())[-1] * factor))
        rows.append((at_s, "s", "up", {}, 1.0))
    return rows


@pytest.fixture
def reconciled(hand_run: Make, ok_row: Make) -> Make:
    """The `reconciliation` of 4 requests of 5 tokens: TTFT 100 ms, 20 ms between tokens."""

    def make(**fields: Any) -> Any:
        rows = [ok_row(float(at_s), prompt_tokens=100, cached_tokens=25) for at_s in range(4)]
        run = hand_run(fields.pop("rows", rows), **fields)
        return judge(run).summary["reconciliation"]

    return make


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows}


def test_equal_counts(reconciled: Make) -> None:
    """Requests, prompt, output and cached tokens are equal, and nothing is remarked."""
    found = reconciled(scrapes=scraped(**VLLM))
    counts = by_name(found["counts"])
    assert {name: row["equal"] for name, row in counts.items()} == dict.fromkeys(
        ("requests", "prompt_tokens", "output_tokens", "cached_tokens"), True
    )
    assert (counts["output_tokens"]["client"], counts["output_tokens"]["server"]) == (20, 20)
    assert found["remarks"] == []


def test_other_traffic_is_found(reconciled: Make) -> None:
    """What the server counted beyond this run is other traffic, by requests and tokens."""
    found = reconciled(
        scrapes=scraped(**VLLM | {"request_success_total": 6, "prompt_tokens_total": 450})
    )
    counts = by_name(found["counts"])
    assert counts["requests"]["other"] == 2
    assert counts["prompt_tokens"]["other"] == 50
    assert counts["output_tokens"]["other"] == 0
    assert "requests +2" in found["remarks"][0]["en"]


def test_missing_counts_ask_for_the_other_replicas(reconciled: Make) -> None:
    """A server that counted less was not scraped whole."""
    found = reconciled(scrapes=scraped(**VLLM | {"generation_tokens_total": 12}))
    assert by_name(found["counts"])["output_tokens"]["missing"] == 8
    assert "replicas" in found["remarks"][0]["en"]


def test_a_failed_request_may_be_counted_or_not(reconciled: Make, ok_row: Make) -> None:
    """Servers differ in what they count as finished: anything from ok to sent is equal."""
    rows = [ok_row(float(at_s)) for at_s in range(3)]
    rows.append({"intended_s": 3.0, "sent_s": 3.0, "outcome": "failed", "error_class": "stall"})
    for finished in (3, 4):
        found = reconciled(rows=rows, scrapes=scraped(request_success_total=finished))
        assert by_name(found["counts"])["requests"]["equal"]


def test_a_server_that_counts_cached_tokens_apart(hand_run: Make, ok_row: Make) -> None:
    """llama.cpp's prompt tokens are the computed ones: cached ones are added."""
    rows = [ok_row(float(at_s), prompt_tokens=100, cached_tokens=25) for at_s in range(4)]
    scrapes = [
        (at_s, f"llamacpp:{name}", factor * value)
        for at_s, factor in ((-0.5, 0.0), (9.5, 1.0))
        for name, value in (("prompt_tokens_total", 300.0), ("prompt_tokens_cached_total", 100.0))
    ]
    summary = judge(hand_run(rows, scrapes=scrapes)).summary
    counts = by_name(summary["reconciliation"]["counts"])
    assert counts["prompt_tokens"]["server"] == 400
    assert counts["requests"]["server"] is None
    assert summary["cache"]["server"] == 0.25


def test_ttft_lies_outside_the_engine(reconciled: Make) -> None:
    """The difference of the means has a name, and the server's quantiles are buckets."""
    labelled = histogram("time_to_first_token_seconds", {"0.04": 0, "0.1": 4, "+Inf": 4}, 0.32)
    ttft = by_name(reconciled(labelled=labelled)["latencies"])["ttft"]
    assert ttft["client"]["mean_s"] == pytest.approx(0.1)
    assert ttft["server"]["mean_s"] == pytest.approx(0.08)
    assert ttft["difference_s"] == pytest.approx(0.02)
    assert "outside the engine" in ttft["between"]["en"]
    assert ttft["server"]["p99_s"] == [0.04, 0.1]
    assert ttft["same_requests"] is True


def test_the_highest_bucket_has_no_upper_end(reconciled: Make) -> None:
    """A quantile above the last bound is only known from below."""
    labelled = histogram("time_to_first_token_seconds", {"0.04": 0, "+Inf": 4}, 0.32)
    ttft = by_name(reconciled(labelled=labelled)["latencies"])["ttft"]
    assert ttft["server"]["p50_s"] == [0.04, None]


def test_means_of_other_requests_are_marked(reconciled: Make) -> None:
    """A histogram of more requests than ours is not of the same ones."""
    labelled = histogram("time_to_first_token_seconds", {"0.1": 9, "+Inf": 9}, 0.7)
    ttft = by_name(reconciled(labelled=labelled)["latencies"])["ttft"]
    assert ttft["same_requests"] is False


def test_what_only_the_server_knows(reconciled: Make, ok_row: Make) -> None:
    """Queue and prefill have no view of ours, but what the answers say of each request."""
    labelled = histogram("request_queue_time_seconds", {"0.3": 4, "+Inf": 4}, 0.008)
    rows = [ok_row(float(at_s), server_queue_s=0.003) for at_s in range(4)]
    queue = by_name(reconciled(rows=rows, labelled=labelled)["latencies"])["queue"]
    assert queue["client"] is None
    assert queue["difference_s"] is None
    assert queue["server"]["mean_s"] == pytest.approx(0.002)
    assert queue["answers_mean_s"] == pytest.approx(0.003)


def test_steps_of_several_tokens_explain_the_gap(reconciled: Make) -> None:
    """Half as many gaps, each twice as long, are two tokens a step and the same per token."""
    labelled = histogram("inter_token_latency_seconds", {"0.05": 8, "+Inf": 8}, 8 * 0.04)
    itl = reconciled(labelled=labelled)["itl"]
    assert (itl["client_gaps"], itl["server_gaps"]) == (16, 8)
    assert itl["client_token_mean_s"] == pytest.approx(0.02)
    assert itl["server_step_mean_s"] == pytest.approx(0.04)
    assert itl["tokens_per_step"] == 2
    assert itl["server_token_mean_s"] == pytest.approx(0.02)


def test_speculation_preemptions_and_waiting(reconciled: Make) -> None:
    """Acceptance, tokens of a step, preemptions and the queue, where the server tells them."""
    scrapes = scraped(
        spec_decode_num_drafts_total=10,
        spec_decode_num_draft_tokens_total=30,
        spec_decode_num_accepted_tokens_total=15,
        num_preemptions_total=3,
    )
    scrapes += [(at_s, "vllm:num_requests_waiting", at_s) for at_s in (1.0, 2.0, 6.0)]
    found = reconciled(scrapes=scrapes)
    assert found["speculation"] == {"acceptance_fraction": 0.5, "tokens_per_step": 2.5}
    assert found["preemptions"] == 3
    assert found["waiting"] == {"mean": 3.0, "max": 6.0}


def test_without_a_server_everything_is_absent(reconciled: Make) -> None:
    """No metrics: the client's figures stand alone, and it is said."""
    found = reconciled()
    assert all(row["server"] is None for row in found["latencies"] + found["counts"])
    assert found["itl"] is found["speculation"] is found["waiting"] is found["preemptions"] is None
    assert "No server metrics" in found["remarks"][0]["en"]


def test_a_counter_born_in_the_run_counts_from_nothing(hand_run: Make, ok_row: Make) -> None:
    """A labelled counter that appears after the first scrape keeps its first value."""
    born = "sglang:cached_tokens_total"
    labelled: list[tuple[Any, ...]] = [(at_s, "s", "up", {}, 1.0) for at_s in (-0.5, 1.0, 9.5)]
    labelled += [
        (at_s, "s", "sglang:prompt_tokens_total", {}, value)
        for at_s, value in ((-0.5, 0.0), (1.0, 100.0), (9.5, 400.0))
    ]
    labelled += [
        (at_s, "s", born, {"cache_source": "device"}, value)
        for at_s, value in ((1.0, 40.0), (9.5, 100.0))
    ]
    rows = [ok_row(float(at_s), prompt_tokens=100, cached_tokens=25) for at_s in range(4)]
    found = judge(hand_run(rows, labelled=labelled)).summary["reconciliation"]
    assert by_name(found["counts"])["cached_tokens"]["server"] == 100


def test_a_first_scrape_that_failed_says_nothing(hand_run: Make, ok_row: Make) -> None:
    """What the first scrape that succeeded already held was not counted by this run."""
    name = "vllm:generation_tokens_total"
    labelled: list[tuple[Any, ...]] = [
        (at_s, "s", "up", {}, up) for at_s, up in ((-0.5, 0.0), (0.5, 1.0), (9.5, 1.0))
    ]
    labelled += [(at_s, "s", name, {}, value) for at_s, value in ((0.5, 900.0), (9.5, 920.0))]
    rows = [ok_row(float(at_s)) for at_s in range(4)]
    found = judge(hand_run(rows, labelled=labelled)).summary["reconciliation"]
    assert by_name(found["counts"])["output_tokens"]["server"] == 20


def test_a_restart_between_two_scrapes_counts_from_nothing(hand_run: Make, ok_row: Make) -> None:
    """A counter that fell has counted at least what it shows since; unread values are passed by."""
    name = "vllm:generation_tokens_total"
    instants = (-0.5, 1.0, 2.0, 3.0, 4.0, 9.5)
    readings = (100.0, 104.0, 108.0, float("nan"), 2.0, 12.0)
    scrapes = [(at_s, name, value) for at_s, value in zip(instants, readings, strict=True)]
    rows = [ok_row(float(at_s)) for at_s in range(4)]
    judged = judge(hand_run(rows, scrapes=scrapes))
    counts = by_name(judged.summary["reconciliation"]["counts"])
    assert counts["output_tokens"]["server"] == 8 + 2 + 10
    (restarts,) = [r for r in judged.verdict["validity"] if r["rule"] == "server_restarts"]
    assert restarts["value"] == 1


def test_the_probed_names_are_used(hand_run: Make, ok_row: Make) -> None:
    """A run that was told the family finds its series though nothing else marks it."""
    series = {
        "generation_tokens": {
            "family": "mindie", "name": "generation_tokens_total", "kind": "counter",
            "unit": "tokens", "where": {}, "scale": 1.0, "note": "",
        }
    }  # fmt: skip
    rows = [ok_row(float(at_s)) for at_s in range(4)]
    scrapes = [(-0.5, "generation_tokens_total", 0.0), (9.5, "generation_tokens_total", 20.0)]
    told = {"server": {"metrics": {"series": series}}}
    without = judge(hand_run(rows, scrapes=scrapes)).summary["reconciliation"]
    found = judge(hand_run(rows, scrapes=scrapes, manifest=told)).summary["reconciliation"]
    assert by_name(without["counts"])["output_tokens"]["server"] is None
    assert by_name(found["counts"])["output_tokens"]["equal"] is True


def test_a_gateway_that_only_adds_times_up_gives_a_mean(reconciled: Make) -> None:
    """Higress: 4 first tokens in 360 ms altogether, in ms; a mean and no quantiles."""
    name = "route_upstream_model_consumer_metric_llm"
    grown = {"first_token_duration": 360.0, "stream_duration_count": 4.0}
    scrapes = [
        (at_s, "gateway", f"{name}_{what}", {}, 100.0 + growth * factor)
        for what, growth in grown.items()
        for at_s, factor in ((-0.5, 0.0), (9.5, 1.0))
    ]
    ttft = by_name(reconciled(labelled=scrapes)["latencies"])["ttft"]
    assert ttft["server"]["mean_s"] == pytest.approx(0.09)
    assert (ttft["server"]["n"], ttft["server"]["p50_s"]) == (4, None)
    assert ttft["difference_s"] == pytest.approx(0.01)


def test_a_restart_explains_missing_counts(reconciled: Make) -> None:
    """A counter that fell has lost some: that is said, and not that a replica is missing."""
    name = "vllm:generation_tokens_total"
    scrapes = [(at_s, name, value) for at_s, value in ((-0.5, 10.0), (3.0, 14.0), (9.5, 2.0))]
    remarks = [remark["en"] for remark in reconciled(scrapes=scrapes)["remarks"]]
    assert any("started anew 1×" in remark for remark in remarks)
    assert not any("replicas" in remark for remark in remarks)
