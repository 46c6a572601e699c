"""TGI's metric names over the engines' counts; it tells nothing of its cache.

Source: TGI `router/src/server.rs` and its metrics reference.
"""

from __future__ import annotations

from bench.sim.engine import Engine
from bench.sim.metrics import HistogramMetric, Metric, MetricsTable

_DURATION_S = tuple(0.0001 * 1.5**step for step in range(1, 36))
_LENGTHS = tuple(float(100 * step) for step in range(1, 101))
_TOKENS = tuple(float(10 * step) for step in range(1, 101))


def _count(engine: Engine) -> float:
    return len(engine.waiting) + len(engine.running) + sum(engine.stats.finished.values())


METRICS = MetricsTable(
    metrics=(
        Metric("tgi_request_count", "counter", "Total number of requests.", _count),
        Metric("tgi_request_success", "counter", "Number of successful requests.",
               lambda engine: {
                   "generate": engine.stats.finished["stop"] + engine.stats.finished["length"]
               }, "method"),
        Metric("tgi_request_failure", "counter", "Number of failed requests.",
               lambda engine: {"generation": engine.stats.finished["abort"]}, "err"),
        Metric("tgi_queue_size", "gauge", "Current number of requests in the queue.",
               lambda engine: len(engine.waiting)),
        Metric("tgi_batch_current_size", "gauge", "Current batch size.",
               lambda engine: len(engine.running)),
    ),
    histograms=(
        HistogramMetric("e2e_s", "tgi_request_duration", "Request duration.", _DURATION_S),
        HistogramMetric("queue_s", "tgi_request_queue_duration", "Queue duration.", _DURATION_S),
        HistogramMetric("inference_s", "tgi_request_inference_duration", "Inference duration.",
                        _DURATION_S),
        HistogramMetric("tpot_s", "tgi_request_mean_time_per_token_duration",
                        "Mean time per token.", _DURATION_S),
        HistogramMetric("prompt_tokens", "tgi_request_input_length", "Input length.", _LENGTHS),
        HistogramMetric("output_tokens", "tgi_request_generated_tokens", "Generated tokens.",
                        _TOKENS),
        HistogramMetric("max_tokens", "tgi_request_max_new_tokens", "max_new_tokens.", _TOKENS),
    ),
    labels=lambda model, rank: {},
)  # fmt: skip
