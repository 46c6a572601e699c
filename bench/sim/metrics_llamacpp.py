"""llama.cpp's metric names over the engines' counts: no labels, and cached tokens kept apart."""

from __future__ import annotations

from bench.sim.engine import Engine
from bench.sim.metrics import Metric, MetricsTable


def _computed(engine: Engine) -> float:
    return engine.stats.prompt_tokens - engine.stats.cached_tokens


def _prefill_s(engine: Engine) -> float:
    return engine.stats.histograms["prefill_s"].sum


def _decode_s(engine: Engine) -> float:
    return engine.stats.histograms["decode_s"].sum


def _per_s(tokens: float, seconds: float) -> float:
    return tokens / seconds if seconds else 0.0


METRICS = MetricsTable(
    metrics=(
        Metric("llamacpp:prompt_tokens_total", "counter",
               "Number of prompt tokens processed, excluding cached tokens", _computed),
        Metric("llamacpp:prompt_tokens_cached_total", "counter",
               "Number of prompt tokens reused from the cache",
               lambda engine: engine.stats.cached_tokens),
        Metric("llamacpp:prompt_seconds_total", "counter",
               "Total time spent processing prompts", _prefill_s),
        Metric("llamacpp:tokens_predicted_total", "counter",
               "Number of generation tokens processed",
               lambda engine: engine.stats.generation_tokens),
        Metric("llamacpp:tokens_predicted_seconds_total", "counter",
               "Total time spent generating tokens", _decode_s),
        Metric("llamacpp:n_decode_total", "counter", "Total number of llama_decode() calls",
               lambda engine: engine.stats.steps),
        Metric("llamacpp:n_tokens_max", "counter", "Largest observed sequence length",
               lambda engine: engine.stats.longest_tokens, over_replicas="mean"),
        Metric("llamacpp:spec_decode_num_draft_tokens_total", "counter",
               "Speculative: draft tokens generated", lambda engine: 0),
        Metric("llamacpp:spec_decode_num_accepted_tokens_total", "counter",
               "Speculative: draft tokens accepted", lambda engine: 0),
        Metric("llamacpp:spec_decode_num_drafts_total", "counter",
               "Speculative: verification steps", lambda engine: 0),
        Metric("llamacpp:prompt_tokens_seconds", "gauge",
               "Average prompt throughput in tokens/s",
               lambda engine: _per_s(_computed(engine), _prefill_s(engine))),
        Metric("llamacpp:predicted_tokens_seconds", "gauge",
               "Average generation throughput in tokens/s",
               lambda engine: _per_s(engine.stats.generation_tokens, _decode_s(engine))),
        Metric("llamacpp:requests_processing", "gauge", "Number of requests processing",
               lambda engine: len(engine.running)),
        Metric("llamacpp:requests_deferred", "gauge", "Number of requests deferred",
               lambda engine: len(engine.waiting)),
        Metric("llamacpp:n_busy_slots_per_decode", "gauge",
               "Average number of busy slots per llama_decode() call",
               lambda engine: _per_s(engine.stats.generation_tokens, engine.stats.steps),
               over_replicas="mean"),
    ),
    labels=lambda model, rank: {},
)  # fmt: skip
