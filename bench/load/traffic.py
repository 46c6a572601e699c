"""What travels on the wire transport's sockets: requests out, answers in, with kernel times.

Each read is one recvmsg(2) whose ancillary part says when the kernel had the last of the bytes.
"""

from __future__ import annotations

import select
import ssl
import struct
import time
from collections import deque

import httptools

from bench.load.clock import ClockPair, Timer
from bench.load.connection import Connection
from bench.load.errors import class_of_connect
from bench.load.flight import Flight
from bench.load.flow import Flow
from bench.load.pool import Pool
from bench.load.replay import Replay
from bench.model import Timeouts

CLOCK_NS = 5_000_000
CALM_SOCKETS = 16
"""With more sockets ready at once than this, decoding waits until they are read."""

_LEARNING_READS = 8
"""Of each answer so many are decoded at once: what the plain events look like saves time later."""

_RECEIVE_BYTES = 262_144
_STAMP = struct.Struct("qq")
_DECODE_EVERY_BYTES = 262_144
_MAX_EVENTS = 512
_WRITABLE = select.EPOLLOUT


class Traffic:
    """Moves flights over a pool's connections.

    `done` are the flights that have ended and are not recorded yet.  `polled_ns` is when the last
    pass learnt what was ready.  `timer` is in the pool's epoll
    set too; it only ends a wait.
    """

    def __init__(
        self,
        pool: Pool,
        timer: Timer,
        timeouts: Timeouts,
        replay: Replay,
        *,
        exact_lengths: bool,
    ) -> None:
        self.done: deque[Flight] = deque()
        self._pool = pool
        self._timer = timer
        self._timeouts = timeouts
        self._replay = replay
        self._flow = Flow(pool.epoll)
        self._exact_lengths = exact_lengths
        self._clock = ClockPair()
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self._buffers = (self._buffer,)
        self._low_ns = self.polled_ns = time.monotonic_ns()
        self._next_clock_ns = 0
        self._calm = True

    @property
    def in_flow(self) -> bool:
        """Whether there are streams that nothing wakes for."""
        return self._flow.streams > 0

    # -- reading ---------------------------------------------------------------------------

    def read_ready(self, wait_s: float) -> int:
        """One pass over the ready sockets, with a round of the streams in flow when that is due;
        returns how many there were.
        """
        pool, flow = self._pool, self._flow
        if pool.dropped:
            pool.close_dropped()
        got = self._pass(wait_s)
        if flow.due(self.polled_ns):
            got += self._round()
        return got

    def _pass(self, wait_s: float) -> int:
        ready = self._pool.epoll.poll(wait_s, _MAX_EVENTS)
        self.polled_ns = polled_ns = time.monotonic_ns()
        if polled_ns >= self._next_clock_ns:
            self._next_clock_ns = polled_ns + CLOCK_NS
            if self._clock.refresh():
                self._replay.counters.clock_steps += 1
        self._calm = len(ready) <= CALM_SOCKETS
        self._serve(ready, self._low_ns)
        if len(ready) < _MAX_EVENTS:
            self._low_ns = polled_ns
        return len(ready)

    def _round(self) -> int:
        """Reads the streams in flow, a few at a time: what is urgent comes in between."""
        flow = self._flow
        started_ns, ready = time.monotonic_ns(), flow.poll()
        for start in range(0, len(ready), CALM_SOCKETS):
            if start:
                self._pass(0)
                self._send_due(self.polled_ns)
            self._serve(ready[start : start + CALM_SOCKETS], flow.low_ns)
        flow.low_ns = started_ns
        return len(ready)

    def _serve(self, ready: list[tuple[int, int]], low_ns: int) -> None:
        """Reads and writes as the sockets' events say; they were empty at `low_ns`."""
        connections = self._pool.connections
        for fd, events in ready:
            connection = connections.get(fd)
            if connection is None:
                if fd == self._timer.fd:
                    self._timer.clear()
                continue
            try:
                if not events & _WRITABLE:
                    self._on_readable(connection, low_ns)
                elif connection.open:
                    self._on_both(connection, events, low_ns)
                else:
                    self._on_writable(connection)
            except (OSError, ssl.SSLError) as error:
                self._broken(connection, error)

    def _on_both(self, connection: Connection, events: int, low_ns: int) -> None:
        """Reads first: a server that answers before it has read a request may close behind it."""
        if events & ~_WRITABLE:
            self._on_readable(connection, low_ns)
        if connection.fd in self._pool.connections:
            self._on_writable(connection)

    def _on_readable(self, connection: Connection, low_ns: int) -> None:
        try:
            size, ancillary, _, _ = connection.recvmsg_into(self._buffers, 64)
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
        received = self._buffer[:size].tobytes()
        if connection.encrypted and not (received := self._decrypted(connection, received)):
            return
        flight = connection.flight
        if flight is None:
            self._pool.drop(connection)  # bytes that no one asked for
            return
        regular_end = flight.regular_end
        if regular_end and received.endswith(regular_end):
            if not flight.postpone(received, at_ns, low_ns):
                self._take(connection, flight, b"", at_ns, low_ns)
        else:
            self._take(connection, flight, received, at_ns, low_ns)

    def _decrypted(self, connection: Connection, received: bytes) -> bytes:
        opening = not connection.open
        plain = connection.decrypt(received)
        if opening and connection.open:
            self._opened(connection)
        return plain

    def _take(
        self, connection: Connection, flight: Flight, received: bytes, at_ns: int, low_ns: int
    ) -> None:
        """Gives one read, or only what was postponed, to the flight; ends it if that was all."""
        try:
            if received:
                flight.receive(received, at_ns, low_ns)
            else:
                flight.parse()
        except httptools.HttpParserError as error:
            flight.fail("malformed_http", str(error))
            self._finish(connection, flight, at_ns, reusable=False)
            return
        if flight.complete and (flight.status or 0) >= 200:
            self._finish(connection, flight, at_ns, reusable=True)
        elif self._calm or not received or flight.reads <= _LEARNING_READS:
            flight.decode()  # what was postponed is nearly always alike, and quickly done
            if self._exact_lengths:
                self._flow.settle(connection, flight, len(self._pool.connections))

    # -- flights ---------------------------------------------------------------------------

    def _on_writable(self, connection: Connection) -> None:
        was_open = connection.open
        connection.on_writable()
        if not was_open and connection.open:
            self._opened(connection)

    def _opened(self, connection: Connection) -> None:
        self._pool.opening -= 1
        now_ns = time.monotonic_ns()
        flight = connection.flight
        if flight is not None:
            flight.connect_ns = now_ns - connection.opened_ns
            self._launch(connection, flight)
        else:
            self._pool.give_back(connection, now_ns)

    def submit(self, flight: Flight) -> None:
        """Sends the flight's request on an idle connection, or on a new one."""
        flight.started_ns = time.monotonic_ns()
        connection = self._pool.take()
        if connection is None:
            self._connect(flight)
        else:
            self._launch(connection, flight)

    def _connect(self, flight: Flight) -> None:
        now_ns = time.monotonic_ns()
        try:
            self._pool.open(now_ns, flight)
        except OSError as error:
            flight.fail(class_of_connect(error), str(error))
            self._settle(flight, now_ns)

    def _launch(self, connection: Connection, flight: Flight) -> None:
        try:
            connection.start(flight)
        except OSError as error:
            self._broken(connection, error)

    def _finish(
        self, connection: Connection, flight: Flight, at_ns: int, *, reusable: bool
    ) -> None:
        connection.take_tcp_figures(flight)
        parser = flight.parser
        # the parser's own should_keep_alive() would be about the next message by now
        persistent = parser is not None and parser.get_http_version() == "1.1"
        self._detach(connection)
        connection.served += 1
        if reusable and persistent and flight.persistent and not connection.sending:
            self._pool.give_back(connection, at_ns)
        else:
            self._pool.drop(connection)
        self._settle(flight, at_ns)

    def _detach(self, connection: Connection) -> None:
        connection.flight = None
        self._flow.leave(connection)

    def _settle(self, flight: Flight, at_ns: int) -> None:
        flight.hang_up()
        flight.done_ns = at_ns
        self.done.append(flight)
        self._replay.ended(flight)
        self._send_due(at_ns)

    def _send_due(self, now_ns: int) -> None:
        due_ns = self._replay.next_due_ns
        if due_ns is not None and due_ns <= now_ns:
            self._replay.release(now_ns)

    def _end_of_input(self, connection: Connection) -> None:
        flight = connection.flight
        if flight is not None and flight.head_complete and not flight.framed:
            self._finish(connection, flight, flight.last_read_ns, reusable=False)
        else:
            self._broken(connection, ConnectionResetError("the server closed the connection"))

    def _broken(self, connection: Connection, error: OSError) -> None:
        flight = connection.flight
        self._detach(connection)
        self._pool.drop(connection)
        if flight is None:
            self._pool.lost(error, time.monotonic_ns())
        elif connection.served and not flight.reads and not flight.reconnects:
            flight.reconnects += 1  # the server had closed it while it was idle
            flight.sent_ns = None
            self._connect(flight)
        else:
            flight.fail(_class_of(connection, flight, error), f"{error} ({flight.reads} reads)")
            self._settle(flight, flight.last_read_ns or time.monotonic_ns())

    # -- time ------------------------------------------------------------------------------

    def sweep(self, now_ns: int) -> None:
        """Time limits, stale connections, answers without end."""
        for connection in list(self._pool.connections.values()):
            if connection.flight is not None:
                self._check(connection, connection.flight, now_ns)
        self._pool.sweep(now_ns, self._timeouts.connect_s)

    def _check(self, connection: Connection, flight: Flight, now_ns: int) -> None:
        connecting_since_ns = None if connection.open else connection.opened_ns
        overdue = flight.overdue(self._timeouts, now_ns, connecting_since_ns)
        if overdue is not None:
            self._give_up(connection, flight, *overdue, now_ns)
            return
        if flight.body.pending_bytes > _DECODE_EVERY_BYTES:
            flight.decode()
        if (why := flight.runs_on) is not None:
            self._give_up(connection, flight, "runs_on", why, now_ns)

    def _give_up(
        self, connection: Connection, flight: Flight, error_class: str, text: str, now_ns: int
    ) -> None:
        flight.fail(error_class, text)
        self._detach(connection)
        self._pool.drop(connection)
        self._settle(flight, now_ns)

    def abort(self) -> None:
        """Ends every flight now; they are recorded as aborted."""
        now_ns = time.monotonic_ns()
        for connection in list(self._pool.connections.values()):
            flight = connection.flight
            if flight is not None:
                flight.aborted = True
                self._detach(connection)
                self._pool.drop(connection)
                self._settle(flight, now_ns)

    def close(self) -> None:
        self._flow.close()


def _class_of(connection: Connection, flight: Flight, error: OSError) -> str:
    """The class of a connection's end."""
    if not connection.connected:
        return class_of_connect(error)
    if isinstance(error, ssl.SSLError) or not connection.open:
        return "tls"
    return "disconnected_mid_body" if flight.head_complete else "disconnected"
