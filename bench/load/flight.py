"""One request on its way: what was planned, the bytes that came and when, and what they say.

The transport appends; decoding is done later, in slices, so that reading is never held.
"""

from __future__ import annotations

from array import array

import httptools

from bench.load.body import Body
from bench.load.dialects.answer import Dialect
from bench.load.dialects.table import CHAT
from bench.load.errors import is_error_class
from bench.model import Timeouts, Turn

UNPARSED_READS = 32

_ERROR_TEXT_CHARACTERS = 512
_TOO_LONG_FACTOR = 2
_TOO_LONG_SLACK_EVENTS = 256


class Flight:
    """One request in progress.

    `parser` reads the response's HTTP and calls back here.  `unparsed` are reads that it has not
    seen yet, each of which ends with `regular_end`: the end of a plain event and of its chunk.
    Nothing that ends a response looks so.
    """

    __slots__ = (
        "aborted",
        "answer",
        "body",
        "chunked",
        "complete",
        "connect_ns",
        "connection_requests",
        "content_type",
        "dialect",
        "done_ns",
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
        "on_body",
        "parse_every",
        "parser",
        "reads",
        "reconnects",
        "regular_end",
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
        "turn",
        "turn_number",
        "unparsed",
        "unparsed_lows_ns",
        "unparsed_ns",
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
        self.retry_after: bytes | None = None
        self.streamed = dialect.framing.streamed(b"")
        self.framed = self.chunked = False
        self.keep_alive = True
        self.head_complete = False
        self.complete = False
        self.parser: httptools.HttpResponseParser | None = None
        self.parse_every = UNPARSED_READS
        self.unparsed: list[bytes] = []
        self.unparsed_ns = array("q")
        self.unparsed_lows_ns = array("q")
        self.regular_end = b""
        self.last_read_ns = 0
        self.last_low_ns = 0
        self.reads = 0
        self.rtt_ns: int | None = None
        self.retransmits: int | None = None
        self.error_class: str | None = None
        self.error_text: str | None = None
        self.aborted = False
        self.body = Body(dialect)
        self.answer = self.body.answer
        self.on_body = self.body.pieces.append

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
            self.body.encoding = value.lower().replace(b"identity", b"")
        elif name == b"retry-after":
            self.retry_after = value
        elif name == b"content-length":
            self.framed = True
        elif name == b"transfer-encoding":
            self.framed = True
            self.chunked = value.lower() == b"chunked"
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

    def receive(self, received: bytes, at_ns: int, low_ns: int) -> None:
        """Takes one read of the socket, whose last byte the kernel had at `at_ns`.

        Raises httptools.HttpParserError.
        """
        parser = self.parser
        assert parser is not None
        if self.unparsed:
            self.parse()
        self.reads += 1
        self.last_read_ns, self.last_low_ns = at_ns, low_ns
        if self.first_byte_ns is None:
            self.first_byte_ns = at_ns
        try:
            parser.feed_data(received)
        finally:
            self.body.mark(at_ns, low_ns)
        if self.headers_ns is None and self.head_complete:
            self.headers_ns = at_ns
            self.status = parser.get_status_code()

    def postpone(self, received: bytes, at_ns: int, low_ns: int) -> bool:
        """Keeps a read that ends with `regular_end` for `parse`; False when that is due.

        A stream sends the same kind of chunk over and over: some at a time they cost less.
        """
        self.reads += 1
        self.last_read_ns, self.last_low_ns = at_ns, low_ns
        self.unparsed.append(received)
        self.unparsed_ns.append(at_ns)
        self.unparsed_lows_ns.append(low_ns)
        return len(self.unparsed) < self.parse_every

    def parse(self) -> None:
        """Gives the HTTP parser what was postponed.  Raises httptools.HttpParserError.

        Each of these reads begins and ends with a chunk.  Two line ends a chunk tell that there is
        one in each, so that the parser can have them as one.
        """
        parser, body, reads = self.parser, self.body, self.unparsed
        assert parser is not None
        before, joined, marks = len(body.pieces), b"".join(reads), array("q")
        try:
            if joined.count(b"\r\n") == 2 * len(reads):
                parser.feed_data(joined)
                marks.extend(range(before + 1, len(body.pieces) + 1))
            else:
                for read in reads:
                    parser.feed_data(read)
                    marks.append(len(body.pieces))
        finally:
            marks.extend([len(body.pieces)] * (len(reads) - len(marks)))
            body.mark_all(marks, self.unparsed_ns, self.unparsed_lows_ns)
            self.unparsed, self.unparsed_ns, self.unparsed_lows_ns = [], array("q"), array("q")

    def hang_up(self) -> None:
        """Nothing more will be read: parses what was postponed and lets the parser go.

        The two hold each other, and no garbage collector runs beside the wire transport.
        """
        if self.unparsed:
            try:
                self.parse()
            except httptools.HttpParserError as error:
                self.fail("malformed_http", str(error))
        self.parser = None

    def decode(self) -> None:
        """Decodes what has come since the last call."""
        if self.status != 200 or not self.streamed:
            return
        body = self.body
        if body.decode():
            if self.chunked and self.answer.form is not None:
                self.regular_end = self.answer.form.suffix + b"\r\n"
        elif body.spoilt is not None:
            self.regular_end = b""
            self.fail(*body.spoilt)

    def rest(self) -> bytes:
        """What is left when the body has ended: an event without its blank line, or a whole body
        that was no stream.  Call once.
        """
        if self.streamed and self.status == 200:
            self.decode()
            return self.body.tail()
        whole = self.body.whole()
        if self.body.spoilt is not None:
            self.fail(*self.body.spoilt)
        return whole

    @property
    def events_ahead(self) -> int:
        """How many plain events may be expected still; 0 when that is not known."""
        asked = self.turn.output_tokens
        if asked is None or not self.regular_end:
            return 0
        return asked - max(self.answer.events, self.answer.completion_tokens or 0)

    @property
    def runs_on(self) -> str | None:
        """Why the answer is far more than was asked for; None while it is not."""
        events, asked = self.answer.events, self.turn.output_tokens
        if asked is not None and events > _TOO_LONG_FACTOR * asked + _TOO_LONG_SLACK_EVENTS:
            return f"{events} events after {asked} tokens were asked for, and no end"
        return self.body.too_long

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
            if now_ns - since_ns > limit_s * 1e9 and self.body.pieces:
                self.decode()
                kind, limit_s, since_ns = self._waiting_for_event(limits)
        if now_ns - since_ns <= limit_s * 1e9:
            return None
        return kind, f"nothing for {limit_s:g} s"

    def _waiting_for_event(self, limits: Timeouts) -> tuple[str, float, int]:
        latest_ns = self.unparsed_ns[-1] if self.unparsed else self.answer.latest_ns
        if latest_ns is None:
            return "first_byte_timeout", limits.first_byte_s, self.started_ns
        return "idle_timeout", limits.idle_s, latest_ns
