"""The body of one response: its bytes, when they came, and the events in them."""

from __future__ import annotations

import zlib
from array import array

from bench.load.dialects.answer import Answer, Dialect

LARGEST_BYTES = 64 * 2**20
"""An event, or a body that is no stream, may be this long."""

_RUN_PIECES = 64
_SHOWN_BYTES = 512
_INFLATED = (b"gzip", b"x-gzip", b"deflate")


class Body:
    """What has come of a body so far.

    `pieces` are the bytes that are not decoded yet, as the HTTP parser gave them.  For each read of
    the socket that gave some of them, `marks` holds how many pieces there were after it,
    `times_ns` when the kernel had its last byte, and `lows_ns` when the socket was last known to
    be empty.  `spoilt` is an error class and a text once nothing further can be read.
    """

    __slots__ = (
        "_framing",
        "_inflate",
        "_tail",
        "_tail_bytes",
        "answer",
        "encoding",
        "lows_ns",
        "marks",
        "pending_bytes",
        "pieces",
        "size_bytes",
        "spoilt",
        "times_ns",
    )

    def __init__(self, dialect: Dialect) -> None:
        self._framing = dialect.framing
        self.answer = Answer(dialect)
        self.encoding = b""
        self.pieces: list[bytes] = []
        self.marks = array("q")
        self.times_ns = array("q")
        self.lows_ns = array("q")
        self.pending_bytes = 0
        self.size_bytes = 0
        self.spoilt: tuple[str, str] | None = None
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._inflate: zlib._Decompress | None = None

    def mark(self, at_ns: int, low_ns: int) -> None:
        """Says when the read came that has added to `pieces`, if it has."""
        known = self.marks[-1] if self.marks else 0
        if len(self.pieces) > known:
            self.pending_bytes += sum(map(len, self.pieces[known:]))
            self.marks.append(len(self.pieces))
            self.times_ns.append(at_ns)
            self.lows_ns.append(low_ns)

    def mark_all(self, marks: array[int], times_ns: array[int], lows_ns: array[int]) -> None:
        """Says the same of several reads at once."""
        known = self.marks[-1] if self.marks else 0
        self.pending_bytes += sum(map(len, self.pieces[known:]))
        self.marks.extend(marks)
        self.times_ns.extend(times_ns)
        self.lows_ns.extend(lows_ns)

    def decode(self) -> bool:
        """Decodes what has come of a stream since the last call.

        True when it ended with events like the one the answer has learnt, each in a piece of its
        own.
        """
        start, stop, alike = 0, len(self.pieces), False
        if len(self.marks) != stop and not self.encoding:
            self._give_each_its_read(stop)
        while start < stop:
            taken, end = 0, stop
            if not self.encoding and not self._tail and self.spoilt is None:
                end = self._end_of_run(start)
                taken = self._feed_alike(start, end)
                end = max(start + taken, start + 1)
            alike = taken > 0
            if not alike:
                self._decode_any(start, end)
            start = end
        if stop:
            self.pieces.clear()
            self.marks, self.times_ns, self.lows_ns = array("q"), array("q"), array("q")
            self.pending_bytes = self._tail_bytes
        return alike

    def _give_each_its_read(self, pieces: int) -> None:
        """Says of every piece when it came, where some reads gave several."""
        times_ns, lows_ns, before = array("q"), array("q"), 0
        for mark, at_ns, low_ns in zip(self.marks, self.times_ns, self.lows_ns, strict=True):
            times_ns.extend([at_ns] * (mark - before))
            lows_ns.extend([low_ns] * (mark - before))
            before = mark
        self.marks = array("q", range(1, pieces + 1))
        self.times_ns, self.lows_ns = times_ns, lows_ns

    def _end_of_run(self, start: int) -> int:
        """Up to which piece they end the way the answer has learnt."""
        form, end = self.answer.form, start
        stop = min(len(self.pieces), start + _RUN_PIECES)
        while form and end < stop and self.pieces[end].endswith(form.suffix):
            end += 1
        return end

    def _feed_alike(self, start: int, end: int) -> int:
        """How many pieces from `start` on are events like the one the answer has learnt."""
        if start == end:
            return 0
        events = self.pieces[start:end]
        taken = self.answer.feed_alike(events, self.times_ns[start:end], self.lows_ns[start:end])
        self.size_bytes += sum(map(len, events[:taken]))
        return taken

    def _decode_any(self, start: int, end: int) -> None:
        """Decodes pieces of reads that are whole: one, or all there are."""
        pieces = self.pieces[start:end]
        if self.encoding:
            pieces = self._inflated(pieces)
        fresh = b"".join(pieces)
        self.size_bytes += len(fresh)
        if self.spoilt is not None:
            pass
        elif self._may_complete(fresh):
            self._split(b"".join((*self._tail, fresh)), pieces, start)
        elif fresh:  # a part of one long event: looked at when its end is there
            self._tail.append(fresh)
            self._tail_bytes += len(fresh)

    def _may_complete(self, fresh: bytes) -> bool:
        """Whether an event may be whole now; the rest of a long one has no end in it."""
        if any(end in fresh for end in self._framing.ends):
            return True
        return bool(self._tail) and self._tail[-1].endswith(b"\r")

    def _split(self, buffer: bytes, pieces: list[bytes], before: int) -> None:
        """Feeds the events that are complete in `buffer`, which is the tail and `pieces`.

        So many pieces, one a read, were `before` them.
        """
        payloads, ends, consumed, stray = self._framing.split(buffer)
        reads = self._completing_reads(ends, pieces, before)
        self.answer.feed(payloads, reads, self.times_ns, self.lows_ns)
        rest = buffer[consumed:]
        if stray is not None:
            self._spoil("error_in_answer", printable(stray))
            rest = b""
        self._tail = [rest] if rest else []
        self._tail_bytes = len(rest)

    def _completing_reads(self, ends: list[int], pieces: list[bytes], before: int) -> list[int]:
        """For each event the read that completed it."""
        reads: list[int] = []
        read, piece, length = before - 1, 0, self._tail_bytes
        for end in ends:
            while length < end:
                read += 1
                upto = self.marks[read] - before
                while piece < upto:
                    length += len(pieces[piece])
                    piece += 1
            reads.append(read)
        return reads

    def _inflated(self, pieces: list[bytes]) -> list[bytes]:
        """The pieces without their content encoding; none once that has failed."""
        if self.spoilt is not None:
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
        self.spoilt = (error_class, text)
        return []

    @property
    def too_long(self) -> str | None:
        """Why there is more of it than any answer has; None while there is not."""
        if self.pending_bytes <= LARGEST_BYTES:
            return None
        return f"over {LARGEST_BYTES} bytes without the end of an event or of the body"

    def tail(self) -> bytes:
        """What is left of a stream that has ended and is decoded: an event without its end."""
        return b"".join(self._tail)

    def whole(self) -> bytes:
        """A body that was no stream.  Call once."""
        body = b"".join(self._inflated(self.pieces) if self.encoding else self.pieces)
        self.size_bytes = len(body)
        self.pieces.clear()
        return body


def printable(text: bytes) -> str:
    """The beginning of what a server sent, as text."""
    return text[:_SHOWN_BYTES].decode("utf-8", "replace")
