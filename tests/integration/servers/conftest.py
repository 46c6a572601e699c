"""Servers for the tests of bench.servers: the simulated one, and small ones of canned answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from bench.model import Target
from bench.servers.findings import ProbeResult
from bench.servers.probe import probe
from bench.sim.config import SimConfig
from bench.sim.process import SimProcess, running_sim

Answer = Callable[[Any], Any] | tuple[int, str, bytes]

NOT_FOUND = (404, "application/json", b'{"detail":"Not Found"}')


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with running_sim(SimConfig(port=0, max_model_len=8192)) as server:
        yield server


class Stub:
    """A server of canned answers that keeps what it was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers = answers
        self.paths: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(f"{request.method} {request.path}")
        self.headers.append(dict(request.headers))
        if request.method == "POST":
            self.bodies.append(await request.json())
        answer = self.answers.get(request.path, NOT_FOUND)
        if callable(answer):
            answer = answer(request) if request.method == "GET" else answer(self.bodies[-1])
        if isinstance(answer, web.StreamResponse):
            return answer
        status, content_type, body = answer
        return web.Response(status=status, content_type=content_type, body=body)


@asynccontextmanager
async def _serving(answers: dict[str, Answer]) -> AsyncIterator[Stub]:
    stub = Stub(answers)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    stub.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()


def _probed(
    answers: dict[str, Answer], model: str = "", **options: Any
) -> tuple[ProbeResult, Stub]:
    async def run() -> tuple[ProbeResult, Stub]:
        async with _serving(answers) as stub:
            return await probe(Target(stub.url, model), **options), stub

    return asyncio.run(run())


@pytest.fixture
def serving() -> Any:
    """`async with serving({path: answer}) as stub`: a server; an answer may be a function."""
    return _serving


@pytest.fixture
def probed() -> Any:
    """`probed({path: answer}, model)` gives what the probe found, and the server."""
    return _probed
