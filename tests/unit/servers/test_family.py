"""Families are rows: their names resolve, and nothing in them contradicts the table of series."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from bench.errors import UsageError
from bench.servers.exposition import exposed_names
from bench.servers.families import (
    FAMILIES,
    FORBIDDEN_PATHS,
    families_by_metrics,
    family_by_headers,
    family_by_owner,
    family_named,
)
from bench.servers.family import (
    SERIES,
    Family,
    Kind,
    allowed_names,
    exposed,
    rank_labels,
    resolve,
    resolve_all,
)
from bench.servers.rows.gateways import ENVOY_AI_GATEWAY, LMCACHE
from bench.servers.rows.mindie import MINDIE
from bench.servers.rows.sglang import SGLANG
from bench.servers.rows.vllm import VLLM
from bench.servers.telemetry import DCGM, EXPORTERS, exporters_by_metrics

ROWS = pytest.mark.parametrize("family", [*FAMILIES, *EXPORTERS], ids=lambda family: family.name)


@ROWS
def test_every_series_of_a_family_is_in_the_table(family: Family) -> None:
    """A family names only neutral series that have a kind and a unit."""
    assert set(family.series) <= set(SERIES)


@ROWS
def test_every_family_that_exposes_metrics_can_be_told_by_them(family: Family) -> None:
    """A family with series is found again from the names of those series."""
    if not family.series:
        assert family.name == "openai"
        return
    names = allowed_names([family]) - {"process_start_time_seconds"}
    marks = family.metric_marks
    assert any(name.startswith(marks) for name in names) or family.name == "vllm-ascend"


@ROWS
def test_no_name_stands_twice_in_one_series(family: Family) -> None:
    """The order of a series' names decides, so none of them may come twice."""
    for candidates in family.series.values():
        names = [candidate.name for candidate in candidates]
        assert len(names) == len(set(names))


def test_counters_of_prometheus_client_families_end_in_total() -> None:
    """vLLM, SGLang and LMDeploy expose counters with the `_total` their client library adds."""
    for name in ("vllm", "sglang", "lmdeploy", "lmcache"):
        for series, candidates in family_named(name).series.items():
            for row in candidates:
                if (row.kind or SERIES[series].kind) is Kind.COUNTER:
                    assert row.name.endswith("_total"), row.name


def test_the_new_name_is_taken_before_the_old_one() -> None:
    """vLLM 0.9 exposes a renamed series under both names; the new one is recorded."""
    both = {"vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"}
    assert resolve(VLLM, both) == {"kv_usage_fraction": "vllm:kv_cache_usage_perc"}


def test_an_old_server_resolves_to_the_old_name() -> None:
    """vLLM 0.7's ITL histogram is found by its old name, from its buckets alone."""
    assert resolve(VLLM, {"vllm:time_per_output_token_seconds_bucket"}) == {
        "itl_s": "vllm:time_per_output_token_seconds"
    }


def test_a_name_that_only_begins_like_another_is_not_taken() -> None:
    """`_created` beside a counter, or a longer name, resolves nothing."""
    assert resolve(VLLM, {"vllm:prompt_tokens_created", "vllm:prompt_tokens_total_created"}) == {}


def test_sglang_takes_the_documented_counter_and_reads_both_sides_of_the_rate_from_it() -> None:
    """Hits and queries come from one counter, told apart by the label `mode`."""
    names = {"sglang:prefill_effective_tokens_total", "sglang:realtime_tokens_total"}
    resolved = resolve(SGLANG, names)
    assert resolved["cache_hit_tokens"] == resolved["cache_queried_tokens"]
    hits = exposed(SGLANG, "cache_hit_tokens", resolved["cache_hit_tokens"])
    assert set(hits.where["mode"]) == {"device_hit", "host_hit", "storage_hit"}
    assert rank_labels([VLLM, SGLANG]) == ("tp_rank", "pp_rank", "moe_ep_rank")


