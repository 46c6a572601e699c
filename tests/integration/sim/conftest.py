"""A simulated server in the test's own loop, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httptools
import pytest

from bench.sim.config import SimConfig
from bench.sim.http import SimServer

T = TypeVar("T")
GUARD_S = 30.0


@dataclass
class Answer:
    """One response as it came: the parsed head and body, each read, and how it ended.

    `ended` is "complete", "eof" (closed before the message was complete) or "reset".
    """

    sent_ns: int = 0
    reads: list[tuple[int, bytes]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int | None = None
    ended: str = ""
    complete: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def events(self) -> list[Any]:
        """The payloads of the `data:` lines, decoded; `[DONE]` as text."""
        lines = self.body.decode().splitlines()
        payloads = [line[5:].strip() for line in lines if line.startswith("data:")]
        return [text if text == "[DONE]" else json.loads(text) for text in payloads]

    @property
    def text(self) -> str:
        """The content of all events, or of the whole answer."""
        bodies = self.events if b"data:" in self.body else [json.loads(self.body)]
        choices = [choice for body in bodies if body != "[DONE]" for choice in body["choices"]]
        parts = [choice.get("delta") or choice.get("message") or choice for choice in choices]
        return "".join(part.get("content") or part.get("text") or "" for part in parts)

    @property
    def usage(self) -> dict[str, Any]:
        """The last usage anywhere in the answer."""
        bodies = self.events if b"data:" in self.body else [json.loads(self.body)]
        found = [body["usage"] for body in bodies if body != "[DONE]" and "usage" in body]
        return found[-1]


class Connection(asyncio.Protocol):
    """One client connection.  Requests on it follow each other."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer: Answer | None = None
        self._done = asyncio.Event()

    @classmethod
    async def open(cls, url: str) -> Connection:
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, parts.hostname, parts.port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, read: bytes) -> None:
        assert self._answer is not None, f"bytes that nobody asked for: {read!r}"
        self._answer.reads.append((time.monotonic_ns(), read))
        self._parser.feed_data(read)
        self._answer.status = self._parser.get_status_code()
        if self._answer.complete:
            self._end("complete")

    def connection_lost(self, error: Exception | None) -> None:
        self._end("reset" if isinstance(error, ConnectionResetError) else "eof")
        self.closed.set_result(None)

    def _end(self, how: str) -> None:
        if self._answer is not None:
            self._answer.ended = how
            self._answer = None
            self._done.set()

    async def request(
        self, method: str, path: str, body: bytes = b"", version: str = "1.1", **headers: str
    ) -> Answer:
        """Send a request and read its answer; header names have `_` for `-`."""
        fields = {"Host": "x", "Content-Length": str(len(body))}
        fields |= {"Content-Type": "application/json"} if body else {}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        answer = self._answer = Answer(sent_ns=time.monotonic_ns())
        self._parser = httptools.HttpResponseParser(answer)
        self._done.clear()
        self._transport.write(f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode() + body)
        await self._done.wait()
        return answer

    async def close(self) -> None:
        self._transport.close()
        await self.closed


class Client:
    """Requests against one server, each on a connection of its own unless one is given."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        connection = await Connection.open(self.url)
        try:
            return await connection.request(method, path, body, **headers)
        finally:
            await connection.close()

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, **headers)

    async def chat(self, content: str = "hello", fault: str = "", **fields: Any) -> Answer:
        """A streamed chat of 6 tokens with usage, unless `fields` say otherwise."""
        headers = {"x_sim_fault": fault} if fault else {}
        return await self.request(
            "POST", "/v1/chat/completions", chat(content, **fields), **headers
        )


def chat(content: str = "hello", **fields: Any) -> bytes:
    """A chat request's body."""
    body = {
        "model": "sim",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 6,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(
        {name: each for name, each in (body | fields).items() if each is not None}
    ).encode()


Scenario = Callable[[SimServer, Client], Awaitable[T]]


@pytest.fixture
def served() -> Callable[..., Any]:
    """Run a scenario against a server with 1 ms steps: `served(scenario, **SimConfig fields)`."""

    def run(scenario: Scenario[T], **fields: Any) -> T:
        costs = {"step_s": 0.001, "prefill_token_s": 0, "decode_seq_s": 0}

        async def main() -> T:
            config = SimConfig(**(costs | {"port": 0, "kv_blocks": 4096} | fields))
            async with SimServer(config) as server:
                return await asyncio.wait_for(scenario(server, Client(server.url)), GUARD_S)

        return asyncio.run(main())

    return run


@pytest.fixture
def connect() -> Callable[[str], Awaitable[Connection]]:
    """Open a connection that carries several requests: `await connect(url)`."""
    return Connection.open


@pytest.fixture
def chat_body() -> Callable[..., bytes]:
    """A chat request's body: `chat_body("hello", max_tokens=3)`."""
    return chat
