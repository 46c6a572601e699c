"""What stands in front of or beside an engine: routers, proxies, KV cache layers.

Sources: Dynamo `docs/observability/metrics.md`; LiteLLM `integrations/prometheus.py`; vLLM
production-stack `vllm_router/services/metrics_service`; Envoy AI gateway `internal/metrics`, whose
exporter writes the unit behind a name or not; Higress `ai-statistics`; LMCache `observability.py`.
"""

from __future__ import annotations

from bench.model import RequestStyle
from bench.servers.family import Exposed, Family, Kind, Role

DYNAMO = Family(
    name="dynamo",
    title="NVIDIA Dynamo",
    role=Role.GATEWAY,
    metric_marks=("dynamo_",),
    ports={"business": 8000, "metrics": 8000, "worker": 8081},
    style=RequestStyle(ignore_eos=True),
    series={
        "running": (Exposed("dynamo_frontend_inflight_requests"),),
        "waiting": (Exposed("dynamo_frontend_queued_requests"),),
        "kv_usage_fraction": (Exposed("dynamo_component_kvstats_gpu_cache_usage_percent"),),
        "cache_hit_rate_fraction": (Exposed("dynamo_component_kvstats_gpu_prefix_cache_hit_rate"),),
        "prompt_tokens": (Exposed("dynamo_frontend_input_sequence_tokens_sum"),),
        "generation_tokens": (Exposed("dynamo_frontend_output_sequence_tokens_sum"),),
        "requests_finished": (Exposed("dynamo_frontend_requests_total"),),
        "ttft_s": (Exposed("dynamo_frontend_time_to_first_token_seconds"),),
        "itl_s": (Exposed("dynamo_frontend_inter_token_latency_seconds"),),
        "e2e_s": (Exposed("dynamo_frontend_request_duration_seconds"),),
        "prompt_length_tokens": (Exposed("dynamo_frontend_input_sequence_tokens"),),
        "output_length_tokens": (Exposed("dynamo_frontend_output_sequence_tokens"),),
    },
    remedies={
        "cache_hit_tokens": "set DYN_SYSTEM_PORT on the workers and scrape each worker: the "
        "engine's own counters are there",
    },
)

LITELLM = Family(
    name="litellm",
    title="LiteLLM proxy",
    role=Role.GATEWAY,
    response_headers=("x-litellm-",),
    version_header="x-litellm-version",
    metric_marks=("litellm_",),
    ports={"business": 4000, "metrics": 4000},
    style=RequestStyle(ignore_eos=True, continuous_usage=True),
    series={
        "running": (Exposed("litellm_in_flight_requests"),),
        "prompt_tokens": (Exposed("litellm_input_tokens_metric_total"),),
        "generation_tokens": (Exposed("litellm_output_tokens_metric_total"),),
        "requests_finished": (Exposed("litellm_proxy_total_requests_metric_total"),),
        "requests_failed": (Exposed("litellm_proxy_failed_requests_metric_total"),),
        "ttft_s": (Exposed("litellm_llm_api_time_to_first_token_metric"),),
        "e2e_s": (Exposed("litellm_request_total_latency_metric"),),
        "queue_s": (Exposed("litellm_request_queue_time_seconds"),),
    },
    remedies={
        "metrics": 'set callbacks: ["prometheus"] in litellm_settings, or scrape the engine behind '
        "it with --metrics-url",
    },
    cautions=(
        "the proxy retries and falls back silently: set num_retries: 0 and no fallbacks",
        "its response cache must be off",
    ),
)

PRODUCTION_STACK = Family(
    name="production-stack",
    title="vLLM production-stack router",
    role=Role.GATEWAY,
    metric_marks=("vllm:healthy_pods_total", "vllm:current_qps", "vllm:num_incoming_requests"),
    hides=("vllm",),
    copy_labels=("server",),
    version_path="/version",
    ports={"business": 8001, "metrics": 8001},
    style=RequestStyle(ignore_eos=True, continuous_usage=True),
    tokenize_path="/tokenize",
    cache_salt=True,
    token_ids_prompt=True,
    series={
        "running": (Exposed("vllm:num_requests_running", note="a copy, by server"),),
        "waiting": (Exposed("vllm:num_requests_waiting", note="a copy, by server"),),
        "swapped": (Exposed("vllm:num_requests_swapped"),),
        "prompt_tokens": (Exposed("vllm:input_tokens_total"),),
        "generation_tokens": (Exposed("vllm:output_tokens_total"),),
        "cache_queried_tokens": (
            Exposed(
                "vllm:gpu_prefix_cache_queries_total",
                Kind.CUMULATIVE_GAUGE,
                note="0 in front of engines newer than 0.10",
            ),
        ),
        "cache_hit_tokens": (
            Exposed(
                "vllm:gpu_prefix_cache_hits_total",
                Kind.CUMULATIVE_GAUGE,
                note="0 in front of engines newer than 0.10",
            ),
        ),
        "cache_hit_rate_fraction": (Exposed("vllm:gpu_prefix_cache_hit_rate", note="a copy"),),
        "requests_received": (Exposed("vllm:num_incoming_requests_total"),),
        "requests_failed": (Exposed("vllm:request_errors_total"),),
        "e2e_s": (Exposed("vllm:request_latency_seconds"),),
    },
    remedies={
        "cache_hit_tokens": "scrape every engine behind the router (--scrape NAME=URL, once for "
        "each): the router's copies come from old names",
    },
)


