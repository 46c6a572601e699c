"""One request on its way: what was planned, the bytes that came and when, and what they say.

The transport appends; decoding is done later, in slices, so that reading is never held.
"""

from __future__ import annotations

import zlib
from array import array

from bench.load.dialects.answer import Answer, Dialect
from bench.load.dialects.table import CHAT
from bench.load.errors import is_error_class
from bench.model import Timeouts, Turn

LARGEST_BYTES = 64 * 2**20
"""An event, or a body that is no stream, may be this long."""

_ERROR_TEXT_CHARACTERS = 512
_TOO_LONG_FACTOR = 2
_TOO_LONG_SLACK_EVENTS = 256
_INFLATED = (b"gzip", b"x-gzip", b"deflate")


class Flight:
    """One request in progress.

    `pieces` are the body's bytes that are not decoded yet, as the parser gave them.  For each read
    of the socket that gave some of them, `marks` holds how many pieces there were after it,
    `times_ns` when the kernel had its last byte, and `lows_ns` when the socket was last known to
    be empty.
    """

    __slots__ = (
        "_inflate",
        "_spoilt",
        "_tail",
        "_tail_bytes",
        "aborted",
        "answer",
        "body_bytes",
        "complete",
        "connect_ns",
        "connection_requests",
        "content_type",
        "dialect",
        "done_ns",
        "encoding",
        "error_class",
        "error_text",
        "first_byte_ns",
        "follow_up",
        "framed",
        "head_complete",
        "headers_ns",
        "intended_ns",
        "keep_alive",
        "last_low_ns",
        "last_read_ns",
        "lows_ns",
        "marks",
        "on_body",
        "pending_bytes",
        "pieces",
        "reads",
        "reconnects",
        "request",
        "request_id",
        "retransmits",
        "retry_after",
        "rtt_ns",
        "sent_ns",
        "session",
        "started_ns",
        "status",
        "streamed",
        "times_ns",
        "turn",
        "turn_number",
        "worker",
    )

    def __init__(
        self,
        turn: Turn,
        session: int,
        turn_number: int,
        request_id: str,
        dialect: Dialect = CHAT,
    ) -> None:
        self.dialect = dialect
        self.turn = turn
        self.session = session
        self.turn_number = turn_number
        self.request_id = request_id
        self.follow_up: object = None
        self.worker = 0
        self.request = b""
        self.intended_ns = 0
        self.started_ns = 0
        self.sent_ns: int | None = None
        self.headers_ns: int | None = None
        self.first_byte_ns: int | None = None
        self.done_ns: int | None = None
        self.connect_ns: int | None = None
        self.connection_requests: int | None = None
        self.reconnects = 0
        self.status: int | None = None
        self.content_type = b""
        self.encoding = b""
        self.retry_after: bytes | None = None
        self.streamed = dialect.framing.streamed(b"")
        self.framed = False
        self.keep_alive = True
        self.head_complete = False
        self.complete = False
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append
        self.marks = array("q")
        self.times_ns = array("q")
        self.lows_ns = array("q")
        self.last_read_ns = 0
        self.last_low_ns = 0
        self.pending_bytes = 0
        self.reads = 0
        self.body_bytes = 0
        self.rtt_ns: int | None = None
        self.retransmits: int | None = None
        self.error_class: str | None = None
        self.error_text: str | None = None
        self.aborted = False
        self.answer = Answer(dialect)
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._spoilt = False
        self._inflate: zlib._Decompress | None = None

    def fail(self, error_class: str, text: str = "") -> None:
        """Keeps the first reason; what follows from it is not another one."""
        if not is_error_class(error_class):
            raise ValueError(f"{error_class!r} is no error class")
        if self.error_class is None:
            self.error_class = error_class
            self.error_text = text[:_ERROR_TEXT_CHARACTERS] or None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps the few response headers that matter (called by the HTTP parser)."""
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.lower()
            self.streamed = self.dialect.framing.streamed(self.content_type)
        elif name == b"content-encoding":
            self.encoding = value.lower().replace(b"identity", b"")
        elif name == b"retry-after":
            self.retry_after = value
        elif name in (b"content-length", b"transfer-encoding"):
            self.framed = True
        elif name == b"connection" and b"close" in value.lower():
            self.keep_alive = False

    @property
    def persistent(self) -> bool:
        """Whether the response lets its connection be used again (RFC 9112, 9.3)."""
        return self.framed and self.keep_alive

    def on_message_begin(self) -> None:
        """Forgets an interim answer, 1xx (RFC 9110, 15.2): the final one comes behind it."""
        self.complete = self.head_complete = self.framed = False
        self.headers_ns = self.status = None

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_message_complete(self) -> None:
        self.complete = True

    def take(self, at_ns: int, low_ns: int) -> None:
        """Takes the body bytes that one read has added to `pieces`.

        The common event of a stream is accounted for at once and not kept.
        """
        pieces = self.pieces
        if (
            len(pieces) == 1
            and not self._tail
            and not self.encoding
            and self.answer.feed_like(pieces[0], at_ns, low_ns)
        ):
            self.body_bytes += len(pieces[0])
            pieces.clear()
            return
        self.marks.append(len(pieces))
        self.times_ns.append(at_ns)
        self.lows_ns.append(low_ns)

    def decode(self) -> None:
        """Decodes what has come since the last call."""
        if not self.pieces or self.status != 200 or not self.streamed:
            return
        pieces = self._inflated(self.pieces) if self.encoding else self.pieces
        fresh, framing = b"".join(pieces), self.dialect.framing
        self.body_bytes += len(fresh)
        if self._spoilt:
            pass
        elif framing.end.search(fresh) or (self._tail and self._tail[-1].endswith(b"\r")):
            self._split(b"".join((*self._tail, fresh)), pieces)
        elif fresh:  # a part of one long event: looked at when its end is there
            self._tail.append(fresh)
            self._tail_bytes += len(fresh)
        self.pieces.clear()
        self.marks, self.times_ns, self.lows_ns = array("q"), array("q"), array("q")
        self.pending_bytes = self._tail_bytes

    def _split(self, buffer: bytes, pieces: list[bytes]) -> None:
        """Feeds the events that are complete in `buffer`, which is the tail and `pieces`."""
        payloads, ends, consumed, stray = self.dialect.framing.split(buffer)
        reads = self._completing_reads(ends, pieces)
        self.answer.feed(payloads, reads, self.times_ns, self.lows_ns)
        rest = buffer[consumed:]
        if stray is not None:
            self._spoil("error_in_answer", printable(stray))
            rest = b""
        self._tail = [rest] if rest else []
        self._tail_bytes = len(rest)

    def _completing_reads(self, ends: list[int], pieces: list[bytes]) -> list[int]:
        """For each event the read that completed it."""
        reads: list[int] = []
        read, piece, length = -1, 0, self._tail_bytes
        for end in ends:
            while length < end:
                read += 1
                upto = self.marks[read]
                while piece < upto:
                    length += len(pieces[piece])
                    piece += 1
            reads.append(read)
        return reads

    def _inflated(self, pieces: list[bytes]) -> list[bytes]:
        """The pieces without their content encoding; none once that has failed."""
        if self._spoilt:
            return []
        if self.encoding not in _INFLATED:
            return self._spoil("bad_encoding", f"content-encoding {printable(self.encoding)}")
        if self._inflate is None:
            self._inflate = zlib.decompressobj(wbits=47)  # gzip or zlib, by the first bytes
        try:
            plain = [self._inflate.decompress(piece, LARGEST_BYTES) for piece in pieces]
        except zlib.error as error:
            return self._spoil("bad_encoding", str(error))
        if self._inflate.unconsumed_tail:
            return self._spoil("runs_on", f"over {LARGEST_BYTES} bytes in one read's inflated body")
        return plain

    def _spoil(self, error_class: str, text: str) -> list[bytes]:
        """Fails the flight; what comes further can't be read."""
        self.fail(error_class, text)
        self._spoilt = True
        self.answer.prefix = b""  # no event is like the ones before any more
        return []

    def rest(self) -> bytes:
        """What is left when the body has ended: an event without its blank line, or a whole body
        that was no stream.  Call once.
        """
        if self.streamed and self.status == 200:
            self.decode()
            return b"".join(self._tail)
        body = b"".join(self._inflated(self.pieces) if self.encoding else self.pieces)
        self.body_bytes = len(body)
        self.pieces.clear()
        return body

    @property
    def runs_on(self) -> str | None:
        """Why the answer is far more than was asked for; None while it is not."""
        events, asked = self.answer.events, self.turn.output_tokens
        if asked is not None and events > _TOO_LONG_FACTOR * asked + _TOO_LONG_SLACK_EVENTS:
            return f"{events} events after {asked} tokens were asked for, and no end"
        if self.pending_bytes > LARGEST_BYTES:
            return f"over {LARGEST_BYTES} bytes without the end of an event or of the body"
        return None

    def overdue(
        self, limits: Timeouts, now_ns: int, connecting_since_ns: int | None
    ) -> tuple[str, str] | None:
        """The time limit that is passed, as error class and text; None while none is.

        `connecting_since_ns` is None once there is a connection.
        """
        if now_ns - self.started_ns > limits.total_s * 1e9:
            return "total_timeout", f"not over after {limits.total_s:g} s"
        if connecting_since_ns is not None:
            kind, limit_s, since_ns = "connect_timeout", limits.connect_s, connecting_since_ns
        elif self.first_byte_ns is None:
            kind, limit_s, since_ns = "first_byte_timeout", limits.first_byte_s, self.started_ns
        elif not self.streamed:
            kind, limit_s, since_ns = "idle_timeout", limits.idle_s, self.last_read_ns
        else:
            kind, limit_s, since_ns = self._waiting_for_event(limits)
            if now_ns - since_ns > limit_s * 1e9 and self.pieces:
                self.decode()
                kind, limit_s, since_ns = self._waiting_for_event(limits)
        if now_ns - since_ns <= limit_s * 1e9:
            return None
        return kind, f"nothing for {limit_s:g} s"

    def _waiting_for_event(self, limits: Timeouts) -> tuple[str, float, int]:
        latest_ns = self.answer.latest_ns
        if latest_ns is None:
            return "first_byte_timeout", limits.first_byte_s, self.started_ns
        return "idle_timeout", limits.idle_s, latest_ns


def printable(text: bytes) -> str:
    """The beginning of what a server sent, as text."""
    return text[:_ERROR_TEXT_CHARACTERS].decode("utf-8", "replace")
