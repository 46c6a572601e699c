"""The transport for everything that is not Linux, or goes through a proxy: aiohttp.

Same flights, same records.  Times are read from the clock when aiohttp hands the bytes over, so
that a busy client inflates them; the manifest says which transport a run used.  One fault can have
another class than on the wire: a client certificate that is refused behind a TLS 1.3 handshake is
`disconnected` where the pipe broke before the alert was read.
"""

from __future__ import annotations

import asyncio
import io
import ssl
import time
from types import SimpleNamespace
from typing import Any

import aiohttp

from bench.address import Origin
from bench.errors import TargetError
from bench.load.errors import class_of_connect
from bench.load.files import most_connections, no_file_left
from bench.load.flight import Flight
from bench.load.http1 import request_headers
from bench.load.replay import Replay
from bench.model import Target
from bench.tls import tls_context

BEAT_S = 0.1
_KEEP_IDLE_S = 4.0
_READ_BUFFER_BYTES = 1 << 20


class Portable:
    """Sends flights with aiohttp, one task for each.

    `_connecting` holds when a flight began to wait for a new connection, `_reusing` the flights
    whose connection has carried others.
    """

    clock = "CLOCK_MONOTONIC when aiohttp hands the bytes over"

    def __init__(self, target: Target, origin: Origin, path: str, replay: Replay) -> None:
        self._target = target
        self._origin = origin
        self._url = origin.url + path
        self._headers = request_headers(target.headers)
        self._tenants = [request_headers(tenant) for tenant in target.tenants] or [{}]
        self._replay = replay
        self._most = most_connections()
        self._kept: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._connecting: dict[Flight, int] = {}
        self._reusing: set[Flight] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[None] | None = None

    # -- life ------------------------------------------------------------------------------

    async def warm(self, connections: int) -> None:
        """Sees that the server answers; raises TargetError if it does not."""
        self._kept, self._fresh = self._session(keep=True), self._session(keep=False)
        if not connections:
            return
        try:
            async with (
                asyncio.timeout(self._target.timeouts.connect_s),
                self._fresh.get(self._origin.url + "/v1/models", allow_redirects=False),
            ):
                pass
        except (aiohttp.ClientError, OSError) as error:
            await self._close_sessions()
            raise TargetError(
                f"can't connect to {self._origin.authority}: {error or type(error).__name__}",
                "is the server up, and is the port right?",
            ) from None

    def _session(self, *, keep: bool) -> aiohttp.ClientSession:
        """Connections that are kept for the next flight, or not."""
        context: ssl.SSLContext | bool = True
        if self._origin.tls:
            context = tls_context(self._target.tls)
        if keep:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_IDLE_S, ssl=context)
        else:
            connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=context)
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            read_bufsize=_READ_BUFFER_BYTES,
            auto_decompress=False,
            trust_env=True,
            trace_configs=[self._trace()],
        )

    async def run(self, start_ns: int) -> None:
        """Runs the replay from `start_ns` until it is finished."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        self._replay.start(start_ns, self)
        beat = asyncio.create_task(self._beat())
        self._arm()
        try:
            await self._over
        finally:
            beat.cancel()
            if self._timer is not None:
                self._timer.cancel()
            for task in list(self._tasks):
                task.cancel()
            await self._close_sessions()

    async def _close_sessions(self) -> None:
        for session in (self._kept, self._fresh):
            if session is not None:
                await session.close()

    def close(self) -> None:
        """Nothing is left to close: the sessions end with `run`."""

    # -- the loop --------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Time limits, answers without end, look-ahead, the end of the drain."""
        while True:
            await asyncio.sleep(BEAT_S)
            now_ns, limits = time.monotonic_ns(), self._target.timeouts
            for task, flight in list(self._tasks.items()):
                overdue = flight.overdue(limits, now_ns, self._connecting.get(flight))
                if overdue is not None:
                    flight.fail(*overdue)
                elif (why := flight.runs_on) is not None:
                    flight.fail("runs_on", why)
                else:
                    continue
                task.cancel()
            self._replay.look_ahead(now_ns)
            abort_ns = self._replay.abort_at_ns
            if abort_ns is not None and now_ns >= abort_ns:
                self.abort()
            self._wake()

    def _wake(self) -> None:
        """Sends what is due, renders one request ahead, and sets the next alarm.

        What goes wrong in it ends the run instead of being logged by asyncio.
        """
        try:
            self._replay.release(time.monotonic_ns())
            self._replay.prepare()
            self._arm()
        except Exception as error:
            self._end(error)

    def _arm(self) -> None:
        if self._replay.finished:
            self._end(None)
            return
        if self._timer is not None:
            self._timer.cancel()
        due_ns = self._replay.next_due_ns
        if due_ns is not None:
            delay_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _end(self, error: BaseException | None) -> None:
        assert self._over is not None
        if self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    # -- flights ---------------------------------------------------------------------------

    def submit(self, flight: Flight) -> None:
        flight.started_ns = time.monotonic_ns()
        if len(self._tasks) >= self._most:
            flight.fail("no_socket", str(no_file_left()))
        task = asyncio.create_task(self._exchange(flight))
        self._tasks[task] = flight
        task.add_done_callback(self._ended)

    def abort(self) -> None:
        """Ends every flight now; they are recorded as aborted."""
        for task in self._tasks:
            task.cancel()

    async def _exchange(self, flight: Flight) -> None:
        """One request; what goes wrong with it is kept as its class.

        A kept connection that the server has closed meanwhile is replaced by a new one, once.
        """
        assert self._kept is not None and self._fresh is not None
        if flight.error_class is not None:
            return
        try:
            try:
                await self._post(self._kept, flight)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                stale = flight in self._reusing and flight.headers_ns is None
                if not stale or isinstance(error, aiohttp.ClientConnectorError):
                    raise
                flight.reconnects += 1
                flight.sent_ns = None
                await self._post(self._fresh, flight)
        except (aiohttp.ClientError, OSError) as error:
            flight.fail(self._class_of(error, flight), str(error) or type(error).__name__)

    async def _post(self, session: aiohttp.ClientSession, flight: Flight) -> None:
        own = self._tenants[flight.session % len(self._tenants)]
        async with session.post(
            self._url,
            data=io.BytesIO(
                flight.request
            ),  # bytes above 1 MiB would be sent in one blocking piece
            headers={**own, "X-Request-Id": flight.request_id},
            allow_redirects=False,
            trace_request_ctx=flight,
        ) as response:
            low_ns = flight.headers_ns = flight.first_byte_ns = time.monotonic_ns()
            flight.last_read_ns = low_ns
            flight.status = response.status
            for name, value in response.raw_headers:
                flight.on_header(name, value)
            async for piece in response.content.iter_any():
                now_ns = time.monotonic_ns()
                flight.reads += 1
                flight.last_read_ns, flight.last_low_ns = now_ns, low_ns
                flight.on_body(piece)
                flight.body.mark(now_ns, low_ns)
                flight.decode()
                low_ns = now_ns

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task is over: in order, cancelled, perhaps before it began, or by a bug."""
        flight = self._tasks.pop(task)
        self._connecting.pop(flight, None)
        self._reusing.discard(flight)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)
            return
        if task.cancelled():
            flight.aborted = flight.error_class is None
        whole = flight.error_class is None and not flight.aborted
        flight.done_ns = flight.last_read_ns if whole else time.monotonic_ns()
        try:
            self._replay.ended(flight)
            self._replay.recorded(flight)
        except Exception as error:
            self._end(error)
        else:
            self._wake()

    def _trace(self) -> aiohttp.TraceConfig:
        """Tells when a flight connects, whether its connection is a kept one, when it is sent."""

        async def connecting(_: Any, context: SimpleNamespace, __: Any) -> None:
            if isinstance(flight := context.trace_request_ctx, Flight):
                self._connecting[flight] = time.monotonic_ns()
                self._reusing.discard(flight)

        async def connected(_: Any, context: SimpleNamespace, __: Any) -> None:
            if isinstance(flight := context.trace_request_ctx, Flight):
                flight.connect_ns = time.monotonic_ns() - self._connecting.pop(flight)
                flight.connection_requests = 0

        async def reusing(_: Any, context: SimpleNamespace, __: Any) -> None:
            if isinstance(flight := context.trace_request_ctx, Flight):
                self._reusing.add(flight)

        async def sent(_: Any, context: SimpleNamespace, __: Any) -> None:
            if isinstance(flight := context.trace_request_ctx, Flight):
                flight.sent_ns = time.monotonic_ns()

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_start.append(connecting)
        trace.on_connection_create_end.append(connected)
        trace.on_connection_reuseconn.append(reusing)
        trace.on_request_chunk_sent.append(sent)
        return trace

    def _class_of(self, error: Exception, flight: Flight) -> str:
        """The same classes as the wire transport's, from aiohttp's exceptions."""
        match error:
            case aiohttp.ClientConnectorDNSError():
                # a resolver that could open no socket says so by its errno
                found = class_of_connect(error.os_error)
                return found if found == "no_socket" else "dns"
            case aiohttp.ClientSSLError() | ssl.SSLError():
                return "tls"
            case aiohttp.ClientConnectorError():
                return self._connect_class_of(error.os_error)
            case aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
                cut = isinstance(error, aiohttp.ClientPayloadError)
                return "disconnected_mid_body" if cut else "malformed_http"
        if isinstance(error.__cause__, ssl.SSLError):
            return "tls"
        return "disconnected" if flight.headers_ns is None else "disconnected_mid_body"

    def _connect_class_of(self, error: OSError) -> str:
        if self._origin.tls and isinstance(error, ConnectionResetError | ConnectionAbortedError):
            return "tls"  # inside the handshake
        return class_of_connect(error)
