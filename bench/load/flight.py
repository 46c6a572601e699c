"""One request on its way: what was planned, the bytes that came and when, and what they say.

The transport appends; decoding is done later, in slices, so that reading is never held.
"""

from __future__ import annotations

import zlib
from array import array
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bench.load.dialects.openai import Answer
from bench.load.sse import StrayText, last_payload, split_events
from bench.model import Exchange, Outcome, Turn

ERROR_TEXT_CHARACTERS = 512
UNCERTAIN_NS = 1_000_000
"""A first token is uncertain when its arrival is only known to lie in a wider interval."""

_TOO_LONG_FACTOR = 2
_TOO_LONG_SLACK_TOKENS = 256


class Flight:
    """One request in progress.

    `pieces` are the body's bytes that are not decoded yet, as the parser gave them.  For each read
    of the socket that gave some of them, `marks` holds how many pieces there were after it,
    `times_ns` when the kernel had its last byte, and `lows_ns` when the socket was last known to
    be empty.
    """

    __slots__ = (
        "_inflate",
        "_tail",
        "aborted",
        "answer",
        "body_bytes",
        "complete",
        "connect_ns",
        "connection_requests",
        "content_type",
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
        "slot",
        "started_ns",
        "status",
        "streamed",
        "times_ns",
        "turn",
        "turn_number",
        "worker",
    )

    def __init__(self, turn: Turn, session: int, turn_number: int, request_id: str) -> None:
        self.turn = turn
        self.session = session
        self.turn_number = turn_number
        self.request_id = request_id
        self.follow_up: object = None
        self.slot: int | None = None
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
        self.streamed = False
        self.framed = False
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
        self.answer = Answer()
        self._tail = b""
        self._inflate: zlib._Decompress | None = None

    def fail(self, error_class: str, text: str = "") -> None:
        """Keeps the first reason; what follows from it is not another one."""
        if self.error_class is None:
            self.error_class = error_class
            self.error_text = text[:ERROR_TEXT_CHARACTERS] or None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps the few response headers that matter (called by the HTTP parser)."""
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.lower()
            self.streamed = value[:17].lower() == b"text/event-stream"
        elif name == b"content-encoding":
            self.encoding = value.lower()
        elif name == b"retry-after":
            self.retry_after = value
        elif name in (b"content-length", b"transfer-encoding"):
            self.framed = True

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
        pieces = self.pieces
        if self.encoding in (b"gzip", b"deflate"):
            pieces = self._decompress(pieces)
        buffer = self._tail + b"".join(pieces)
        self.body_bytes += len(buffer) - len(self._tail)
        try:
            payloads, ends, consumed = split_events(buffer)
        except StrayText as stray:
            self.fail("stream_error", _printable(stray.text))
        else:
            reads = self._completing_reads(ends, pieces)
            self.answer.feed(payloads, reads, self.times_ns, self.lows_ns)
            self._tail = buffer[consumed:]
        self.pieces.clear()
        self.marks, self.times_ns, self.lows_ns = array("q"), array("q"), array("q")
        self.pending_bytes = 0

    def _completing_reads(self, ends: list[int], pieces: list[bytes]) -> list[int]:
        """For each event the read that completed it."""
        reads: list[int] = []
        read, piece, length = -1, 0, len(self._tail)
        for end in ends:
            while length < end:
                read += 1
                upto = self.marks[read]
                while piece < upto:
                    length += len(pieces[piece])
                    piece += 1
            reads.append(read)
        return reads

    def _decompress(self, pieces: list[bytes]) -> list[bytes]:
        if self._inflate is None:
            self._inflate = zlib.decompressobj(wbits=47)
        inflate = self._inflate
        try:
            return [inflate.decompress(piece) for piece in pieces]
        except zlib.error as error:
            self.fail("malformed_body", str(error))
            return []

    def _conclude(self) -> None:
        """Judges the whole answer once its bytes are in."""
        if self.status is None or self.error_class is not None:
            return
        if self.status != 200 or not self.streamed:
            body = b"".join(self._decompress(self.pieces) if self.encoding else self.pieces)
            self.body_bytes = len(body)
            self.pieces.clear()
            self._conclude_body(body)
            return
        self.decode()
        answer = self.answer
        if self._tail.strip():
            try:
                payload = last_payload(self._tail)
            except StrayText as stray:
                self.fail("stream_error", _printable(stray.text))
                payload = None
            if payload is not None:
                answer.feed([payload], [0], [self.last_read_ns], [self.last_low_ns])
        self._conclude_stream(answer)

    def _conclude_body(self, body: bytes) -> None:
        status = self.status
        if status is not None and 300 <= status < 400:
            self.fail("redirect", f"status {status}")
        elif status != 200:
            self.fail(f"http_{status}", _printable(body))
        elif b"json" not in self.content_type and body[:1] != b"{":
            self.fail("not_json", _printable(body))
        else:
            self.answer.read_body(body)
            self._conclude_stream(self.answer)

    def _conclude_stream(self, answer: Answer) -> None:
        if answer.error is not None:
            self.fail("stream_error", str(answer.error))
        elif answer.malformed is not None:
            self.fail("malformed_stream", _printable(answer.malformed))
        elif not answer.done and answer.finish_reason is None:
            self.fail("truncated", "the answer ended without a finish reason or [DONE]")
        elif answer.finish_reason in ("abort", "error"):
            self.fail("stream_error", f"finish_reason {answer.finish_reason}")

    def exchange(self) -> Exchange:
        """The finished record.  Call once, when the transport is through with the flight."""
        if self.aborted:
            self.decode()
        else:
            self._conclude()
        answer = self.answer
        account = answer.account()
        arrival = account.arrival_ns
        if self.error_class is None and not self.aborted and not account.output_tokens:
            self.fail("empty", "the answer held no token")
        first_ns = arrival[0] if arrival else None
        low_ns = account.first_low_ns
        uncertain = (
            first_ns is not None
            and low_ns is not None
            and account.first_read_shared
            and first_ns - low_ns > UNCERTAIN_NS
        )
        outcome = Outcome.OK if self.error_class is None else Outcome.FAILED
        return Exchange(
            index=self.turn.index,
            session=self.session,
            turn=self.turn_number,
            worker=self.worker,
            phase=self.turn.phase,
            outcome=Outcome.ABORTED if self.aborted else outcome,
            intended_ns=self.intended_ns,
            error_class=self.error_class,
            error_text=self.error_text,
            sent_ns=self.sent_ns,
            headers_ns=self.headers_ns,
            role_ns=answer.role_ns,
            first_ns=first_ns,
            first_low_ns=low_ns,
            last_ns=arrival[-1] if arrival else None,
            done_ns=self.done_ns,
            connect_s=None if self.connect_ns is None else self.connect_ns / 1e9,
            connection_requests=self.connection_requests,
            reconnects=self.reconnects,
            status=self.status,
            finish_reason=answer.finish_reason,
            retry_after_s=retry_after_s(self.retry_after),
            planned_input_tokens=self.turn.input_tokens,
            planned_output_tokens=self.turn.output_tokens,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cached_tokens=answer.cached_tokens,
            reasoning_tokens=answer.reasoning_tokens,
            output_tokens=account.output_tokens,
            token_method=account.method,
            first_token_rule=account.rule,
            uncertain_first=uncertain,
            events=answer.events,
            reads=self.reads,
            body_bytes=self.body_bytes,
            request_bytes=len(self.request),
            rtt_s=None if self.rtt_ns is None else self.rtt_ns / 1e9,
            retransmits=self.retransmits,
            arrival_ns=arrival,
            tokens=account.tokens,
        )

    @property
    def runs_on(self) -> bool:
        """Whether the answer is far longer than what was asked for."""
        asked = self.turn.output_tokens
        return asked is not None and (
            self.answer.events > _TOO_LONG_FACTOR * asked + _TOO_LONG_SLACK_TOKENS
        )


def retry_after_s(value: bytes | None) -> float | None:
    """Seconds of a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None


def _printable(body: bytes) -> str:
    return body[:ERROR_TEXT_CHARACTERS].decode("utf-8", "replace")
