"""SGLang 0.5's metric names over the engines' counts.

Source: SGLang 0.5.23 `observability/metrics_collector.py`.  Its registry is of several processes,
so there is no `_created` and nothing of the process.  A replica is a data-parallel rank.
"""

from __future__ import annotations

from bench.sim.engine import Engine
from bench.sim.metrics import HistogramMetric, Metric, MetricsTable

_TTFT_S = (
    0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0,
    400.0,
)  # fmt: skip
_ITL_S = (
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2,
    0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0,
)  # fmt: skip
_E2E_S = (0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 100.0, 200.0, 600.0, 2400.0)
_LENGTHS = (100, 300, 500, 700, 1000, 2000, 5000, 10000, 30000, 100000)


def _usage(engine: Engine) -> float:
    return engine.blocks.used / engine.blocks.total


def _prefill(engine: Engine) -> dict[str, float]:
    """Tokens of prefills by where they came from; they add up to those looked up."""
    stats = engine.stats
    return {
        "input": stats.prefix_queries - stats.prefix_hits,
        "device_hit": stats.prefix_hits,
        "host_hit": 0,
        "storage_hit": 0,
    }


METRICS = MetricsTable(
    metrics=(
        Metric("sglang:num_running_reqs", "gauge", "The number of running requests.",
               lambda engine: len(engine.running)),
        Metric("sglang:num_queue_reqs", "gauge", "The number of requests in the waiting queue.",
               lambda engine: len(engine.waiting)),
        Metric("sglang:token_usage", "gauge", "The token usage.", _usage),
        Metric("sglang:max_total_num_tokens", "gauge", "Tokens the KV cache holds.",
               lambda engine: engine.config.kv_tokens),
        Metric("sglang:page_size", "gauge", "Tokens of one page of the KV cache.",
               lambda engine: engine.config.block_tokens),
        Metric("sglang:prefill_effective_tokens_total", "counter",
               "Prefill tokens by source, recomputation left out.", _prefill, "mode"),
        Metric("sglang:prompt_tokens_total", "counter", "Number of prefill tokens processed.",
               lambda engine: engine.stats.prompt_tokens),
        Metric("sglang:generation_tokens_total", "counter", "Number of generation tokens.",
               lambda engine: engine.stats.generation_tokens),
        Metric("sglang:cached_tokens_total", "counter", "Number of cached prompt tokens.",
               lambda engine: {"device": engine.stats.cached_tokens}, "cache_source"),
        Metric("sglang:num_requests_total", "counter", "Number of requests processed.",
               lambda engine: engine.stats.finished["stop"] + engine.stats.finished["length"]),
        Metric("sglang:num_aborted_requests_total", "counter", "Number of requests aborted.",
               lambda engine: engine.stats.finished["abort"]),
    ),
    histograms=(
        HistogramMetric("ttft_s", "sglang:time_to_first_token_seconds",
                        "Time to first token in seconds.", _TTFT_S),
        HistogramMetric("itl_s", "sglang:inter_token_latency_seconds",
                        "Inter-token latency in seconds.", _ITL_S),
        HistogramMetric("tpot_s", "sglang:request_time_per_output_token_seconds",
                        "Time per output token of a request in seconds.", _ITL_S),
        HistogramMetric("e2e_s", "sglang:e2e_request_latency_seconds",
                        "End-to-end request latency in seconds.", _E2E_S),
        HistogramMetric("queue_s", "sglang:queue_time_seconds", "Queue time in seconds.", _E2E_S),
        HistogramMetric("prompt_tokens", "sglang:prompt_tokens_histogram",
                        "Prompt length.", _LENGTHS),
        HistogramMetric("output_tokens", "sglang:generation_tokens_histogram",
                        "Generation length.", _LENGTHS),
    ),
    labels=lambda model, rank: {
        "model_name": model, "engine_type": "unified", "tp_rank": "0", "pp_rank": "0",
        "dp_rank": str(rank),
    },
    per_engine=True,
)  # fmt: skip
