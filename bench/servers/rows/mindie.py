"""Huawei MindIE (MindIE-LLM behind its own HTTP server).

Sources: MindIE-LLM 3.0.0.beta.1 `prometheus_metrics.cpp`, `http_handler.cpp`, `infer_param.cpp` and
its service parameter documentation.  The metrics have no prefix and no label but `model_name`.
"""

from __future__ import annotations

from bench.model import RequestStyle
from bench.servers.family import Exposed, Family, Kind

MINDIE = Family(
    name="mindie",
    title="MindIE",
    owned_by=("MindIE Server",),
    metric_marks=("npu_cache_usage_perc", "npu_prefix_cache_hit_rate", "npu_radix_match_hit_num"),
    version_path="/v2",
    ports={"business": 1025, "management": 1026, "metrics": 1027},
    style=RequestStyle(ignore_eos=True),
    token_ids_prompt=True,
    block_tokens=128,
    refresh_s=3.0,  # Motor keeps what it sums over its pods; MindIE itself gathers every second
    series={
        "running": (Exposed("num_requests_running"),),
        "waiting": (Exposed("num_requests_waiting"),),
        "swapped": (Exposed("num_requests_swapped"),),
        "kv_usage_fraction": (Exposed("npu_cache_usage_perc", note="0..1 despite the name"),),
        "prompt_tokens": (Exposed("prompt_tokens_total"),),
        "generation_tokens": (Exposed("generation_tokens_total"),),
        "cache_queried_tokens": (Exposed("all_radix_match_num", Kind.CUMULATIVE_GAUGE),),
        "cache_hit_tokens": (Exposed("npu_radix_match_hit_num", Kind.CUMULATIVE_GAUGE),),
        "cache_hit_rate_since_start_fraction": (Exposed("npu_prefix_cache_hit_rate"),),
        "preemptions": (Exposed("num_preemptions_total"),),
        "requests_received": (Exposed("request_received_total"),),
        "requests_finished": (Exposed("request_success_total"),),
        "requests_failed": (Exposed("request_failed_total"),),
        "ttft_s": (Exposed("time_to_first_token_seconds", note="whole ms, highest bucket 10 s"),),
        "itl_s": (
            Exposed("time_per_output_token_seconds", note="step time per token of the step"),
        ),
        "e2e_s": (Exposed("e2e_request_latency_seconds", note="lowest bucket 1 s: use the mean"),),
        "prompt_length_tokens": (Exposed("request_prompt_tokens"),),
        "output_length_tokens": (Exposed("request_generation_tokens"),),
        "prompt_tps": (Exposed("avg_prompt_throughput_toks_per_s"),),
        "generation_tps": (Exposed("avg_generation_throughput_toks_per_s"),),
    },
    forbidden=("/stopService", "/health/timed", "/dresult", "/v2/health/timed"),
    remedies={
        "metrics": "export MIES_SERVICE_MONITOR_MODE=1 before MindIE starts and give the metrics "
        "port with --metrics-url https://MANAGEMENT_IP:1027/metrics (own certificates)",
        "cached_tokens": 'set "plugin_params": "{\\"plugin_type\\":\\"prefix_cache\\"}" in '
        "ModelConfig; needs whole 128-token blocks",
        "cache_hit_tokens": "the radix counters exist in newer builds only; "
        "npu_prefix_cache_hit_rate is a rate since the server's start",
    },
    cautions=("maxIterTimes (512 by default) caps every output: raise it for longer ones",),
)
