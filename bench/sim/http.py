"""The simulated server: engines behind the HTTP ports of a family."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from bench.errors import UsageError
from bench.sim.answer import Answering, refused
from bench.sim.api import ApiError, Endpoint, Facts, Page
from bench.sim.config import Certificates, SimConfig
from bench.sim.driver import Driver
from bench.sim.engine import Engine
from bench.sim.families import FAMILIES
from bench.sim.faults import Fault, FaultPlan
from bench.sim.intake import read_json
from bench.sim.metrics import CONTENT_TYPE, MetricsPage
from bench.sim.stats import EngineStats
from bench.sim.truth import TruthRecord, TruthRow

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

_BODY_LIMIT_BYTES = 256 * 1024 * 1024
_BACKLOG = 4096
_CLOSE_WAIT_S = 1.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SimServer:
    """A server that runs in this process while it is entered: `async with SimServer(config)`.

    `tasks` never end before it is left, unless one fails.  Raises UsageError when a port is taken,
    a fault text or a certificate is wrong, the truth file can't be written or the key is not set.
    """

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        self.family = FAMILIES[config.family]
        self._key = _api_key(config.api_key_env)
        self._tls = _tls_context(config.tls)
        self._faults = FaultPlan(config.faults, config.seed)
        table = self.family.metrics
        self.engines = [
            Engine(
                config.model_copy(update={"seed": config.seed + rank}),
                EngineStats.with_bounds(table.bounds),
            )
            for rank in range(config.replicas)
        ]
        self._drivers = [Driver(engine) for engine in self.engines]
        self._truth = TruthRecord()
        self._answering = Answering(self.family, config, self._drivers, self._faults, self._truth)
        self._page = MetricsPage(table, self.engines, config.model)
        self._facts = Facts(config, self.engines, int(time.time()))
        self._runners = {
            role: web.AppRunner(
                application,
                handler_cancellation=True,
                access_log=None,
                keepalive_timeout=config.keepalive_s,
                shutdown_timeout=_CLOSE_WAIT_S,
            )
            for role, application in self._applications().items()
        }
        self.tasks: list[asyncio.Task[None]] = []
        self._sites: dict[str, web.TCPSite] = {}
        self.ports = {
            "business": config.port,
            "management": config.management_port,
            "metrics": config.metrics_port,
        }

    @property
    def urls(self) -> dict[str, str]:
        """The address of each port, by its role: `business`, and what the family has beside it."""
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        scheme = "http" if self._tls is None else "https"
        return {role: f"{scheme}://{host}:{self.ports[role]}" for role in self._runners}

    @property
    def url(self) -> str:
        return self.urls["business"]

    @property
    def port(self) -> int:
        return self.ports["business"]

    @property
    def truth(self) -> deque[TruthRow]:
        """What happened to each request that has ended, the last 100,000 of them."""
        return self._truth.rows

    async def __aenter__(self) -> SimServer:
        try:
            for role, runner in self._runners.items():
                await runner.setup()
                await self._listen(role)
            if self.config.truth is not None:
                self._truth.open(self.config.truth)
        except BaseException:
            for runner in self._runners.values():
                await runner.cleanup()
            raise
        self.tasks = [asyncio.create_task(driver.run()) for driver in self._drivers]
        if (refresh_s := self.family.metrics.refresh_s) is not None:
            self.tasks.append(asyncio.create_task(self._gather(refresh_s)))
        started_s = asyncio.get_running_loop().time()
        self.tasks += [
            asyncio.create_task(self._in_window(fault, started_s))
            for fault in self._faults.of_the_server
        ]
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
        for runner in self._runners.values():
            await runner.cleanup()
        self._truth.close()

    async def _listen(self, role: str) -> None:
        host, port = self.config.host, self.ports[role]
        runner = self._runners[role]
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG, ssl_context=self._tls)
        try:
            await site.start()
        except OSError as error:
            raise UsageError(
                f"can't listen on {host}:{port} ({role}): {error.strerror}",
                "choose another port, or 0 for a free one",
            ) from None
        self._sites[role] = site
        self.ports[role] = runner.addresses[0][1]

    async def _in_window(self, fault: Fault, started_s: float) -> None:
        """Let a fault happen to the whole server in its window, then wait for ever."""
        assert fault.window_s is not None
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(started_s + fault.window_s[0] - clock())
        if fault.kind == "slow_steps":
            self._set_pace(fault.shape["factor"])
        else:
            for site in self._sites.values():
                await site.stop()
            self._cut_connections()
        await asyncio.sleep(started_s + fault.window_s[1] - clock())
        if fault.kind == "slow_steps":
            self._set_pace(1)
        else:
            if fault.kind == "restart":
                self._forget()
            for role in self._runners:
                await self._listen(role)
        await asyncio.Event().wait()  # a task that ends has failed

    async def _gather(self, refresh_s: float) -> None:
        """Refresh what the metrics page does not read at each scrape."""
        while True:
            self._page.gather()
            await asyncio.sleep(refresh_s)

    def _set_pace(self, factor: float) -> None:
        for engine in self.engines:
            engine.slowdown = factor

    def _forget(self) -> None:
        """What a new process would not know; its requests were cut off before."""
        for engine in self.engines:
            engine.restart()
        self._page.restart()

    def _cut_connections(self) -> None:
        for runner in self._runners.values():
            if runner.server is not None:
                for connection in runner.server.connections:
                    connection.force_close()

    def _applications(self) -> dict[str, web.Application]:
        """What listens: one port, or three where the family has a management of its own."""
        business = _application(self._guard)
        add_post = business.router.add_post
        for endpoint in self.family.endpoints:
            path = endpoint.path.replace("{model}", self.config.model)
            add_post(path, partial(self._generate, endpoint))
        for path in self.family.tokenize:
            add_post(path, self._tokenize)
        for path in self.family.resets:
            add_post(path, self._reset_prefix_cache)
        self._add_pages(business, self.family.pages)
        if not self.family.management:
            business.router.add_get("/metrics", self._metrics)
            return {"business": business}
        management, metrics = _application(), _application()
        self._add_pages(management, self.family.management)
        metrics.router.add_get("/metrics", self._metrics)
        return {"business": business, "management": management, "metrics": metrics}

    def _add_pages(self, application: web.Application, pages: Mapping[str, Page]) -> None:
        for path, page in pages.items():
            application.router.add_get(path, partial(self._show, page))

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """The key, for /v1 alone as in vLLM, and the family's form of errors."""
        if self._key is not None and request.path.startswith("/v1/"):
            given = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, b"Bearer " + self._key):
                return self._json(self.family.unauthorized, 401)
        try:
            return await handler(request)
        except ApiError as refusal:
            return refused(self.family, refusal)
        except web.HTTPException as error:
            if error.status == 404:
                return self._json(self.family.unknown_path, 404)
            return self._json(orjson.dumps({"detail": error.reason}), error.status)

    async def _generate(self, endpoint: Endpoint, http: web.Request) -> web.StreamResponse:
        return await self._answering.answer(http, endpoint)

    async def _tokenize(self, http: web.Request) -> web.Response:
        body = read_json(await http.read(), http.content_type)
        return self._json(self.family.tokenize[http.path](body, self._facts))

    async def _reset_prefix_cache(self, http: web.Request) -> web.Response:
        failed = [rank for rank, engine in enumerate(self.engines) if not engine.blocks.reset()]
        return self._json(orjson.dumps({"success": not failed}))

    async def _show(self, page: Page, http: web.Request) -> web.Response:
        return self._json(page(self._facts))

    async def _metrics(self, http: web.Request) -> web.Response:
        off = self.family.metrics_off
        if off is not None and not self.config.monitoring:
            return self._json(off[1], off[0])
        headers = {"Content-Type": CONTENT_TYPE, "Server": self.family.server_header}
        return web.Response(body=self._page.render(), headers=headers)

    def _json(self, body: bytes, status: int = 200) -> web.Response:
        headers = {"Server": self.family.server_header}
        if body:
            headers["Content-Type"] = "application/json"
        return web.Response(body=body, status=status, headers=headers)


def _application(*middlewares: Middleware) -> web.Application:
    return web.Application(client_max_size=_BODY_LIMIT_BYTES, middlewares=middlewares)


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


def _tls_context(certificates: Certificates | None) -> ssl.SSLContext | None:
    if certificates is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificates.cert, certificates.key)
        if certificates.client_ca is not None:
            context.load_verify_locations(certificates.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the server's certificate files: {error}",
            "expected PEM files: --tls-cert, --tls-key, and --tls-client-ca for mutual TLS",
        ) from None
    return context
