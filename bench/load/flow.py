"""Streams in flow: plain events one after another, whose end is some way off.

Nothing waits for such an event, and the kernel keeps the time it came.  So these sockets are in an
epoll set of their own that is read in rounds, where every other event wakes the process at once.
"""

from __future__ import annotations

import select
import time

from bench.load.connection import Connection
from bench.load.flight import UNPARSED_READS, Flight

ROUND_NS = 2_000_000
"""Between two rounds."""

LEAST_CONNECTIONS = 32
"""With fewer connections rounds would be more than the events they save waking for."""

LEAST_INTERVAL_NS = 4 * ROUND_NS
"""Faster streams are read at once: two events that came in one round would have one time."""

LEAST_EVENTS = 16
"""A stream goes into the flow for no fewer."""

EVENTS_BEFORE_END = 3
"""The last are read at once, because a slot waits for the end."""

_MAX_EVENTS = 4096


class Flow:
    """The streams in flow of one pool.

    `streams` is how many there are.  `low_ns` is when their sockets were last known to be empty.
    """

    def __init__(self, urgent: select.epoll) -> None:
        self._urgent = urgent
        self._epoll = select.epoll()
        self._next_ns = 0
        self.streams = 0
        self.low_ns = 0

    def settle(self, connection: Connection, flight: Flight, connections: int) -> None:
        """Lets a stream whose events were just decoded into the flow, or takes it out."""
        ahead = flight.events_ahead - EVENTS_BEFORE_END
        least = 1 if connection.in_flow else LEAST_EVENTS
        if ahead >= least and connections >= LEAST_CONNECTIONS and _steady(flight):
            flight.parse_every = min(UNPARSED_READS, ahead)
            if not connection.in_flow and not connection.sending:
                self._move(connection, self._epoll, 1)
        else:
            flight.parse_every = UNPARSED_READS
            self.leave(connection)

    def leave(self, connection: Connection) -> None:
        """What comes next on this connection is read at once."""
        if connection.in_flow:
            self._move(connection, self._urgent, -1)

    def _move(self, connection: Connection, epoll: select.epoll, more: int) -> None:
        connection.watch_in(epoll)
        connection.in_flow = more > 0
        self.streams += more

    def due(self, now_ns: int) -> bool:
        """Whether it is time for a round; half a round early is better than half a round late."""
        return self.streams > 0 and now_ns >= self._next_ns - ROUND_NS // 2

    def poll(self) -> list[tuple[int, int]]:
        """Descriptors with something to read, and their events."""
        ready = self._epoll.poll(0, _MAX_EVENTS)
        self._next_ns = time.monotonic_ns() + ROUND_NS
        return ready

    def close(self) -> None:
        self._epoll.close()


def _steady(flight: Flight) -> bool:
    """Whether its reads came far enough apart so far."""
    if flight.first_byte_ns is None:
        return False
    return flight.last_read_ns - flight.first_byte_ns >= LEAST_INTERVAL_NS * (flight.reads - 1)