def test_mindie_gauges_that_only_grow_are_read_as_counters() -> None:
    """MindIE types its radix-match counts as gauges; the row says to take differences."""
    series = resolve_all([MINDIE], {"npu_radix_match_hit_num", "all_radix_match_num"})
    assert series["cache_hit_tokens"].kind is Kind.CUMULATIVE_GAUGE
    assert series["cache_queried_tokens"].name == "all_radix_match_num"


def test_where_two_families_have_a_series_the_first_counts() -> None:
    """vLLM's own count of the outer cache comes before LMCache's of the same lookups."""
    names = {"vllm:external_prefix_cache_hits_total", "lmcache:num_lookup_hits_total"}
    assert resolve_all([VLLM, LMCACHE], names)["external_hit_tokens"].family == "vllm"
    assert resolve_all([LMCACHE], names)["external_hit_tokens"].family == "lmcache"


def test_a_router_beside_its_engines_leaves_the_cache_to_them() -> None:
    """The engines' new names are found though the router's text has old ones of its own."""
    families = families_by_metrics(
        {"vllm:healthy_pods_total", "vllm:prefix_cache_hits_total", "vllm:num_requests_running"}
    )
    resolved = resolve_all(families, {"vllm:prefix_cache_hits_total", "vllm:num_requests_running"})
    assert resolved["cache_hit_tokens"].name == "vllm:prefix_cache_hits_total"


def test_envoys_tokens_are_told_apart_by_a_label() -> None:
    """One histogram counts input, output and cached tokens; its sum is a counter of each."""
    names = {"gen_ai_client_token_usage_token_sum", "gen_ai_server_time_to_first_token_seconds_sum"}
    resolved = resolve_all([ENVOY_AI_GATEWAY], names)
    assert resolved["prompt_tokens"].name == resolved["generation_tokens"].name
    assert resolved["prompt_tokens"].where == {"gen_ai_token_type": ("input",)}
    assert resolved["ttft_s"].name == "gen_ai_server_time_to_first_token_seconds"


def test_a_born_stamp_tells_restarts_where_the_process_does_not() -> None:
    """Behind several API servers vLLM shows no process start, but when a counter was made."""
    born = {"vllm:generation_tokens_created"}
    assert resolve(VLLM, born) == {"process_start_s": "vllm:generation_tokens_created"}
    assert resolve(VLLM, born | {"process_start_time_seconds"}) == {
        "process_start_s": "process_start_time_seconds"
    }


def test_asking_for_a_name_a_family_does_not_have_is_an_error() -> None:
    """A resolution of another family can't be read with this one's row."""
    with pytest.raises(KeyError, match="does not expose running as sglang:num_running_reqs"):
        exposed(VLLM, "running", "sglang:num_running_reqs")


def test_an_unknown_family_name_lists_the_known_ones() -> None:
    """--family with a typing error is answered with what would have been taken."""
    with pytest.raises(UsageError) as caught:
        family_named("vlmm")
    assert "vllm" in caught.value.hint


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("vllm", "vllm"),
        ("MindIE Server", "mindie"),
        ("sglang", "sglang"),
        ("llamacpp", "llamacpp"),
        ("tensorrt_llm", "tensorrt-llm"),
        ("lmdeploy", "lmdeploy"),
    ],
)
def test_owned_by_names_the_family(owner: str, name: str) -> None:
    """The owner each engine writes into /v1/models is its family."""
    family = family_by_owner(owner)
    assert family is not None
    assert family.name == name


def test_owners_that_are_anyone_name_no_family() -> None:
    """`openai` (LiteLLM), a model's id (TGI) or nothing tell no family."""
    assert [family_by_owner(owner) for owner in ("openai", "me", "")] == [None, None, None]


