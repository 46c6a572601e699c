"""vLLM 0.32's metric names over an engine's counts."""

from __future__ import annotations

from bench.sim.engine import Engine
from bench.sim.metrics import HistogramMetric, LabelMetric, Metric, MetricsTable

_LATENCY_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0,
    240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
_TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_ITL_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0,
)  # fmt: skip
_STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_REQUEST_TOKENS = tuple(
    step * 10**power for power in range(6) for step in (1, 2, 5) if step * 10**power <= 131_072
)


_COUNTS = (
    Metric("vllm:num_requests_running", "gauge", "Requests in the execution batch.",
           lambda engine: len(engine.running)),
    Metric("vllm:num_requests_waiting", "gauge", "Requests waiting to be processed.",
           lambda engine: len(engine.waiting)),
    Metric("vllm:num_requests_waiting_by_reason", "gauge", "Waiting requests by reason.",
           lambda engine: {"capacity": len(engine.waiting), "deferred": 0}, "reason"),
    Metric("vllm:kv_cache_usage_perc", "gauge", "KV cache usage, 1 means all of it.",
           lambda engine: engine.blocks.used / engine.blocks.total),
    Metric("vllm:prefix_cache_queries_total", "counter", "Prefix cache queries, in tokens.",
           lambda engine: engine.stats.prefix_queries),
    Metric("vllm:prefix_cache_hits_total", "counter", "Prefix cache hits, in tokens.",
           lambda engine: engine.stats.prefix_hits),
    Metric("vllm:num_preemptions_total", "counter", "Preemptions by the engine.",
           lambda engine: engine.stats.preemptions),
    Metric("vllm:prompt_tokens_total", "counter", "Prefill tokens processed, cached ones included.",
           lambda engine: engine.stats.prompt_tokens),
    Metric("vllm:prompt_tokens_by_source_total", "counter", "Prompt tokens by source.",
           lambda engine: {
               "local_compute": engine.stats.prompt_tokens - engine.stats.cached_tokens,
               "local_cache_hit": engine.stats.cached_tokens,
               "external_kv_transfer": 0,
           }, "source"),
    Metric("vllm:prompt_tokens_cached_total", "counter", "Cached prompt tokens.",
           lambda engine: engine.stats.cached_tokens),
    Metric("vllm:generation_tokens_total", "counter", "Generation tokens processed.",
           lambda engine: engine.stats.generation_tokens),
    Metric("vllm:request_success_total", "counter", "Finished requests.",
           lambda engine: engine.stats.finished, "finished_reason"),
)  # fmt: skip

_HISTOGRAMS = (
    HistogramMetric("ttft_s", "vllm:time_to_first_token_seconds",
                    "Time to first token, seconds.", _TTFT_S),
    HistogramMetric("itl_s", "vllm:inter_token_latency_seconds",
                    "Inter-token latency, seconds.", _ITL_S),
    HistogramMetric("tpot_s", "vllm:request_time_per_output_token_seconds",
                    "Time per output token of a request, seconds.", _ITL_S),
    HistogramMetric("e2e_s", "vllm:e2e_request_latency_seconds",
                    "End-to-end latency of a request, seconds.", _LATENCY_S),
    HistogramMetric("queue_s", "vllm:request_queue_time_seconds",
                    "Time in the WAITING phase, seconds.", _LATENCY_S),
    HistogramMetric("inference_s", "vllm:request_inference_time_seconds",
                    "Time in the RUNNING phase, seconds.", _LATENCY_S),
    HistogramMetric("prefill_s", "vllm:request_prefill_time_seconds",
                    "Time in the PREFILL phase, seconds.", _LATENCY_S),
    HistogramMetric("decode_s", "vllm:request_decode_time_seconds",
                    "Time in the DECODE phase, seconds.", _LATENCY_S),
    HistogramMetric("step_tokens", "vllm:iteration_tokens_total",
                    "Tokens per engine step.", _STEP_TOKENS),
    HistogramMetric("prompt_tokens", "vllm:request_prompt_tokens",
                    "Prefill tokens of a request.", _REQUEST_TOKENS),
    HistogramMetric("output_tokens", "vllm:request_generation_tokens",
                    "Generation tokens of a request.", _REQUEST_TOKENS),
    HistogramMetric("max_tokens", "vllm:request_params_max_tokens",
                    "The max_tokens request parameter.", _REQUEST_TOKENS),
)  # fmt: skip


def _config(engine: Engine) -> dict[str, str]:
    """The labels of `cache_config_info` that hold for this engine."""
    config = engine.config
    return {
        "block_size": str(config.block_tokens),
        "num_gpu_blocks": str(config.kv_blocks),
        "enable_prefix_caching": str(config.prefix_caching),
        "kv_cache_size_tokens": str(config.kv_tokens),
        "kv_cache_max_concurrency": str(config.kv_tokens / config.context_tokens),
    }


METRICS = MetricsTable(
    metrics=_COUNTS,
    histograms=_HISTOGRAMS,
    config=(
        LabelMetric(
            "vllm:cache_config_info",
            "Information of the engine's cache configuration.",
            _config,
            common=("engine",),
        ),
    ),
    labels=lambda model, rank: {"model_name": model, "engine": str(rank)},
    per_engine=True,
    created=True,
    process=True,
)
