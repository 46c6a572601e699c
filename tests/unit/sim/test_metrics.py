"""The /metrics page."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.sim.config import EngineConfig
from bench.sim.engine import Engine, simulate
from bench.sim.metrics import MetricsPage
from bench.sim.metrics_vllm import METRICS
from bench.sim.request import EngineRequest
from bench.sim.stats import EngineStats, Histogram

CAPTURE = Path(__file__).parents[3].parent / "shared" / "captures" / "vllm_metrics.txt"
Series = tuple[str, frozenset[str]]


def page_of(*engines: Engine) -> str:
    return MetricsPage(METRICS, engines, "m").render().decode()


def worked() -> Engine:
    """An engine that served a prompt of 40 tokens twice, 3 tokens each, in 10 ms steps."""
    config = EngineConfig(kv_blocks=64, step_s=0.01, prefill_token_s=0, decode_seq_s=0)
    engine = Engine(config, EngineStats.with_bounds(METRICS.bounds))
    requests = [EngineRequest(name, list(range(40)), 3) for name in "ab"]
    for at_ns, request in zip((0, 10**9), requests, strict=True):
        list(simulate(engine, [(at_ns, request)], at_ns))
    return engine


def values(text: str) -> dict[str, float]:
    """Samples by name, and by name/label value where there is a label beside the common ones."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            rest = set(sample.labels) - {"engine", "model_name"}
            suffix = "".join(f"/{sample.labels[label]}" for label in sorted(rest))
            if family.name != "vllm:cache_config_info":
                found[sample.name + suffix] = sample.value
    return found


def test_counts() -> None:
    """What the page says is what the engine did."""
    told = values(page_of(worked()))
    expected = {
        "vllm:prompt_tokens_total": 80,
        "vllm:prompt_tokens_cached_total": 32,
        "vllm:prompt_tokens_by_source_total/local_compute": 48,
        "vllm:prompt_tokens_by_source_total/local_cache_hit": 32,
        "vllm:prefix_cache_queries_total": 80,
        "vllm:prefix_cache_hits_total": 32,
        "vllm:generation_tokens_total": 6,
        "vllm:request_success_total/length": 2,
        "vllm:request_success_total/abort": 0,
        "vllm:num_requests_running": 0,
        "vllm:num_requests_waiting": 0,
        "vllm:kv_cache_usage_perc": 0,
        "vllm:time_to_first_token_seconds_count": 2,
        "vllm:time_to_first_token_seconds_sum": 0.02,
        "vllm:time_to_first_token_seconds_bucket/0.005": 0,
        "vllm:time_to_first_token_seconds_bucket/0.01": 2,
        "vllm:time_to_first_token_seconds_bucket/+Inf": 2,
        "vllm:inter_token_latency_seconds_count": 4,
        "vllm:inter_token_latency_seconds_sum": 0.04,
        "vllm:request_time_per_output_token_seconds_sum": 0.02,
        "vllm:e2e_request_latency_seconds_sum": 0.06,
        "vllm:request_queue_time_seconds_sum": 0,
        "vllm:iteration_tokens_total_sum": 48 + 4,
        "vllm:request_prompt_tokens_bucket/50.0": 2,
        "vllm:request_prompt_tokens_bucket/20.0": 0,
    }
    assert {name: told[name] for name in expected} == pytest.approx(expected)


def test_usage_while_running() -> None:
    """Gauges follow the batch, the queue and the blocks in use."""
    engine = Engine(
        EngineConfig(kv_blocks=64, max_num_seqs=1), EngineStats.with_bounds(METRICS.bounds)
    )
    for name in "ab":
        engine.submit(EngineRequest(name, list(range(40)), 3), 0)
    engine.step(0)
    told = values(page_of(engine))
    assert told["vllm:num_requests_running"] == 1
    assert told["vllm:num_requests_waiting"] == 1
    assert told["vllm:num_requests_waiting_by_reason/capacity"] == 1
    assert told["vllm:kv_cache_usage_perc"] == 3 / 64


def test_each_engine_is_a_series() -> None:
    """Engines behind one port are told apart by the `engine` label."""
    text = page_of(worked(), Engine(EngineConfig(kv_blocks=64)))
    assert 'vllm:prompt_tokens_total{engine="0",model_name="m"} 80.0' in text
    assert 'vllm:prompt_tokens_total{engine="1",model_name="m"} 0.0' in text


def test_cache_config() -> None:
    """The block size and the number of blocks are labels of cache_config_info."""
    (line,) = [
        line
        for line in page_of(worked()).splitlines()
        if line.startswith("vllm:cache_config_info{")
    ]
    assert 'block_size="16"' in line
    assert 'num_gpu_blocks="64"' in line


def test_histogram_bounds_are_inclusive() -> None:
    """An observation equal to a bound is counted under it, as Prometheus has it."""
    histogram = Histogram((1.0, 2.0))
    histogram.observe(1.0)
    histogram.observe(2.5, times=3)
    assert histogram.cumulative() == [("1.0", 1), ("2.0", 1), ("+Inf", 4)]
    assert (histogram.count, histogram.sum) == (4, 8.5)


def series(text: str) -> set[Series]:
    return {
        (sample.name, frozenset(sample.labels))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("vllm:") and sample.name != "vllm:cache_config_info"
    }


@pytest.mark.skipif(not CAPTURE.is_file(), reason="no ../shared/captures beside the repository")
def test_names_are_vllms() -> None:
    """Every series has a name and labels that vLLM 0.32 exposes, and its histograms' bounds."""
    real = CAPTURE.read_text().partition("\n\n")[2]
    made = page_of(worked())
    assert series(made) <= series(real)
    assert len(series(made)) > 40

    def bounds(text: str, name: str) -> list[str]:
        return [
            sample.labels["le"]
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"{name}_bucket"
        ]

    for name in ("time_to_first_token", "inter_token_latency", "e2e_request_latency"):
        exposed = f"vllm:{name}_seconds"
        assert bounds(made, exposed) == bounds(real, exposed)
