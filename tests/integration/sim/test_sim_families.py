"""Each simulated family over real sockets, looked at by the probe that meets real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bench.model import Target
from bench.servers.findings import ProbeResult
from bench.servers.probe import probe
from bench.sim.config import SimConfig
from bench.sim.http import SimServer

Served = Callable[..., Any]
GUARD_S = 30.0


def look(family: str, endpoint: str = "chat", **fields: Any) -> ProbeResult:
    """What the probe finds at a simulated server of this family."""

    async def main() -> ProbeResult:
        config = SimConfig(port=0, family=family, step_s=0.001, kv_blocks=4096, **fields)
        async with SimServer(config) as server:
            metrics = server.urls.get("metrics", server.url)
            target = Target(server.url, "", endpoint)
            found = probe(target, metrics_url=f"{metrics}/metrics", deep=True)
            return await asyncio.wait_for(found, GUARD_S)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("family", "role_frame", "usage_place", "finish_place", "done"),
    [
        ("vllm", "once", "own_event", "with_text", True),
        ("mindie", "every", "finish_event", "with_text", True),
        ("sglang", "once", "own_event", "own_event", True),
        ("llamacpp", "once", "own_event", "own_event", True),
        ("tgi", "every", "own_event", "with_text", True),
    ],
)
def test_a_family_is_recognised_by_what_it_says(
    family: str, role_frame: str, usage_place: str, finish_place: str, done: bool
) -> None:
    """Family, version and the form of its chat stream are found without being told."""
    found = look(family)
    assert found.server.family == family
    assert found.server.version is not None and "bench.sim" in found.server.version
    assert found.stream is not None
    assert (found.stream.role_frame, found.stream.usage_place) == (role_frame, usage_place)
    assert (found.stream.finish_place, found.stream.done) == (finish_place, done)
    assert found.stream.output_tokens == found.stream.events - len_without_tokens(found)


def len_without_tokens(found: ProbeResult) -> int:
    """Events of the probe's stream that hold no token: role, finish and usage of their own."""
    assert found.stream is not None
    stream = found.stream
    role = found.server.family in ("vllm", "mindie", "sglang", "llamacpp")
    return role + (stream.finish_place == "own_event") + (stream.usage_place == "own_event")


@pytest.mark.parametrize(
    ("family", "block_tokens"), [("vllm", 16), ("mindie", 128), ("sglang", 1), ("llamacpp", 1)]
)
def test_a_repeated_prompt_hits_whole_blocks(family: str, block_tokens: int) -> None:
    """All full blocks of a repeated prompt, but for its last token."""
    found = look(family)
    assert found.closer is not None
    prompt, cached = found.closer.repeat_prompt_tokens, found.closer.repeat_cached_tokens
    assert prompt is not None
    assert cached == (prompt - 1) // block_tokens * block_tokens


@pytest.mark.parametrize(("family", "isolates"), [("vllm", True), ("sglang", True)])
def test_a_cache_salt_isolates(family: str, isolates: bool) -> None:
    """Under another salt the same prompt finds nothing."""
    closer = look(family).closer
    assert closer is not None and closer.salt_isolates is isolates


@pytest.mark.parametrize(
    ("endpoint", "method"),
    [("tgi", "token_ids"), ("infer", "token_ids"), ("triton", "continuous_usage"),
     ("generate", "events"), ("completions", "usage_spread")],
)  # fmt: skip
def test_mindies_interfaces_count_tokens_their_way(endpoint: str, method: str) -> None:
    """How each interface of MindIE accounts for its tokens."""
    stream = look("mindie", endpoint).stream
    assert stream is not None and stream.token_method == method
    assert stream.output_tokens == 8


def test_mindies_metrics_need_monitoring() -> None:
    """Without MIES_SERVICE_MONITOR_MODE the metrics port answers 500 with that name."""
    found = look("mindie", monitoring=False)
    assert found.metrics.url is None
    assert "status 500" in found.metrics.reason
    assert "MIES_SERVICE_MONITOR_MODE" in found.metrics.reason


def test_mindies_ports_serve_nothing_else() -> None:
    """Health is on the management port, metrics on theirs, generation on the business port."""

    async def main() -> dict[tuple[str, str], int]:
        import aiohttp

        config = SimConfig(port=0, family="mindie")
        async with SimServer(config) as server, aiohttp.ClientSession() as session:
            found = {}
            for role, url in server.urls.items():
                for path in ("/v1/models", "/v2/health/ready", "/metrics"):
                    async with session.get(url + path) as answer:
                        found[role, path] = answer.status
            return found

    found = asyncio.run(asyncio.wait_for(main(), GUARD_S))
    served = {where for where, status in found.items() if status == 200}
    assert served == {
        ("business", "/v1/models"),
        ("management", "/v2/health/ready"),
        ("metrics", "/metrics"),
    }


def test_the_responses_api_is_measured() -> None:
    """A stream of the Responses API: usage in its last event, tokens by its deltas."""
    found = look("vllm", "responses")
    assert found.stream is not None
    assert found.stream.token_method == "usage_spread"
    assert (found.stream.output_tokens, found.stream.cached_tokens) == (8, 0)