@pytest.mark.parametrize(
    ("names", "families"),
    [
        ({"vllm:num_requests_running"}, ["vllm"]),
        ({"vllm:num_requests_running", "vllm:healthy_pods_total"}, ["production-stack"]),
        ({"vllm:num_requests_running", "lmcache:num_lookup_hits_total"}, ["vllm", "lmcache"]),
        ({"vllm:num_requests_running", "executor:prepare_inputs:duration"}, ["vllm-ascend"]),
        ({"sglang:num_running_reqs", "dynamo_component_uptime_seconds"}, ["dynamo", "sglang"]),
        ({"num_requests_running", "npu_cache_usage_perc"}, ["mindie"]),
        ({"num_requests_running"}, []),
        ({"tgi_queue_size"}, ["tgi"]),
        ({"trtllm_prompt_tokens_total"}, ["tensorrt-llm"]),
        ({"litellm_in_flight_requests"}, ["litellm"]),
        ({"gen_ai_server_request_duration_seconds_count"}, ["envoy-ai-gateway"]),
        (
            {"route_upstream_model_consumer_metric_input_token", "vllm:num_requests_running"},
            ["higress", "vllm"],
        ),
        (
            {"vllm:healthy_pods_total", "vllm:num_requests_running", "vllm:prompt_tokens_total"},
            ["production-stack", "vllm"],
        ),
        (
            {"executor:prepare_inputs:duration", "vllm:healthy_pods_total", "vllm:e2e"},
            ["production-stack", "vllm-ascend"],
        ),
    ],
)
def test_metric_names_tell_the_family(names: set[str], families: list[str]) -> None:
    """A gateway comes before the engine whose names it passes on; a cache layer comes last."""
    assert [family.name for family in families_by_metrics(names)] == families


def test_a_gateway_is_known_by_its_response_headers() -> None:
    """LiteLLM marks every answer, whatever model list it passes on."""
    family = family_by_headers({"X-LiteLLM-Version": "1.109.1", "date": "-"})
    assert family is not None
    assert family.name == "litellm"
    assert family_by_headers({"server": "uvicorn"}) is None


def test_exporters_are_told_by_their_names_and_scaled_to_base_units() -> None:
    """DCGM's energy counter in millijoules is read as joules."""
    assert exporters_by_metrics({"DCGM_FI_DEV_GPU_UTIL", "node_load1"})[0] is DCGM
    energy = exposed(DCGM, "device_energy_j", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION")
    assert energy.scale * 5000 == 5.0


def test_paths_that_stop_a_server_are_forbidden() -> None:
    """A GET that stops, terminates or slows a server is in the list no look may ask for."""
    assert {"/stopService", "/terminate", "/slow_down", "/release_memory_occupation"} <= (
        FORBIDDEN_PATHS
    )


def test_a_real_vllm_resolves_everything_a_full_measurement_wants(
    capture: Callable[[str], str],
) -> None:
    """vLLM 0.32.0's own /metrics text holds each wanted series under its newest name."""
    names = exposed_names(capture("vllm_metrics.txt"))
    assert [family.name for family in families_by_metrics(names)] == ["vllm"]
    resolved = resolve(VLLM, names)
    absent = set(VLLM.series) - set(resolved)
    assert absent == {
        "swapped",
        "cache_hit_rate_fraction",
        "drafts",
        "draft_tokens",
        "accepted_tokens",
        "accepted_tokens_by_position",
        "process_start_s",
    } - set(resolved)
    assert all(resolved[s] == VLLM.series[s][0].name for s in resolved)


def test_a_real_llama_server_resolves_its_counters(capture: Callable[[str], str]) -> None:
    """llama-server's prompt counter leaves cached tokens out, and is resolved as such."""
    names = exposed_names(capture("llamacpp_metrics.txt"))
    assert [family.name for family in families_by_metrics(names)] == ["llamacpp"]
    resolved = resolve(family_named("llamacpp"), names)
    assert resolved["prompt_tokens_computed"] == "llamacpp:prompt_tokens_total"
    assert resolved["prompt_tokens_cached"] == "llamacpp:prompt_tokens_cached_total"
    assert "prompt_tokens" not in resolved


def test_reading_a_run_needs_no_network_code() -> None:
    """The tables and the functions on samples import no HTTP client: the judge uses them."""
    code = (
        "import sys, bench.servers.families, bench.servers.series, bench.servers.telemetry;"
        "sys.exit(any(name in sys.modules for name in ('aiohttp', 'socket', 'ssl')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
