"""Servers of a few lines, that misbehave to order."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

GUARD_S = 30.0

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


SOUND = HEAD + chunked(EVENT, EVENT, FINISH, DONE) + b"0\r\n\r\n"


@dataclass
class Peer:
    """The server's end of one connection; `number` counts from 1."""

    sock: socket.socket
    number: int

    def read_head(self) -> tuple[dict[str, str], bytes]:
        """The head of the next request, and what came behind it.  EOFError when none comes."""
        received = b""
        while b"\r\n\r\n" not in received:
            more = self.sock.recv(65_536)
            if not more:
                raise EOFError
            received += more
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        return {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}, rest

    def read_body(self, headers: dict[str, str], begun: bytes) -> bytes:
        """The body behind a head, of which `begun` has come with it."""
        body = bytearray(begun)
        while len(body) < int(headers.get("content-length", 0)):
            more = self.sock.recv(1 << 20)
            if not more:
                raise EOFError
            body += more
        return bytes(body)

    def read_message(self) -> tuple[dict[str, str], bytes]:
        """The next request's headers and body."""
        headers, begun = self.read_head()
        return headers, self.read_body(headers, begun)

    def read_request(self) -> dict[str, Any]:
        """The next request's JSON body."""
        return dict(json.loads(self.read_message()[1]))

    def send(self, *parts: bytes) -> None:
        self.sock.sendall(b"".join(parts))

    def reset(self) -> None:
        """Closes with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def until_closed(self) -> None:
        """Waits for the client to close."""
        with self.sock:
            while self.sock.recv(65_536):
                pass


Script = Callable[[Peer], None]


@dataclass
class Scripted:
    """A server whose every connection follows a script in a thread of its own."""

    port: int
    listener: socket.socket
    connections: int = 0
    errors: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Serving:
    """`with serving(script) as server`: a server of a few lines; a script gets a `Peer`.

    `running` are the servers that are up, in this process.
    """

    running: list[Scripted] = field(default_factory=list)

    @contextmanager
    def __call__(self, script: Script, context: ssl.SSLContext | None = None) -> Iterator[Scripted]:
        """Serves on a free port until left.  What a script raises, but for a client's leaving, is
        raised at the end.
        """
        listener = socket.create_server(("127.0.0.1", 0))
        server = Scripted(listener.getsockname()[1], listener)
        threads: list[threading.Thread] = []

        def serve(sock: socket.socket, number: int) -> None:
            try:
                if context is not None:
                    sock = context.wrap_socket(sock, server_side=True)
                script(Peer(sock, number))
            except (EOFError, OSError):
                pass  # the client has left
            except BaseException as error:
                server.errors.append(error)
            finally:
                sock.close()

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                sock.settimeout(GUARD_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.connections += 1
                thread = threading.Thread(target=serve, args=(sock, server.connections))
                threads.append(thread)
                thread.start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        self.running.append(server)
        try:
            yield server
        finally:
            self.running.remove(server)
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            accepting.join(GUARD_S)
            for thread in threads:
                thread.join(GUARD_S)
        for error in server.errors:
            raise error


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Servers of a few lines."""
    return Serving()


@pytest.fixture(scope="session")
def sound() -> bytes:
    """A whole streamed response of two tokens."""
    return SOUND
