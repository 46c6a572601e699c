"""The Linux transport: non-blocking sockets in one epoll set, times from the kernel.

One callback of asyncio drains every ready socket, sends what is due and decodes finished answers
in slices of at most SLICE_NS between reads.  It keeps the thread for up to TURN_NS before asyncio
has its own turn, because a pass through asyncio costs more than a read.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import ssl
import struct
import time
from collections import deque

import httptools

from bench.address import Origin
from bench.errors import TargetError
from bench.load.clock import ClockPair, Timer
from bench.load.connection import Connection
from bench.load.flight import Flight
from bench.load.http1 import resolve
from bench.load.replay import Replay
from bench.model import Target
from bench.tls import tls_context

SLICE_NS = 300_000
TURN_NS = 5_000_000
SWEEP_NS = 100_000_000
CLOCK_NS = 1_000_000
CALM_SOCKETS = 16
"""With more sockets ready at once than this, decoding waits until they are read."""

BACKLOG_FLIGHTS = 512
"""Finished answers wait while there is something to read, but not more than so many."""

KEEP_IDLE_NS = 4_000_000_000
"""Idle connections are replaced before a server's usual limit (uvicorn, llama.cpp: 5 s)."""

WARM_BATCH = 32
_RECEIVE_BYTES = 262_144
_STAMP = struct.Struct("qq")
_DECODE_EVERY_BYTES = 262_144
_MAX_EVENTS = 512


