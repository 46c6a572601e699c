"""A replay over real sockets, and servers that misbehave to order."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.address import parse_origin
from bench.load.dialects.table import dialect_named
from bench.load.http1 import request, request_head
from bench.load.pace import Counters, Pace
from bench.load.portable import Portable
from bench.load.replay import Replay
from bench.load.wire import Wire
from bench.model import (
    Exchange,
    Outcome,
    Prompt,
    RequestStyle,
    Session,
    Target,
    Timeouts,
    Tls,
    Turn,
)
from bench.sim.config import SimConfig
from bench.sim.process import SimProcess, running_sim

GUARD_S = 30.0
OUTPUT_TOKENS = 6


@pytest.fixture(scope="package")
def sim() -> Iterator[SimProcess]:
    """A server of half a millisecond per step, over which every fault can be asked for."""
    config = SimConfig(port=0, step_s=0.0005, prefill_token_s=0, decode_seq_s=0, kv_blocks=65_536)
    with running_sim(config) as server:
        yield server


@dataclass
class Trial:
    """What a replay gave: one exchange for each request, in the order of their index."""

    exchanges: list[Exchange]
    counters: Counters
    requests: int

    @property
    def one(self) -> Exchange:
        assert len(self.exchanges) == 1
        return self.exchanges[0]

    @property
    def classes(self) -> list[str | None]:
        return [exchange.error_class for exchange in self.exchanges]

    @property
    def connections(self) -> int:
        """Connections that were opened for a request."""
        return sum(exchange.connect_s is not None for exchange in self.exchanges)


@dataclass
class Requests:
    """A workload of single turns with the same prompt."""

    requests: int
    text: str = "hello"
    at_s: Callable[[int], float | None] = lambda _: None
    output_tokens: int = OUTPUT_TOKENS

    def sessions(self) -> Iterator[Session]:
        for number in range(self.requests):
            turn = Turn(number, self.at_s(number), None, 1, self.output_tokens)
            yield Session(number, (turn,))

    def shard(self, worker: int, workers: int) -> Requests:
        raise NotImplementedError("a replay in one process has one shard")

    def prompt(self, turn: Turn) -> Prompt:
        return self.text


class Records:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


@pytest.fixture(params=["wire", "portable"])
def transport(request: pytest.FixtureRequest) -> str:
    """Both ways to send."""
    return str(request.param)


@pytest.fixture(scope="session")
def replayed() -> Callable[..., Trial]:
    """Replays single turns against a URL: `replayed(transport, url, 3, headers={...})`.

    Every trial is balanced, uses no class outside the table, and leaves no descriptor open.
    `beside(replay)` runs in the same loop.
    """

    def run(
        transport: str,
        url: str,
        requests: int = 1,
        *,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        tls: Tls | None = None,
        pace: Pace | None = None,
        style: RequestStyle | None = None,
        endpoint: str = "chat",
        warm: int = 0,
        beside: Callable[[Any], Any] | None = None,
        **fields: Any,
    ) -> Trial:
        workload, records = Requests(requests, **fields), Records()
        limits = timeouts or Timeouts(GUARD_S, GUARD_S, GUARD_S, GUARD_S)
        target = Target(url, "sim", endpoint, dict(headers or {}), tls or Tls(), limits)
        origin, dialect = parse_origin(url), dialect_named(endpoint)
        head = request_head(origin, dialect.path, target.headers)

        def render(turn: Turn, prompt: Prompt, request_id: str) -> bytes:
            body = dialect.encode("sim", prompt, turn, style or RequestStyle(), {})
            return request(head, request_id, body) if transport == "wire" else body

        replay = Replay(
            workload, pace or Pace(concurrency=1), render, records, run_tag="t", dialect=dialect
        )

        async def main() -> None:
            way = (
                Wire(target, origin, replay, spare=0)
                if transport == "wire"
                else Portable(target, origin, dialect.path, replay)
            )
            try:
                await way.warm(warm)
                replay.prepare_ahead()
                loop = asyncio.get_running_loop()
                running = loop.create_task(way.run(round(loop.time() * 1e9)))
                if beside is not None:
                    await beside(replay)
                await running
            finally:
                way.close()

        before = descriptors()
        asyncio.run(asyncio.wait_for(main(), GUARD_S))
        assert descriptors() == before, "descriptors were left open"
        assert_balanced(replay.counters, records.exchanges)
        in_order = sorted(records.exchanges, key=lambda exchange: exchange.index)
        return Trial(in_order, replay.counters, requests)

    return run


def descriptors() -> list[str]:
    """This process's open files, unless a server in it has some of its own."""
    return [] if _scripted_here else sorted(path.name for path in Path("/proc/self/fd").iterdir())


_scripted_here: list[Scripted] = []


def assert_balanced(counters: Counters, exchanges: list[Exchange]) -> None:
    assert counters.due == len(exchanges) == len({exchange.index for exchange in exchanges})
    assert counters.due == counters.ok + counters.failed + counters.dropped + counters.aborted
    assert counters.running == 0
    assert counters.failed == sum(counters.failed_by_class.values())
    for exchange in exchanges:
        assert (exchange.error_class is None) == (exchange.outcome is Outcome.OK)
        assert exchange.done_ns is None or exchange.done_ns >= exchange.intended_ns


# -- servers of a few lines ------------------------------------------------------------------

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


@contextmanager
def scripted(script: Script, context: ssl.SSLContext | None = None) -> Iterator[Scripted]:
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
    _scripted_here.append(server)
    try:
        yield server
    finally:
        _scripted_here.remove(server)
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(GUARD_S)
        for thread in threads:
            thread.join(GUARD_S)
    for error in server.errors:
        raise error


@pytest.fixture(scope="session")
def serving() -> Any:
    """`with serving(script) as server`: a server of a few lines; a script gets a `Peer`."""
    return scripted


@pytest.fixture(scope="session")
def sound() -> bytes:
    """A whole streamed response of two tokens."""
    return SOUND
