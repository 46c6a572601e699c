"""The transport for everything that is not Linux, or goes through a proxy: aiohttp.

Same flights, same records.  Times are read from the clock when aiohttp hands the bytes over, so
that a busy client inflates them; the manifest says which transport a run used.
"""

from __future__ import annotations

import asyncio
import time

import aiohttp

from bench.address import Origin
from bench.errors import TargetError
from bench.load.flight import Flight
from bench.load.replay import Replay
from bench.model import Target
from bench.tls import tls_context

BEAT_S = 0.1
_READ_BUFFER_BYTES = 1 << 20


class Portable:
    """Sends flights with one aiohttp session, one task for each."""

    clock = "CLOCK_MONOTONIC when aiohttp hands the bytes over"

    def __init__(self, target: Target, origin: Origin, path: str, replay: Replay) -> None:
        self._target = target
        self._origin = origin
        scheme = "https" if origin.tls else "http"
        self._url = f"{scheme}://{origin.authority}{origin.prefix}{path}"
        self._replay = replay
        self._session: aiohttp.ClientSession | None = None
        self._tasks: dict[asyncio.Task[None], Flight] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns: int | None = None
        self._over: asyncio.Future[None] | None = None

    async def warm(self, connections: int) -> None:
        """Opens the session and sees that the server answers; raises TargetError if not."""
        limits = self._target.timeouts
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=4.0,
            ssl=tls_context(self._target.tls) if self._origin.tls else False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=dict(self._target.headers),
            timeout=aiohttp.ClientTimeout(
                total=limits.total_s, sock_connect=limits.connect_s, sock_read=None
            ),
            read_bufsize=_READ_BUFFER_BYTES,
            auto_decompress=True,
            trust_env=True,
        )
        if connections:
            try:
                async with self._session.get(self._url.rsplit("/v1/", 1)[0] + "/v1/models"):
                    pass
            except (aiohttp.ClientError, TimeoutError) as error:
                await self._session.close()
                raise TargetError(
                    f"can't connect to {self._origin.authority}: {error}",
                    "is the server up, and is the port right?",
                ) from None

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
            assert self._session is not None
            await self._session.close()

    def close(self) -> None:
        """Nothing is left to close: the session ends with `run`."""

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            now_ns = time.monotonic_ns()
            self._replay.look_ahead(now_ns)
            abort_ns = self._replay.abort_at_ns
            if abort_ns is not None and now_ns >= abort_ns:
                self.abort()
            self._wake()

    def _wake(self) -> None:
        """Sends what is due, renders one request ahead, and sets the next alarm."""
        self._armed_ns = None
        self._replay.release(time.monotonic_ns())
        self._replay.prepare()
        self._arm()

    def _arm(self) -> None:
        if self._replay.finished and self._over is not None and not self._over.done():
            self._over.set_result(None)
            return
        due_ns = self._replay.next_due_ns
        if due_ns is None or due_ns == self._armed_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_ns = due_ns
        delay_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def submit(self, flight: Flight) -> None:
        task = asyncio.create_task(self._exchange(flight))
        self._tasks[task] = flight

    def abort(self) -> None:
        for task, flight in self._tasks.items():
            flight.aborted = True
            task.cancel()

    async def _exchange(self, flight: Flight) -> None:
        limits = self._target.timeouts
        flight.started_ns = time.monotonic_ns()
        first_or_idle_s = limits.first_byte_s
        assert self._session is not None
        try:
            async with asyncio.timeout(first_or_idle_s) as patience:
                flight.sent_ns = time.monotonic_ns()
                async with self._session.post(
                    self._url,
                    data=flight.request,
                    headers={
                        "Content-Type": "application/json",
                        "X-Request-Id": flight.request_id,
                    },
                    allow_redirects=False,
                ) as response:
                    flight.headers_ns = flight.first_byte_ns = time.monotonic_ns()
                    flight.status = response.status
                    for name, value in response.raw_headers:
                        if name.lower() != b"content-encoding":
                            flight.on_header(name, value)
                    low_ns = flight.headers_ns
                    async for piece in response.content.iter_any():
                        now_ns = time.monotonic_ns()
                        patience.reschedule(asyncio.get_running_loop().time() + limits.idle_s)
                        flight.reads += 1
                        flight.last_read_ns, flight.last_low_ns = now_ns, low_ns
                        flight.on_body(piece)
                        flight.take(now_ns, low_ns)
                        flight.decode()
                        low_ns = now_ns
        except TimeoutError:
            kind = "first_byte_timeout" if flight.headers_ns is None else "idle_timeout"
            total_ns = time.monotonic_ns() - flight.started_ns
            flight.fail("total_timeout" if total_ns >= limits.total_s * 1e9 else kind)
        except aiohttp.ClientError as error:
            flight.fail(_class_of(error, flight), str(error))
        except asyncio.CancelledError:
            flight.aborted = True
        self._tasks.pop(asyncio.current_task(), None)  # type: ignore[arg-type]
        flight.done_ns = flight.last_read_ns or time.monotonic_ns()
        self._replay.ended(flight)
        self._replay.recorded(flight)
        self._wake()


def _class_of(error: aiohttp.ClientError, flight: Flight) -> str:
    """The same classes as the wire transport's, from aiohttp's exceptions."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return "tls"
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ServerTimeoutError():
            return "connect_timeout"
        case aiohttp.ClientConnectorError():
            refused = isinstance(error.os_error, ConnectionRefusedError)
            return "connect_refused" if refused else "connect"
        case aiohttp.ClientPayloadError():
            return "reset_mid_body"
        case aiohttp.ClientResponseError():
            return "malformed_http"
        case _:
            return "reset" if flight.headers_ns is None else "reset_mid_body"
