"""The wire transport's connections: opened before they are needed, kept while a server keeps them.

The pool owns them and the epoll set they are in; the wire says what travels on them.
"""

from __future__ import annotations

import select
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from bench.address import Origin
from bench.errors import TargetError
from bench.load.connection import Connection
from bench.load.files import most_connections, no_file_left
from bench.load.flight import Flight

RETRY_NS = 250_000_000
"""After a connection without a flight has ended, so long no spare one is opened."""

KEEP_IDLE_NS = 4_000_000_000
"""Idle connections are replaced before a server's usual limit (uvicorn, llama.cpp: 5 s)."""


@dataclass(frozen=True, slots=True)
class Address:
    """A socket address and its family, as getaddrinfo(3) gives them."""

    family: int
    sockaddr: tuple[Any, ...]


def resolve(origin: Origin) -> list[Address]:
    """The origin's addresses, the preferred first; raises TargetError when it has none."""
    try:
        found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TargetError(
            f"host {origin.host!r} has no address: {error.strerror}",
            "check the spelling of the target URL and this machine's DNS",
        ) from None
    return [Address(int(family), address) for family, _, _, _, address in found]


class Pool:
    """Connections to one address of the origin, as many as the limit of open files has room for.

    `connections` are all that are alive, by descriptor.  `error` is why the last connection
    without a flight ended before it was idle.
    """

    def __init__(self, origin: Origin, context: ssl.SSLContext | None, *, spare: int) -> None:
        self.addresses = resolve(origin)
        self.address = self.addresses[0]
        self.epoll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.opening = 0
        self.error: OSError | None = None
        self._origin = origin
        self._context = context
        self._spare = spare
        self._refill_ns = 0
        self._most = most_connections()
        self._idle: list[Connection] = []
        self.dropped: list[Connection] = []

    @property
    def idle(self) -> int:
        return len(self._idle)

    def turn_to(self, address: Address) -> None:
        """Connections are to this address from now on."""
        self.address, self.error = address, None

    def open(self, now_ns: int, flight: Flight | None = None) -> None:
        """Begins a connection, for `flight` or to be idle.  Raises OSError."""
        if len(self.connections) + len(self.dropped) >= self._most:
            raise no_file_left()
        connection = Connection(
            self.epoll, self.address.family, self.address.sockaddr, self._context,
            self._origin.host, now_ns,
        )  # fmt: skip
        connection.flight = flight
        self.connections[connection.fd] = connection
        self.opening += 1

    def take(self) -> Connection | None:
        """The connection that was used last, since it will live longest; None when all are busy."""
        return self._idle.pop() if self._idle else None

    def give_back(self, connection: Connection, now_ns: int) -> None:
        """Keeps a connection for the next flight."""
        connection.idle_since_ns = now_ns
        self._idle.append(connection)

    def drop(self, connection: Connection) -> None:
        """Ends a connection.

        It is closed only by `close_dropped`, after the pass over the ready descriptors, so that no
        descriptor is another connection's within it.
        """
        if self.connections.pop(connection.fd, None) is None:
            return
        if not connection.open:
            self.opening -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        connection.unwatch()
        self.dropped.append(connection)

    def close_dropped(self) -> None:
        while self.dropped:
            self.dropped.pop().sock.close()

    def sweep(self, now_ns: int, connect_s: float) -> None:
        """Drops what has been idle, or connecting, for too long."""
        for connection in list(self.connections.values()):
            if connection.flight is None:
                since_ns = connection.idle_since_ns if connection.open else connection.opened_ns
                limit_ns = KEEP_IDLE_NS if connection.open else connect_s * 1e9
                if now_ns - since_ns > limit_ns:
                    self.drop(connection)

    def refill(self, now_ns: int) -> None:
        """Begins one connection where fewer than the spare ones are idle."""
        if self.idle + self.opening < self._spare and now_ns >= self._refill_ns:
            try:
                self.open(now_ns)
            except OSError as error:  # a flight that needs one will meet it, too
                self.lost(error, now_ns)

    def lost(self, error: OSError, now_ns: int) -> None:
        """Says that a connection without a flight has ended."""
        self.error, self._refill_ns = error, now_ns + RETRY_NS

    def close(self) -> None:
        for connection in list(self.connections.values()):
            self.drop(connection)
        self.close_dropped()
        self.epoll.close()
