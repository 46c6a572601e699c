"""llama.cpp, TGI, TensorRT-LLM and LMDeploy.

Sources: llama.cpp `tools/server/README.md` and `server-context.cpp`; TGI `router/src/server.rs` and
its metrics reference; TensorRT-LLM `metrics/collector.py`, `serve/openai_server.py`,
`serve/openai_protocol.py`; LMDeploy 0.16 `metrics/loggers.py`, `serve/openai/protocol.py`.
"""

from __future__ import annotations

from bench.model import RequestStyle
from bench.servers.family import Exposed, Family, Kind

_PROCESS_START = {"process_start_s": (Exposed("process_start_time_seconds"),)}

LLAMACPP = Family(
    name="llamacpp",
    title="llama.cpp",
    owned_by=("llamacpp",),
    metric_marks=("llamacpp:",),
    fingerprint_version=True,
    ports={"business": 8080, "metrics": 8080},
    style=RequestStyle(ignore_eos=True),
    tokenize_path="/tokenize",
    tokenize_field="content",
    template_path="/apply-template",
    token_ids_prompt=True,
    block_tokens=1,
    series={
        "running": (Exposed("llamacpp:requests_processing"),),
        "waiting": (Exposed("llamacpp:requests_deferred"),),
        "kv_usage_fraction": (Exposed("llamacpp:kv_cache_usage_ratio", note="removed in 2025"),),
        "prompt_tokens_computed": (
            Exposed("llamacpp:prompt_tokens_total", note="cached tokens left out"),
        ),
        "prompt_tokens_cached": (Exposed("llamacpp:prompt_tokens_cached_total"),),
        "generation_tokens": (Exposed("llamacpp:tokens_predicted_total"),),
        "drafts": (Exposed("llamacpp:spec_decode_num_drafts_total"),),
        "draft_tokens": (Exposed("llamacpp:spec_decode_num_draft_tokens_total"),),
        "accepted_tokens": (Exposed("llamacpp:spec_decode_num_accepted_tokens_total"),),
        "prompt_tps": (Exposed("llamacpp:prompt_tokens_seconds"),),
        "generation_tps": (Exposed("llamacpp:predicted_tokens_seconds"),),
    },
    forbidden=("/slots",),
    remedies={"metrics": "start llama-server with --metrics"},
)

TGI = Family(
    name="tgi",
    title="Text Generation Inference",
    metric_marks=("tgi_",),
    version_path="/info",
    ports={"business": 80, "metrics": 80},
    series={
        "running": (Exposed("tgi_batch_current_size"),),
        "waiting": (Exposed("tgi_queue_size"),),
        "prompt_tokens": (Exposed("tgi_request_input_length_sum"),),
        "generation_tokens": (Exposed("tgi_request_generated_tokens_sum"),),
        "requests_received": (Exposed("tgi_request_count"),),
        "requests_finished": (Exposed("tgi_request_success"),),
        "requests_failed": (Exposed("tgi_request_failure"),),
        "tpot_s": (Exposed("tgi_request_mean_time_per_token_duration"),),
        "e2e_s": (Exposed("tgi_request_duration"),),
        "queue_s": (Exposed("tgi_request_queue_duration"),),
        "inference_s": (Exposed("tgi_request_inference_duration"),),
        "prompt_length_tokens": (Exposed("tgi_request_input_length"),),
        "output_length_tokens": (Exposed("tgi_request_generated_tokens"),),
    },
    remedies={
        "cached_tokens": "TGI tells no cached tokens; compare TTFT only",
        "ignore_eos": "TGI's OpenAI endpoints can't be told an exact output length",
    },
)

