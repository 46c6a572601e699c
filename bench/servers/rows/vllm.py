"""vLLM's V1 engine, 0.7 to 0.33, and its Ascend plugin.

Sources: vLLM 0.32.0 `v1/metrics/loggers.py` and `entrypoints/`, its metrics documentation and
older trees for the renamed series; vllm-ascend at vLLM 0.27.1.  prometheus_client shows a counter
`x` as `x_total`.  A name is deprecated in one minor version, hidden in the next, then removed.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.model import RequestStyle
from bench.servers.family import Exposed, Family

_VLLM_SERIES: Mapping[str, tuple[Exposed, ...]] = {
    "running": (Exposed("vllm:num_requests_running"),),
    "waiting": (Exposed("vllm:num_requests_waiting"),),
    "waiting_by_reason": (Exposed("vllm:num_requests_waiting_by_reason"),),
    "swapped": (Exposed("vllm:num_requests_swapped", note="V0 engine"),),
    "kv_usage_fraction": (
        Exposed("vllm:kv_cache_usage_perc", note="0..1 despite the name"),
        Exposed("vllm:gpu_cache_usage_perc", note="before 0.11"),
    ),
    "prompt_tokens": (Exposed("vllm:prompt_tokens_total", note="counted when prefill ends"),),
    "prompt_tokens_cached": (Exposed("vllm:prompt_tokens_cached_total"),),
    "prompt_tokens_by_source": (Exposed("vllm:prompt_tokens_by_source_total"),),
    "cached_tokens_by_tier": (Exposed("vllm:prompt_tokens_cached_by_source_total"),),
    "generation_tokens": (Exposed("vllm:generation_tokens_total"),),
    "cache_queried_tokens": (
        Exposed("vllm:prefix_cache_queries_total", note="counted at admission"),
        Exposed("vllm:gpu_prefix_cache_queries_total", note="0.8 to 0.10"),
    ),
    "cache_hit_tokens": (
        Exposed("vllm:prefix_cache_hits_total", note="counted at admission"),
        Exposed("vllm:gpu_prefix_cache_hits_total", note="0.8 to 0.10"),
    ),
    "external_queried_tokens": (Exposed("vllm:external_prefix_cache_queries_total"),),
    "external_hit_tokens": (Exposed("vllm:external_prefix_cache_hits_total"),),
    "cache_hit_rate_fraction": (Exposed("vllm:gpu_prefix_cache_hit_rate", note="V0 engine"),),
    "preemptions": (Exposed("vllm:num_preemptions_total"),),
    "requests_finished": (
        Exposed("vllm:request_success_total", note="aborts and errors too, by finished_reason"),
    ),
    "requests_rejected": (Exposed("vllm:admission_rejections_total"),),
    "ttft_s": (Exposed("vllm:time_to_first_token_seconds"),),
    "itl_s": (
        Exposed("vllm:inter_token_latency_seconds", note="one value per engine output"),
        Exposed("vllm:time_per_output_token_seconds", note="before 0.11"),
    ),
    "tpot_s": (Exposed("vllm:request_time_per_output_token_seconds", note="0 for one token"),),
    "e2e_s": (Exposed("vllm:e2e_request_latency_seconds"),),
    "queue_s": (
        Exposed("vllm:request_queue_time_seconds", note="lowest bucket 0.3 s: use the mean"),
        Exposed("vllm:time_in_queue_requests", note="V0 engine"),
    ),
    "prefill_s": (Exposed("vllm:request_prefill_time_seconds"),),
    "decode_s": (Exposed("vllm:request_decode_time_seconds"),),
    "inference_s": (Exposed("vllm:request_inference_time_seconds"),),
    "iteration_tokens": (Exposed("vllm:iteration_tokens_total"),),
    "prompt_length_tokens": (Exposed("vllm:request_prompt_tokens"),),
    "output_length_tokens": (Exposed("vllm:request_generation_tokens"),),
    "drafts": (Exposed("vllm:spec_decode_num_drafts_total"),),
    "draft_tokens": (Exposed("vllm:spec_decode_num_draft_tokens_total"),),
    "accepted_tokens": (Exposed("vllm:spec_decode_num_accepted_tokens_total"),),
    "cache_config": (Exposed("vllm:cache_config_info"),),
    "accepted_tokens_by_position": (Exposed("vllm:spec_decode_num_accepted_tokens_per_pos_total"),),
    "process_start_s": (
        Exposed("process_start_time_seconds"),
        Exposed("vllm:generation_tokens_created", note="without the process's own metrics"),
    ),
}

_VLLM_FORBIDDEN = (
    "/sleep",
    "/pause",
    "/abort_requests",
    "/collective_rpc",
    "/release_kv_cache_memory",
    "/reset_prefix_cache",
    "/reset_mm_cache",
    "/reset_encoder_cache",
    "/start_profile",
    "/stop_profile",
    "/scale_elastic_ep",
)

_VLLM_REMEDIES = {
    "metrics": "remove --disable-log-stats: without statistics /metrics holds no vllm: series",
    "cached_tokens": "start vLLM with --enable-prompt-tokens-details",
    "prefix_caching": "start vLLM with --enable-prefix-caching",
    "process_start_s": "absent with --api-server-count > 1; a restart shows as a counter reset",
}

VLLM = Family(
    name="vllm",
    title="vLLM",
    owned_by=("vllm",),
    metric_marks=("vllm:",),
    version_path="/version",
    ports={"business": 8000, "metrics": 8000},
    style=RequestStyle(ignore_eos=True, continuous_usage=True),
    tokenize_path="/tokenize",
    cache_salt=True,
    token_ids_prompt=True,
    block_tokens=16,
    series=_VLLM_SERIES,
    drop_labels=("server",),
    forbidden=_VLLM_FORBIDDEN,
    remedies=_VLLM_REMEDIES,
)

VLLM_ASCEND = Family(
    name="vllm-ascend",
    title="vLLM-Ascend",
    metric_marks=("executor:", "engine:memory:"),
    hides=("vllm",),
    version_path="/version",
    ports={"business": 8000, "metrics": 8000},
    style=VLLM.style,
    tokenize_path="/tokenize",
    cache_salt=True,
    token_ids_prompt=True,
    block_tokens=128,
    series=_VLLM_SERIES,
    drop_labels=("server",),
    forbidden=_VLLM_FORBIDDEN,
    remedies={
        **_VLLM_REMEDIES,
        "cache_hit_tokens": "BalanceScheduler reports zero prefix-cache counters (issue 15744); "
        "use prompt_tokens_cached or the client's cached_tokens",
    },
)
