"""SGLang 0.5.

Source: SGLang 0.5.23 `observability/metrics_collector.py`, `entrypoints/http_server.py`,
`managers/scheduler_metrics_mixin.py`.  The TP, PP and EP ranks of a scheduler tell the same number.
With DP attention each DP rank has TP ranks of its own, so that rank 0 would be one DP rank's.  Both
/health and /health_generate run a generation.
"""

from __future__ import annotations

from bench.model import RequestStyle
from bench.servers.family import Exposed, Family

SGLANG = Family(
    name="sglang",
    title="SGLang",
    owned_by=("sglang",),
    metric_marks=("sglang:",),
    version_path="/server_info",
    ports={"business": 30000, "metrics": 30000},
    style=RequestStyle(ignore_eos=True, continuous_usage=True),
    tokenize_path="/tokenize",
    cache_salt=True,
    token_ids_prompt=True,
    block_tokens=1,
    rank_labels=("tp_rank", "pp_rank", "moe_ep_rank"),
    series={
        "running": (Exposed("sglang:num_running_reqs"),),
        "waiting": (Exposed("sglang:num_queue_reqs"),),
        "kv_usage_fraction": (Exposed("sglang:token_usage"),),
        "prompt_tokens": (Exposed("sglang:prompt_tokens_total", note="counted at the finish"),),
        "generation_tokens": (
            Exposed("sglang:generation_tokens_total", note="counted at the finish"),
        ),
        "prompt_tokens_cached": (
            Exposed("sglang:cached_tokens_total", note="sum the sources; absent until a hit"),
        ),
        "cached_tokens_by_tier": (
            Exposed(
                "sglang:cached_tokens_total",
                where={"cache_source": ("device", "host", "storage")},
            ),
        ),
        "cache_queried_tokens": (
            Exposed("sglang:prefill_effective_tokens_total"),
            Exposed(
                "sglang:realtime_tokens_total",
                where={"mode": ("prefill_cache", "prefill_compute")},
                note="includes recomputation after retraction",
            ),
        ),
        "cache_hit_tokens": (
            Exposed(
                "sglang:prefill_effective_tokens_total",
                where={"mode": ("device_hit", "host_hit", "storage_hit")},
            ),
            Exposed(
                "sglang:realtime_tokens_total",
                where={"mode": ("prefill_cache",)},
            ),
        ),
        "cache_hit_rate_fraction": (
            Exposed("sglang:cache_hit_rate", note="last prefill batch only"),
        ),
        "requests_finished": (Exposed("sglang:num_requests_total"),),
        "requests_failed": (Exposed("sglang:num_aborted_requests_total"),),
        "ttft_s": (Exposed("sglang:time_to_first_token_seconds"),),
        "itl_s": (
            Exposed("sglang:inter_token_latency_seconds", note="weighted by token"),
            Exposed("sglang:time_per_output_token_seconds", note="old name"),
        ),
        "tpot_s": (Exposed("sglang:request_time_per_output_token_seconds"),),
        "e2e_s": (Exposed("sglang:e2e_request_latency_seconds"),),
        "queue_s": (Exposed("sglang:queue_time_seconds"),),
        "prompt_length_tokens": (Exposed("sglang:prompt_tokens_histogram"),),
        "output_length_tokens": (Exposed("sglang:generation_tokens_histogram"),),
        "accepted_length_tokens": (Exposed("sglang:spec_accept_length"),),
        "generation_tps": (Exposed("sglang:gen_throughput"),),
        "block_tokens": (Exposed("sglang:page_size"),),
        "cache_config": (Exposed("sglang:cache_config_info"),),
    },
    forbidden=(
        "/health_generate",
        "/health",
        "/flush_cache",
        "/release_memory_occupation",
        "/slow_down",
        "/stop_profile",
        "/start_profile",
        "/abort_request",
    ),
    remedies={
        "metrics": "start SGLang with --enable-metrics",
        "cached_tokens": "start SGLang with --enable-cache-report",
    },
)
