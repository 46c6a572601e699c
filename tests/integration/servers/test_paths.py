"""Every path that `bench` asks a server for, and that none of them can do it harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bench.conduct.preflight import Ready
from bench.conduct.run import Order, conduct_async
from bench.conduct.tally import Totals
from bench.load.dialects.table import DIALECTS
from bench.model import Target
from bench.servers.families import FAMILIES, FORBIDDEN_PATHS
from bench.sim.config import FamilyName, SimConfig
from bench.sim.process import running_sim
from bench.workload.resolve import Overrides, override, recipe_of_lengths

ASKED = {
    "GET /v1/models",
    "GET /metrics",
    "GET /prometheus/metrics",
    "GET /info",
    "GET /v2",
    "GET /version",
    "GET /stats/prometheus",
    "GET /server_info",
    "POST /tokenize",
    "POST /apply-template",
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/responses",
    "POST /generate_stream",
    "POST /generate",
    "POST /infer",
    "POST /v2/models/sim/generate_stream",
}
"""All of them: a path that is new has to be added here by hand, and thought about."""

DESTRUCTIVE = (
    "stopService", "terminate", "sleep", "wake", "pause", "resume", "abort", "shutdown", "kill",
    "restart", "flush", "reset", "release", "profile", "load", "update", "delete", "health",
    "slots", "slow_down", "rpc", "scale",
)  # fmt: skip
"""Words of paths that stop, hold, empty, change or load some server."""


class Recorder:
    """A proxy in front of a server that keeps what was asked of it."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.asked: set[str] = set()
        self.url = ""

    async def forward(self, request: web.Request) -> web.StreamResponse:
        self.asked.add(f"{request.method} {request.path}")
        kept = {"Content-Type": request.content_type} if request.can_read_body else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, self.upstream + request.path_qs, data=await request.read(),
                headers=kept, allow_redirects=False,
            ) as answer,
        ):  # fmt: skip
            kind = answer.headers.get("Content-Type", "text/plain")
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": kind})
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
        return response


@asynccontextmanager
async def recording(upstream: str) -> AsyncIterator[Recorder]:
    recorder = Recorder(upstream)
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", recorder.forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    recorder.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield recorder
    finally:
        await runner.cleanup()


class Unwatched:
    def note(self, text: str) -> None: ...

    def began(self, folder: Path, ready: Ready) -> None: ...

    def second(self, totals: Totals, elapsed_s: float) -> None: ...


def assert_harmless(asked: set[str]) -> None:
    assert asked <= ASKED
    for each in asked:
        path = each.partition(" ")[2]
        assert not any(path.rstrip("/").endswith(forbidden) for forbidden in FORBIDDEN_PATHS)
        assert not any(word.lower() in path.lower() for word in DESTRUCTIVE)


RUNS: list[tuple[FamilyName, str]] = [
    ("vllm", "completions"),
    ("mindie", "infer"),
    ("llamacpp", "chat"),
]


@pytest.mark.parametrize(("family", "endpoint"), RUNS)
def test_a_run_asks_for_nothing_else(family: FamilyName, endpoint: str, tmp_path: Path) -> None:
    """Probe, planning, load and scrapes together; the load's path is among what was seen."""

    async def main(upstream: str) -> set[str]:
        async with recording(upstream) as recorder:
            recipe = override(
                recipe_of_lengths(32, 4),
                Overrides(requests=4, concurrency=2, endpoint=endpoint),
            )
            order = Order(recipe, Target(recorder.url, "sim", endpoint), tmp_path)
            done = await conduct_async(order, Unwatched())
            assert done.end["ok"] == 4
            return recorder.asked

    with running_sim(SimConfig(port=0, family=family, step_s=0.0005)) as sim:
        asked = asyncio.run(main(sim.url))
    assert_harmless(asked)
    assert f"POST {DIALECTS[endpoint].path}" in asked


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_a_look_at_any_family_asks_for_nothing_else(probed: Any, family: str) -> None:
    """Also a deep one, of a server that has none of what is looked for."""
    event = b'data: {"choices":[{"index":0,%b,"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    chat, text = event % b'"delta":{"content":"a"}', event % b'"text":"a"'
    answers = {
        "/v1/models": (200, "application/json", b'{"data":[{"id":"m"}]}'),
        "/v1/chat/completions": (200, "text/event-stream", chat),
        "/v1/completions": (200, "text/event-stream", text),
    }
    _, stub = probed(answers, family=family, deep=True)
    assert_harmless(set(stub.paths))
