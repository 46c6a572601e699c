"""What a stream of the simulator would hold, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.sim.api import Endpoint, Reply, Wants
from bench.sim.compose import Composer
from bench.sim.config import EngineConfig
from bench.sim.engine import Engine, simulate
from bench.sim.faults import apply, parse_header
from bench.sim.request import EngineRequest

Payloads = Callable[..., list[Any]]


@pytest.fixture
def payloads() -> Payloads:
    """The decoded events of one stream of a prompt of 5 tokens: `payloads(CHAT, tokens=3)`."""

    def compose(
        endpoint: Endpoint,
        tokens: int,
        wants: Wants | None = None,
        faults: str = "",
        finish_as: str = "length",
    ) -> list[Any]:
        wants = wants or Wants(usage=True)
        prompt = [20, 21, 22, 23, 24]
        request = EngineRequest("x", prompt, tokens, finish_as=finish_as)
        request.steps = []
        chunks = endpoint.chunks(Reply(request, "m", 1, wants))
        composer = Composer(endpoint, chunks, wants, apply(parse_header(faults)), 16)
        events: list[bytes] = []
        for _ in simulate(Engine(EngineConfig(kv_blocks=64)), [(0, request)]):
            events += composer.events(request)[0]
        return [event.decode() if event == b"[DONE]" else json.loads(event) for event in events]

    return compose