def _gen_ai_tokens(kind: str) -> tuple[Exposed, ...]:
    where = {"gen_ai_token_type": (kind,)}
    return (
        Exposed("gen_ai_client_token_usage_token_sum", where=where),
        Exposed("gen_ai_client_token_usage_sum", where=where),
    )


ENVOY_AI_GATEWAY = Family(
    name="envoy-ai-gateway",
    title="Envoy AI gateway",
    role=Role.GATEWAY,
    metric_marks=("gen_ai_client_token_usage", "gen_ai_server_request_duration"),
    ports={"metrics": 1064},
    style=RequestStyle(ignore_eos=True, continuous_usage=True),
    series={
        "prompt_tokens": _gen_ai_tokens("input"),
        "prompt_tokens_cached": _gen_ai_tokens("cached_input"),
        "generation_tokens": _gen_ai_tokens("output"),
        "requests_finished": (
            Exposed("gen_ai_server_request_duration_seconds_count", note="failed ones too"),
            Exposed("gen_ai_server_request_duration_count", note="failed ones too"),
        ),
        "ttft_s": (
            Exposed("gen_ai_server_time_to_first_token_seconds"),
            Exposed("gen_ai_server_time_to_first_token"),
        ),
        "tpot_s": (
            Exposed("gen_ai_server_time_per_output_token_seconds"),
            Exposed("gen_ai_server_time_per_output_token"),
        ),
        "e2e_s": (
            Exposed("gen_ai_server_request_duration_seconds"),
            Exposed("gen_ai_server_request_duration"),
        ),
    },
    remedies={
        "metrics": "give the gateway's processor with --metrics-url http://PROXY_POD:1064/metrics, "
        "and each engine behind it with --scrape",
        "cache_hit_tokens": "scrape every engine behind the gateway (--scrape NAME=URL)",
    },
)

_HIGRESS = "route_upstream_model_consumer_metric_"
_MS = 1e-3

HIGRESS = Family(
    name="higress",
    title="Higress",
    role=Role.GATEWAY,
    metric_marks=("route_upstream_model_",),
    metrics_paths=("/stats/prometheus",),
    ports={"metrics": 15020},
    style=RequestStyle(ignore_eos=True, continuous_usage=True),
    series={
        "prompt_tokens": (
            Exposed(f"{_HIGRESS}input_token"),
            Exposed("route_upstream_model_input_token", note="before 2.0"),
        ),
        "generation_tokens": (
            Exposed(f"{_HIGRESS}output_token"),
            Exposed("route_upstream_model_output_token", note="before 2.0"),
        ),
        "requests_finished": (Exposed(f"{_HIGRESS}llm_duration_count"),),
        "ttft_total_s": (Exposed(f"{_HIGRESS}llm_first_token_duration", scale=_MS),),
        "ttft_observed": (Exposed(f"{_HIGRESS}llm_stream_duration_count"),),
        "e2e_total_s": (Exposed(f"{_HIGRESS}llm_service_duration", scale=_MS),),
        "e2e_observed": (Exposed(f"{_HIGRESS}llm_duration_count"),),
    },
    remedies={
        "metrics": "enable the plugin ai-statistics and give "
        "--metrics-url http://GATEWAY:15020/stats/prometheus",
        "cache_hit_tokens": "scrape every engine behind the gateway (--scrape NAME=URL)",
    },
    cautions=("a plugin that needs the body holds a stream back: TTFT is then close to E2E",),
)

LMCACHE = Family(
    name="lmcache",
    title="LMCache",
    role=Role.CACHE,
    metric_marks=("lmcache:",),
    block_tokens=256,
    series={
        "external_queried_tokens": (
            Exposed("lmcache:num_lookup_tokens_total"),
            Exposed("lmcache:num_requested_tokens_total", note="retrieval, not lookup"),
        ),
        "external_hit_tokens": (
            Exposed("lmcache:num_lookup_hits_total"),
            Exposed("lmcache:num_hit_tokens_total", note="retrieval, not lookup"),
        ),
        "cache_hit_rate_fraction": (
            Exposed("lmcache:lookup_hit_rate", note="since the last log line"),
        ),
    },
)
