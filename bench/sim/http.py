"""The simulated server: engines behind an OpenAI-compatible HTTP port."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType

import orjson
from aiohttp import web

from bench.errors import UsageError
from bench.sim import dialect_vllm as dialect
from bench.sim.answer import SERVER, Answering, refused
from bench.sim.config import SimConfig
from bench.sim.dialect_vllm import ApiError
from bench.sim.driver import Driver
from bench.sim.engine import Engine
from bench.sim.faults import FaultPlan
from bench.sim.intake import chat_prompt, check_model, completion_prompt, read_json
from bench.sim.metrics import CONTENT_TYPE, MetricsPage
from bench.sim.metrics_vllm import BOUNDS
from bench.sim.stats import EngineStats
from bench.sim.tokens import pieces
from bench.sim.truth import TruthRecord, TruthRow

_BODY_LIMIT_BYTES = 256 * 1024 * 1024
_BACKLOG = 4096
_CLOSE_WAIT_S = 1.0


class SimServer:
    """A server that runs in this process while it is entered: `async with SimServer(config)`.

    `tasks` never end before it is left, unless one fails.  Raises UsageError when the port is
    taken, a fault text is wrong, the truth file can't be written or the key is not set.
    """

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        self._key = _api_key(config.api_key_env)
        self._faults = FaultPlan(config.faults, config.seed)
        self.engines = [
            Engine(
                config.model_copy(update={"seed": config.seed + rank}),
                EngineStats.with_bounds(BOUNDS),
            )
            for rank in range(config.replicas)
        ]
        self._drivers = [Driver(engine) for engine in self.engines]
        self._truth = TruthRecord()
        self._answering = Answering(config, self._drivers, self._faults, self._truth)
        self._page = MetricsPage(self.engines, config.model)
        self._created_s = int(time.time())
        self._runner = web.AppRunner(
            self._application(),
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=config.keepalive_s,
            shutdown_timeout=_CLOSE_WAIT_S,
        )
        self.tasks: list[asyncio.Task[None]] = []
        self._site: web.TCPSite | None = None
        self.port = config.port

    @property
    def url(self) -> str:
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"http://{host}:{self.port}"

    @property
    def truth(self) -> deque[TruthRow]:
        """What happened to each request that has ended, the last 100,000 of them."""
        return self._truth.rows

    async def __aenter__(self) -> SimServer:
        try:
            await self._runner.setup()
            await self._listen()
            if self.config.truth is not None:
                self._truth.open(self.config.truth)
        except OSError as error:
            await self._runner.cleanup()
            raise UsageError(
                f"can't listen on {self.config.host}:{self.config.port}: {error.strerror}",
                "choose another --port, or 0 for a free one",
            ) from None
        except UsageError:
            await self._runner.cleanup()
            raise
        self.tasks = [asyncio.create_task(driver.run()) for driver in self._drivers]
        if self._faults.outages_s:
            self.tasks.append(asyncio.create_task(self._outages()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._cut_connections()  # ends the requests on them, which writes their truth
        await self._runner.cleanup()
        self._truth.close()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, self.config.host, self.port, backlog=_BACKLOG)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def _outages(self) -> None:
        """Stop listening and cut every connection in each window of the `refuse` faults."""
        clock = asyncio.get_running_loop().time
        started_s = clock()
        for start_s, end_s in self._faults.outages_s:
            await asyncio.sleep(started_s + start_s - clock())
            if self._site is not None:
                await self._site.stop()
            self._cut_connections()
            await asyncio.sleep(started_s + end_s - clock())
            await self._listen()

    def _cut_connections(self) -> None:
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                connection.force_close()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=_BODY_LIMIT_BYTES, middlewares=[self._guard])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/reset_prefix_cache", self._reset_prefix_cache)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/ping", self._health)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The key, for /v1 alone as in vLLM, and vLLM's form of errors."""
        if self._key is not None and request.path.startswith("/v1/"):
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, b"Bearer " + self._key):
                return _json(dialect.UNAUTHORIZED, 401)
        try:
            return await handler(request)
        except ApiError as refusal:
            return refused(refusal)
        except web.HTTPException as error:
            return _json(orjson.dumps({"detail": error.reason}), error.status)

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        return await self._answering.answer(http, dialect.CHAT)

    async def _completions(self, http: web.Request) -> web.StreamResponse:
        return await self._answering.answer(http, dialect.COMPLETIONS)

    async def _tokenize(self, http: web.Request) -> web.Response:
        body = read_json(await http.read(), http.content_type)
        check_model(body, self.config)
        ids = chat_prompt(body) if "messages" in body else completion_prompt(body)
        texts = None
        if body.get("return_token_strs") and isinstance(body.get("prompt"), str):
            texts = pieces(body["prompt"])
        return _json(
            orjson.dumps(
                {
                    "count": len(ids),
                    "max_model_len": self.config.context_tokens,
                    "tokens": ids,
                    "token_strs": texts,
                }
            )
        )

    async def _reset_prefix_cache(self, http: web.Request) -> web.Response:
        failed = [rank for rank, engine in enumerate(self.engines) if not engine.blocks.reset()]
        return _json(orjson.dumps({"success": not failed}))

    async def _models(self, http: web.Request) -> web.Response:
        model = {
            "id": self.config.model,
            "object": "model",
            "created": self._created_s,
            "owned_by": dialect.OWNER,
            "root": self.config.model,
            "parent": None,
            "max_model_len": self.config.context_tokens,
        }
        return _json(orjson.dumps({"object": "list", "data": [model]}))

    async def _health(self, http: web.Request) -> web.Response:
        return web.Response(headers={"Server": SERVER})

    async def _version(self, http: web.Request) -> web.Response:
        return _json(orjson.dumps({"version": dialect.VERSION}))

    async def _metrics(self, http: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE, "Server": SERVER}
        return web.Response(body=self._page.render(), headers=headers)


def _json(body: bytes, status: int = 200) -> web.Response:
    headers = {"Content-Type": "application/json", "Server": SERVER}
    return web.Response(body=body, status=status, headers=headers)


def _api_key(name: str | None) -> bytes | None:
    if name is None:
        return None
    key = os.environ.get(name)
    if not key:
        raise UsageError(
            f"environment variable {name} (--api-key-env) is not set or empty",
            f"set it to the key that clients have to send: export {name}=...",
        )
    return key.encode()
