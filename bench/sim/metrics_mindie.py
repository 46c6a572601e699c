"""MindIE's metric names over the engines' counts.

Source: MindIE-LLM 3.0.0.beta.1 `prometheus_metrics.cpp`.  No prefix, one label, and two cumulative
counts typed as gauges.  Requests, tokens and times are counted as they come; what the scheduler
knows is gathered by a thread every second.  Its times are whole milliseconds; here they are not
rounded.
"""

from __future__ import annotations

from bench.sim.engine import Engine
from bench.sim.metrics import HistogramMetric, Metric, MetricsTable

_TTFT_S = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
)
_TPOT_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_E2E_S = (1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0)
_LENGTHS = (
    10, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 16000, 20000, 32000, 50000, 64000, 128000,
)  # fmt: skip


def _received(engine: Engine) -> float:
    return len(engine.waiting) + len(engine.running) + sum(engine.stats.finished.values())


def _succeeded(engine: Engine) -> float:
    return engine.stats.finished["stop"] + engine.stats.finished["length"]


def _failed_fraction(engine: Engine) -> float:
    received = _received(engine)
    return engine.stats.finished["abort"] / received if received else 0.0


def _hit_rate(engine: Engine) -> float:
    queries = engine.stats.prefix_queries
    return engine.stats.prefix_hits / queries if queries else 0.0


METRICS = MetricsTable(
    metrics=(
        Metric("request_received_total", "counter", "Count of received requests.", _received),
        Metric("request_success_total", "counter", "Requests that ended well.", _succeeded),
        Metric("request_failed_total", "counter", "Count of failed requests.",
               lambda engine: engine.stats.finished["abort"]),
        Metric("num_requests_running", "gauge", "Requests running.",
               lambda engine: len(engine.running), gathered=True),
        Metric("num_requests_waiting", "gauge", "Requests waiting.",
               lambda engine: len(engine.waiting), gathered=True),
        Metric("num_requests_swapped", "gauge", "Requests swapped out.",
               lambda engine: 0, gathered=True),
        Metric("prompt_tokens_total", "counter", "Count of prompt tokens.",
               lambda engine: engine.stats.prompt_tokens),
        Metric("generation_tokens_total", "counter", "Count of generated tokens.",
               lambda engine: engine.stats.generation_tokens),
        Metric("num_preemptions_total", "counter", "Count of preemptions.",
               lambda engine: engine.stats.preemptions, gathered=True),
        Metric("failed_request_perc", "gauge", "Share of failed requests since the start.",
               _failed_fraction, over_replicas="mean"),
        Metric("npu_cache_usage_perc", "gauge", "NPU cache usage, 1 means all of it.",
               lambda engine: engine.blocks.used / engine.blocks.total, over_replicas="mean",
               gathered=True),
        Metric("cpu_cache_usage_perc", "gauge", "CPU cache usage, 1 means all of it.",
               lambda engine: 0, gathered=True),
        Metric("npu_prefix_cache_hit_rate", "gauge", "Prefix cache hit rate since the start.",
               _hit_rate, over_replicas="mean", gathered=True),
        Metric("all_radix_match_num", "gauge", "Prompt tokens looked up in the prefix cache.",
               lambda engine: engine.stats.prefix_queries, gathered=True),
        Metric("npu_radix_match_hit_num", "gauge", "Prompt tokens found in the prefix cache.",
               lambda engine: engine.stats.prefix_hits, gathered=True),
    ),
    histograms=(
        HistogramMetric("ttft_s", "time_to_first_token_seconds", "First token.", _TTFT_S),
        HistogramMetric("itl_s", "time_per_output_token_seconds", "Per output token.", _TPOT_S),
        HistogramMetric("e2e_s", "e2e_request_latency_seconds", "End to end latency.", _E2E_S),
        HistogramMetric("prompt_tokens", "request_prompt_tokens", "Prompt length.", _LENGTHS),
        HistogramMetric("output_tokens", "request_generation_tokens", "Output length.", _LENGTHS),
    ),
    refresh_s=1.0,
)  # fmt: skip