class Wire:
    """Sends flights and reads their answers; see the module's text.

    `spare` connections are kept open and idle, so that a due request finds one.
    """

    clock = "kernel receive time (SO_TIMESTAMPNS), mapped to CLOCK_MONOTONIC"

    def __init__(self, target: Target, origin: Origin, replay: Replay, *, spare: int) -> None:
        self._origin = origin
        self._replay = replay
        self._timeouts = target.timeouts
        self._family, self._address = resolve(origin)
        self._context: ssl.SSLContext | None = tls_context(target.tls) if origin.tls else None
        self._epoll = select.epoll()
        self._timer = Timer()
        self._epoll.register(self._timer.fd, select.EPOLLIN)
        self._clock = ClockPair()
        self._connections: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._closed: list[Connection] = []
        self._opening = 0
        self._done: deque[Flight] = deque()
        self._spare = spare
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self._low_ns = self._next_clock_ns = 0
        self._calm = True
        self._next_sweep_ns = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Future[None] | None = None
        self._warm_error: OSError | None = None

    # -- life ------------------------------------------------------------------------------

    async def warm(self, connections: int) -> None:
        """Opens connections in small batches before the clock starts.

        Raises TargetError when the server takes none.
        """
        deadline_ns = time.monotonic_ns() + round(self._timeouts.connect_s * 1e9)
        while len(self._idle) < connections:
            now_ns = time.monotonic_ns()
            if self._warm_error is not None or now_ns > deadline_ns:
                break
            while self._opening < min(WARM_BATCH, connections - len(self._idle)):
                self._connect(now_ns)
            self._read_ready(0.01)
            await asyncio.sleep(0)
        if not self._idle and connections:
            why = self._warm_error or "no answer in time"
            where = f"{self._origin.host}:{self._origin.port}"
            raise TargetError(
                f"can't connect to {where}: {why}", "is the server up, and is the port right?"
            )

    async def run(self, start_ns: int) -> None:
        """Runs the replay from `start_ns` until it is finished."""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self._replay.start(start_ns, self)
        self._low_ns = self._next_sweep_ns = time.monotonic_ns()
        self._arm()
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)
        beat = asyncio.create_task(self._beat())
        try:
            await self._over
        finally:
            beat.cancel()
            self._loop.remove_reader(self._epoll.fileno())

    async def _beat(self) -> None:
        """Keeps timeouts and look-ahead going while no socket is ready."""
        while True:
            await asyncio.sleep(SWEEP_NS / 1e9)
            self._on_ready()

    def close(self) -> None:
        for connection in (*self._connections.values(), *self._closed):
            connection.sock.close()
        self._connections.clear()
        self._timer.close()
        self._epoll.close()

    # -- the loop --------------------------------------------------------------------------

    def _on_ready(self) -> None:
        """A turn; what goes wrong in it ends the run instead of being logged by asyncio."""
        assert self._over is not None
        if self._over.done():
            return
        try:
            self._turn()
        except Exception as error:
            self._over.set_exception(error)

    def _turn(self) -> None:
        """Reads, sends and decodes until there is nothing to do or asyncio must have a turn."""
        replay, counters = self._replay, self._replay.counters
        now_ns = before_ns = time.monotonic_ns()
        until_ns = now_ns + TURN_NS
        wait_s = 0.0
        while True:
            got = self._read_ready(wait_s)
            if wait_s:
                before_ns = time.monotonic_ns()
            now_ns = time.monotonic_ns()
            due_ns = replay.next_due_ns
            if due_ns is not None and due_ns <= now_ns:
                replay.release(now_ns)
            if now_ns >= self._next_sweep_ns:
                self._sweep(now_ns)
            more = bool(self._done) and got > 0
            if not more or len(self._done) > BACKLOG_FLIGHTS:
                more = self._decode_slice()
            now_ns = time.monotonic_ns()
            counters.stall_max_ns = max(counters.stall_max_ns, now_ns - before_ns)
            before_ns = now_ns
            if now_ns >= until_ns:
                break
            if more:
                wait_s = 0.0
            elif wait_s and not got:
                break
            else:
                self._arm()
                wait_s = max(0.001, (until_ns - now_ns) / 1e9)
        self._arm()
        if replay.finished and self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _arm(self) -> None:
        due_ns = self._replay.next_due_ns
        if due_ns is not None:
            self._timer.arm(due_ns)

    def _decode_slice(self) -> bool:
        """Decodes finished answers, or renders ahead, for one slice; True when more is left."""
        done, replay = self._done, self._replay
        until_ns = time.monotonic_ns() + SLICE_NS
        while done:
            replay.recorded(done.popleft())
            if time.monotonic_ns() >= until_ns:
                return bool(done)
        while replay.prepare():
            if time.monotonic_ns() >= until_ns:
                return True
        return False

    def _read_ready(self, wait_s: float) -> int:
        """One pass over the ready sockets; returns how many there were."""
        while self._closed:
            self._closed.pop().sock.close()
        ready = self._epoll.poll(wait_s, _MAX_EVENTS)
        polled_ns = time.monotonic_ns()
        if polled_ns >= self._next_clock_ns:
            self._next_clock_ns = polled_ns + CLOCK_NS
            if self._clock.refresh():
                self._replay.counters.clock_steps += 1
        self._calm = len(ready) <= CALM_SOCKETS
        connections = self._connections
        for fd, events in ready:
            connection = connections.get(fd)
            if connection is None:
                if fd == self._timer.fd:
                    self._timer.clear()
                continue
            try:
                if events & select.EPOLLOUT:
                    self._on_writable(connection)
                if events & ~select.EPOLLOUT:
                    self._on_readable(connection)
            except (OSError, ssl.SSLError) as error:
                self._broken(connection, error)
        if len(ready) < _MAX_EVENTS:
            self._low_ns = polled_ns
        return len(ready)

    def _on_readable(self, connection: Connection) -> None:
        try:
            size, ancillary, _, _ = connection.recvmsg_into((self._buffer,), 64)
        except BlockingIOError:
            return
        if not size:
            self._end_of_input(connection)
            return
        if ancillary:
            seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
            at_ns = seconds * 1_000_000_000 + nanoseconds - self._clock.offset_ns
        else:
            at_ns = time.monotonic_ns()
        received: memoryview | bytes = self._buffer[:size]
        if connection.encrypted and not (received := self._decrypted(connection, size)):
            return
        if connection.flight is None:
            self._drop(connection)  # bytes that no one asked for
        else:
            self._take(connection, connection.flight, received, at_ns)

    def _decrypted(self, connection: Connection, size: int) -> bytes:
        opening = not connection.open
        received = connection.decrypt(self._buffer[:size])
        if opening and connection.open:
            self._opened(connection)
        return received

    def _take(
        self, connection: Connection, flight: Flight, received: memoryview | bytes, at_ns: int
    ) -> None:
        """Gives one read's bytes to the HTTP parser and its body bytes to the flight."""
        parser = connection.parser
        assert parser is not None
        flight.reads += 1
        flight.last_read_ns = at_ns
        flight.last_low_ns = self._low_ns
        if flight.first_byte_ns is None:
            flight.first_byte_ns = at_ns
        try:
            parser.feed_data(received)
        except httptools.HttpParserError as error:
            flight.fail("malformed_http", str(error))
            self._finish(connection, flight, at_ns, reusable=False)
            return
        if flight.headers_ns is None and flight.head_complete:
            flight.headers_ns = at_ns
            flight.status = parser.get_status_code()
        if flight.pieces:
            flight.take(at_ns, self._low_ns)
            if flight.pieces:
                flight.pending_bytes += len(received)
                if self._calm and not flight.complete:
                    flight.decode()
        if flight.complete and (flight.status or 0) >= 200:
            self._finish(connection, flight, at_ns, reusable=True)

    # -- connections -----------------------------------------------------------------------

    def _connect(self, now_ns: int, flight: Flight | None = None) -> None:
        connection = Connection(
            self._epoll, self._family, self._address, self._context, self._origin.host, now_ns
        )
        connection.flight = flight
        self._connections[connection.fd] = connection
        self._opening += 1

    def _on_writable(self, connection: Connection) -> None:
        was_open = connection.open
        sent = connection.on_writable()
        if not was_open and connection.open:
            self._opened(connection)
        elif sent and connection.flight is not None and connection.flight.sent_ns is None:
            connection.flight.sent_ns = time.monotonic_ns()

    def _opened(self, connection: Connection) -> None:
        self._opening -= 1
        now_ns = connection.idle_since_ns = time.monotonic_ns()
        flight = connection.flight
        if flight is not None:
            flight.connect_ns = now_ns - connection.opened_ns
            self._launch(connection, flight)
        else:
            self._idle.append(connection)

    def submit(self, flight: Flight) -> None:
        """Sends the flight's request on an idle connection, or on a new one."""
        flight.started_ns = time.monotonic_ns()
        while self._idle:
            connection = self._idle.pop()
            if connection.fd in self._connections:
                self._launch(connection, flight)
                return
        try:
            self._connect(flight.started_ns, flight)
        except OSError as error:
            flight.fail(error_class_of(error), str(error))
            self._settle(flight, flight.started_ns)

    def _launch(self, connection: Connection, flight: Flight) -> None:
        try:
            if connection.start(flight):
                flight.sent_ns = time.monotonic_ns()
        except OSError as error:
            self._broken(connection, error)

    def _finish(
        self, connection: Connection, flight: Flight, at_ns: int, *, reusable: bool
    ) -> None:
        connection.take_tcp_figures(flight)
        keep = reusable and connection.parser is not None and connection.parser.should_keep_alive()
        connection.flight = None
        connection.parser = None
        connection.served += 1
        if keep:
            connection.idle_since_ns = at_ns
            self._idle.append(connection)
        else:
            self._drop(connection)
        self._settle(flight, at_ns)

    def _settle(self, flight: Flight, at_ns: int) -> None:
        flight.done_ns = at_ns
        self._done.append(flight)
        self._replay.ended(flight)
        due_ns = self._replay.next_due_ns
        if due_ns is not None and due_ns <= at_ns:
            self._replay.release(at_ns)

    def _drop(self, connection: Connection) -> None:
        if self._connections.pop(connection.fd, None) is not None:
            if not connection.open:
                self._opening -= 1
            if connection in self._idle:
                self._idle.remove(connection)
            # closed only after the pass, so that no descriptor is reused within it
            self._epoll.unregister(connection.fd)
            self._closed.append(connection)

    def _end_of_input(self, connection: Connection) -> None:
        flight = connection.flight
        if flight is None:
            self._drop(connection)
        elif flight.head_complete and not flight.framed:
            self._finish(connection, flight, flight.last_read_ns, reusable=False)
        else:
            self._broken(connection, ConnectionResetError("the server closed the connection"))

    def _broken(self, connection: Connection, error: OSError) -> None:
        flight, was_open = connection.flight, connection.open
        connection.flight = None
        self._drop(connection)
        if flight is None:
            self._warm_error = error
            return
        if was_open and connection.served and not flight.reads and not flight.reconnects:
            flight.reconnects += 1  # the server had closed it while it was idle
            flight.sent_ns = None
            self.submit(flight)
            return
        if isinstance(error, ssl.SSLError):
            flight.fail("tls", str(error))
        elif not was_open:
            flight.fail(error_class_of(error), str(error))
        else:
            inside = "disconnected_mid_body" if flight.head_complete else "disconnected"
            flight.fail(inside, f"{error} after {flight.reads} reads")
        self._settle(flight, flight.last_read_ns or time.monotonic_ns())

    # -- time ------------------------------------------------------------------------------

    def _sweep(self, now_ns: int) -> None:
        """Timeouts, stale and spare connections, long answers, look-ahead."""
        self._next_sweep_ns = now_ns + SWEEP_NS
        for connection in list(self._connections.values()):
            flight = connection.flight
            if flight is not None:
                self._check(connection, flight, now_ns)
            elif connection.open and now_ns - connection.idle_since_ns > KEEP_IDLE_NS:
                self._drop(connection)
        if len(self._idle) + self._opening < self._spare and not self._replay.stopping:
            self._connect(now_ns)
        self._replay.look_ahead(now_ns)
        abort_ns = self._replay.abort_at_ns
        if abort_ns is not None and now_ns >= abort_ns:
            self.abort()

    def _check(self, connection: Connection, flight: Flight, now_ns: int) -> None:
        connecting_since_ns = None if connection.open else connection.opened_ns
        overdue = flight.overdue(self._timeouts, now_ns, connecting_since_ns)
        if overdue is not None:
            self._give_up(connection, flight, *overdue, now_ns)
            return
        if flight.pending_bytes > _DECODE_EVERY_BYTES:
            flight.decode()
        if (why := flight.runs_on) is not None:
            self._give_up(connection, flight, "runs_on", why, now_ns)

    def _give_up(
        self, connection: Connection, flight: Flight, error_class: str, text: str, now_ns: int
    ) -> None:
        flight.fail(error_class, text)
        connection.flight = None
        self._drop(connection)
        self._settle(flight, now_ns)

    def abort(self) -> None:
        """Ends every flight now; they are recorded as aborted."""
        now_ns = time.monotonic_ns()
        for connection in list(self._connections.values()):
            flight = connection.flight
            if flight is not None:
                flight.aborted = True
                connection.flight = None
                self._drop(connection)
                self._settle(flight, now_ns)


def error_class_of(error: OSError) -> str:
    """The class of a failure before the connection was open."""
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, socket.gaierror):
        return "dns"
    return "connect_refused" if error.errno == errno.ECONNREFUSED else "connect_failed"
