"""Where an engine's tokens go: a stream's connection, or one whole answer."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
import zlib
from abc import ABC, abstractmethod

from bench.sim.api import ApiError, Chunks, Endpoint, Family, Framing
from bench.sim.compose import Composer
from bench.sim.request import EngineRequest
from bench.sim.shape import StreamShape

_SPLIT_PAUSE_S = 0.002
_TEXT_LINE = b"Engine callback timeout.\n\n"
_TYPE = b'{"type":"'
_BAD_JSON = b'{"id":"chatcmpl-0","choices":[{"index":0,"delta":{"conte'


def reset(transport: asyncio.Transport) -> None:
    """Close with a TCP reset instead of an orderly end."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Sink(ABC):
    """Takes a request's tokens; `done` is set when its answer is all handed over.

    `broken` says that it broke off before the request's last token, as its shape wanted.
    `first_ns` and `last_ns` are CLOCK_MONOTONIC just before the bytes of the first and the last
    token were handed to the kernel; `output_tokens` counts the tokens handed over.  Set to a list,
    `token_ns` takes this instant of every token.
    """

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.broken = False
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.output_tokens = 0
        self.token_ns: list[int] | None = None

    @abstractmethod
    def emit(self, request: EngineRequest) -> None:
        """The engine gave `request` one more token."""

    def close(self) -> None:  # noqa: B027 - most sinks have nothing to let go of
        """Nothing more will be emitted."""


class Whole(Sink):
    """An answer that is not streamed: all its tokens leave at the end."""

    def __init__(self, shape: StreamShape) -> None:
        super().__init__()
        self._empty = shape.zero_tokens

    def emit(self, request: EngineRequest) -> None:
        if request.finish_reason is not None:
            if not self._empty:
                self.first_ns = self.last_ns = time.monotonic_ns()
                self.output_tokens = request.output_tokens
            self.done.set()


class Stream(Sink):
    """Server-sent events on a connection whose response head is already written.

    Each step is one write.  It goes past aiohttp's body writer, straight to the transport, in
    HTTP chunks framed here: a coroutine per token would cost more than the token.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        family: Family,
        endpoint: Endpoint,
        chunks: Chunks,
        composer: Composer,
        shape: StreamShape,
        *,
        plain: bool,
    ) -> None:
        """`plain`: every event between the first and the last is of the one commonest form."""
        super().__init__()
        self._transport = transport
        self._family = family
        self._endpoint = endpoint
        self._composer = composer
        self._shape = shape
        self._plain = plain and bool(chunks.plain_head)
        self._head = b"data: " + chunks.plain_head
        self._tail = chunks.plain_tail + b"\n\n"
        self._gzip = zlib.compressobj(wbits=31) if shape.gzip else None
        self._held: list[tuple[bytes, int]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def emit(self, request: EngineRequest) -> None:
        if self._ended or self._transport.is_closing():
            return
        position = request.output_tokens - 1
        if self._plain and position and request.finish_reason is None:
            event = self._head + request.reply.word(position) + self._tail
            self.last_ns = time.monotonic_ns()
            self.output_tokens += 1
            if self.token_ns is not None:
                self.token_ns.append(self.last_ns)
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            return
        if position == self._shape.after and self._break_off(request):
            return
        payloads, tokens = self._composer.events(request)
        self._send([self._event(payload) for payload in payloads], tokens)
        if request.finish_reason is not None:
            self._end()

    def close(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()

    def _break_off(self, request: EngineRequest) -> bool:
        """Do what the shape has in store at this token; True when the answer ends with it."""
        return self._spoil() or self._cut(request)

    def _spoil(self) -> bool:
        """Send what should not be in a stream; True when nothing can follow it."""
        shape = self._shape
        if shape.spoiler == "bad_json":
            self._send([self._event(_BAD_JSON)], 0)
            return False
        if shape.spoiler == "text_line":
            self._send([_TEXT_LINE], 0)
        elif shape.spoiler == "error":
            error = ApiError(500, "InternalServerError", "The engine failed (simulated).")
            payloads = [self._family.error(error)[1]]
            if shape.done and self._endpoint.done is not None:
                payloads.append(self._endpoint.done)
            self._send([self._event(payload) for payload in payloads], 0)
        else:
            return False
        self.broken = True
        self._end()
        return True

    def _cut(self, request: EngineRequest) -> bool:
        """End or interrupt the stream in the shape's way; True when it has ended."""
        ending = self._shape.ending
        if ending is None:
            return False
        if ending == "stall":
            self._hold(self._shape.stall_s)
            return False
        self.broken = True
        if ending == "early_end":
            self._end()
            return True
        self._ended = True
        if ending == "reset":
            reset(self._transport)
            return True
        event = self._event(self._composer.events(request)[0][-1])
        self._transport.write(b"%x\r\n%b" % (len(event), event[: len(event) // 2]))
        self._transport.close()
        return True

    def _event(self, payload: bytes) -> bytes:
        shape, framing = self._shape, self._endpoint.framing
        if framing is Framing.NUL:
            return payload + b"\0"
        end = shape.line_end
        comment = b": ping%b%b" % (end, end) if shape.comments else b""
        name = shape.event_line
        if framing is Framing.SSE_NAMED and payload.startswith(_TYPE):
            name = payload[len(_TYPE) : payload.index(b'"', len(_TYPE))]
        named = b"event: %b%b" % (name, end) if name else b""
        prefix = b"data:" if framing is Framing.SSE_TIGHT else shape.data_prefix
        return b"%b%b%b%b%b%b" % (comment, named, prefix, payload, end, end)

    def _send(self, events: list[bytes], tokens: int) -> None:
        if not events:
            return
        if self._gzip is not None:
            body = self._gzip.compress(b"".join(events)) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
            events = [body]
        framed = b"".join([b"%x\r\n%b\r\n" % (len(event), event) for event in events])
        if self._shape.split_utf8:
            cut = next((at + 1 for at, byte in enumerate(framed) if byte >= 0xC0), 0)
            if cut:
                self._write(framed[:cut], 0)
                self._hold(_SPLIT_PAUSE_S)
                framed = framed[cut:]
        self._write(framed, tokens)

    def _write(self, framed: bytes, tokens: int) -> None:
        if self._held is not None:
            self._held.append((framed, tokens))
            return
        if tokens:
            self.last_ns = time.monotonic_ns()
            self.first_ns = self.first_ns or self.last_ns
            self.output_tokens += tokens
            if self.token_ns is not None:
                self.token_ns += [self.last_ns] * tokens
        self._transport.write(framed)

    def _hold(self, seconds: float) -> None:
        """Keep what is written from now on back for a while."""
        if self._held is None:
            self._held = []
            self._timer = asyncio.get_running_loop().call_later(seconds, self._let_go)

    def _let_go(self) -> None:
        held, self._held = self._held or [], None
        if self._transport.is_closing():
            return
        for framed, tokens in held:
            self._write(framed, tokens)
        if self._ended:
            self.done.set()

    def _end(self) -> None:
        """The last event is sent, or held: the body's end follows it."""
        if self._gzip is not None:
            last = self._gzip.flush()
            self._write(b"%x\r\n%b\r\n" % (len(last), last), 0)
        self._ended = True
        if self._held is None:
            self.done.set()