TENSORRT_LLM = Family(
    name="tensorrt-llm",
    title="TensorRT-LLM",
    owned_by=("tensorrt_llm",),
    metric_marks=("trtllm_", "trtllm:"),
    version_path="/version",
    metrics_paths=("/prometheus/metrics",),  # /metrics is JSON that one reader takes from others
    ports={"business": 8000, "metrics": 8000},
    style=RequestStyle(ignore_eos=True, continuous_usage=True),
    token_ids_prompt=True,
    block_tokens=32,
    series={
        "running": (Exposed("trtllm_num_requests_running"),),
        "waiting": (Exposed("trtllm_num_requests_waiting"),),
        "kv_usage_fraction": (Exposed("trtllm_kv_cache_utilization"),),
        "prompt_tokens": (Exposed("trtllm_prompt_tokens_total"),),
        "prompt_tokens_cached": (Exposed("trtllm_prompt_cached_tokens_total"),),
        "cached_tokens_by_tier": (Exposed("trtllm_prompt_cache_hit_tokens_total"),),
        "generation_tokens": (Exposed("trtllm_generation_tokens_total"),),
        "cache_hit_blocks": (Exposed("trtllm_kv_cache_reused_blocks_total"),),
        "cache_missed_blocks": (Exposed("trtllm_kv_cache_missed_blocks_total"),),
        "cache_hit_rate_fraction": (Exposed("trtllm_kv_cache_hit_rate"),),
        "requests_finished": (
            Exposed("trtllm_num_requests_completed_total"),
            Exposed("trtllm_request_success_total"),
            Exposed("trtllm:request_success_total", note="through Dynamo before 0.9"),
        ),
        "requests_failed": (Exposed("trtllm_request_error_total"),),
        "ttft_s": (
            Exposed("trtllm_time_to_first_token_seconds"),
            Exposed("trtllm:time_to_first_token_seconds", note="through Dynamo before 0.9"),
        ),
        "tpot_s": (
            Exposed("trtllm_time_per_output_token_seconds"),
            Exposed("trtllm:time_per_output_token_seconds", note="through Dynamo before 0.9"),
        ),
        "e2e_s": (
            Exposed("trtllm_e2e_request_latency_seconds"),
            Exposed("trtllm:e2e_request_latency_seconds", note="through Dynamo before 0.9"),
        ),
        "queue_s": (
            Exposed("trtllm_request_queue_time_seconds"),
            Exposed("trtllm:request_queue_time_seconds", note="through Dynamo before 0.9"),
        ),
        "prefill_s": (Exposed("trtllm_request_prefill_time_seconds"),),
        "decode_s": (Exposed("trtllm_request_decode_time_seconds"),),
        "inference_s": (Exposed("trtllm_request_inference_time_seconds"),),
        "draft_tokens": (Exposed("trtllm_spec_decode_num_draft_tokens_total"),),
        "accepted_tokens": (Exposed("trtllm_spec_decode_num_accepted_tokens_total"),),
        "accepted_length_tokens": (Exposed("trtllm_spec_decode_acceptance_length"),),
        "block_tokens": (Exposed("trtllm_kv_cache_tokens_per_block"),),
        **_PROCESS_START,
    },
    remedies={
        "metrics": "set return_perf_metrics: true (and enable_iter_perf_stats: true for gauges) "
        "in the extra LLM API options; the path is /prometheus/metrics",
    },
)

LMDEPLOY = Family(
    name="lmdeploy",
    title="LMDeploy",
    owned_by=("lmdeploy",),
    metric_marks=("lmdeploy:",),
    ports={"business": 23333, "metrics": 23333},
    style=RequestStyle(ignore_eos=True),
    block_tokens=64,
    series={
        "running": (Exposed("lmdeploy:num_requests_running"),),
        "waiting": (Exposed("lmdeploy:num_requests_waiting"),),
        "kv_usage_fraction": (Exposed("lmdeploy:gpu_cache_usage_perc"),),
        "prompt_tokens": (Exposed("lmdeploy:prompt_tokens_total"),),
        "prompt_tokens_cached": (Exposed("lmdeploy:cached_tokens_total"),),
        "generation_tokens": (Exposed("lmdeploy:generation_tokens_total"),),
        "cache_hit_rate_fraction": (Exposed("lmdeploy:prefix_cache_hit_rate"),),
        "requests_finished": (Exposed("lmdeploy:num_requests_succeeded", Kind.CUMULATIVE_GAUGE),),
        "requests_failed": (Exposed("lmdeploy:num_requests_failed", Kind.CUMULATIVE_GAUGE),),
        "ttft_s": (Exposed("lmdeploy:time_to_first_token_seconds"),),
        "tpot_s": (Exposed("lmdeploy:time_per_output_token_seconds"),),
        "itl_s": (Exposed("lmdeploy:iter_token_latency"),),
        "e2e_s": (Exposed("lmdeploy:e2e_request_latency_seconds"),),
        "queue_s": (Exposed("lmdeploy:request_queue_time_seconds"),),
        "prefill_s": (Exposed("lmdeploy:request_prefill_time_seconds"),),
        "decode_s": (Exposed("lmdeploy:request_decode_time_seconds"),),
        "inference_s": (Exposed("lmdeploy:request_inference_time_seconds"),),
        "draft_tokens": (Exposed("lmdeploy:spec_decode_num_draft_tokens_total"),),
        "accepted_tokens": (Exposed("lmdeploy:spec_decode_num_accepted_tokens_total"),),
        **_PROCESS_START,
    },
    forbidden=("/terminate", "/sleep", "/wakeup"),
    remedies={
        "metrics": "start lmdeploy serve api_server with --enable-metrics",
        "cached_tokens": "LMDeploy's usage has no cached tokens; its counter cached_tokens has",
    },
)
