"""Splitting a server-sent-event stream into payloads (WHATWG HTML, section 9.2).

Works on the bytes gathered so far and says how many of them it used, so that a stream can be
decoded in slices and split anywhere: inside a line end, inside `data:`, inside a UTF-8 character.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIELD_NAMES = (b"event", b"id", b"retry")


class Split(NamedTuple):
    """The events that are complete.

    `payloads` are their data lines joined by a line feed (an event without data has none), `ends`
    the offset just behind the blank line that completes each, `consumed` the bytes used.  `stray`
    is a line that is no field of an event stream, if there was one: some servers put errors there
    as plain text.  Nothing behind it is split.
    """

    payloads: list[bytes]
    ends: list[int]
    consumed: int
    stray: bytes | None = None


class StrayText(Exception):
    """A line that is no field of an event stream."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


def split_events(buffer: bytes) -> Split:
    """Takes apart all events that are complete in `buffer`, which begins with an event."""
    if b"\r" in buffer:
        return _split_any_line_end(buffer)
    blocks = buffer.split(b"\n\n")
    remainder = blocks.pop()
    payloads: list[bytes] = []
    ends: list[int] = []
    end = 0
    for block in blocks:
        end += len(block) + 2
        if block[:6] == b"data: " and b"\n" not in block and len(block) > 6:
            payloads.append(block[6:])
            ends.append(end)
            continue
        try:
            payload = block_payload(block.split(b"\n"))
        except StrayText as stray:
            return Split(payloads, ends, end, stray.text)
        if payload is not None:
            payloads.append(payload)
            ends.append(end)
    return Split(payloads, ends, len(buffer) - len(remainder))


def _split_any_line_end(buffer: bytes) -> Split:
    payloads: list[bytes] = []
    ends: list[int] = []
    lines: list[bytes] = []
    consumed = start = 0
    for match in _LINE_END.finditer(buffer):
        if match.end() == len(buffer) and match.group() == b"\r":
            break  # the line feed that belongs to it may still come
        line, start = buffer[start : match.start()], match.end()
        if line:
            lines.append(line)
            continue
        consumed = start
        try:
            payload = block_payload(lines)
        except StrayText as stray:
            return Split(payloads, ends, consumed, stray.text)
        if payload is not None:
            payloads.append(payload)
            ends.append(start)
        lines = []
    return Split(payloads, ends, consumed)


def block_payload(lines: list[bytes]) -> bytes | None:
    """The data of one event, or None when it has none.  Raises StrayText."""
    parts: list[bytes] = []
    for line in lines:
        name, _, value = line.removeprefix(_BYTE_ORDER_MARK).partition(b":")
        if name == b"data":
            parts.append(value.removeprefix(b" "))
        elif name and name not in _FIELD_NAMES:
            raise StrayText(line)
    return b"\n".join(parts) or None


def last_payload(tail: bytes) -> bytes | None:
    """What stands behind the last blank line when the stream ends, if it is a whole event.

    The standard drops it; several servers end without the last blank line, and dropping a finish
    reason or an error would misjudge the answer.  Raises StrayText.
    """
    return block_payload(_LINE_END.split(tail))
