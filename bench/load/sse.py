"""Splitting a server-sent-event stream into payloads (WHATWG HTML, section 9.2).

Works on the bytes gathered so far and says how many of them it used, so that a stream can be
decoded in slices and split anywhere: inside a line end, inside `data:`, inside a UTF-8 character.
"""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELD_NAMES = (b"event", b"id", b"retry")


class StrayText(Exception):
    """Bytes that are no field of an event stream: some servers put errors there as plain text."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


def split_events(buffer: bytes) -> tuple[list[bytes], list[int], int]:
    """Payloads of the events that are complete in `buffer`.

    Returns the payloads (data lines joined by a line feed; an event without data gives none), for
    each the offset just behind the blank line that completes it, and the bytes consumed.
    """
    if b"\r" in buffer:
        return _split_any_line_end(buffer)
    blocks = buffer.split(b"\n\n")
    remainder = blocks.pop()
    payloads: list[bytes] = []
    ends: list[int] = []
    end = 0
    for block in blocks:
        end += len(block) + 2
        if block[:6] == b"data: " and b"\n" not in block:
            payloads.append(block[6:])
            ends.append(end)
        elif (payload := block_payload(block.split(b"\n"))) is not None:
            payloads.append(payload)
            ends.append(end)
    return payloads, ends, len(buffer) - len(remainder)


def _split_any_line_end(buffer: bytes) -> tuple[list[bytes], list[int], int]:
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
        if (payload := block_payload(lines)) is not None:
            payloads.append(payload)
            ends.append(start)
        lines = []
    return payloads, ends, consumed


def block_payload(lines: list[bytes]) -> bytes | None:
    """The data of one event, or None when it holds only comments and other fields.

    Raises StrayText for a line that is no field at all.
    """
    parts: list[bytes] = []
    for line in lines:
        if not line or line[:1] == b":":
            continue
        name, colon, value = line.partition(b":")
        if name == b"data":
            parts.append(value.removeprefix(b" "))
        elif not colon or name not in _FIELD_NAMES:
            raise StrayText(line)
    return b"\n".join(parts) if parts else None


def last_payload(tail: bytes) -> bytes | None:
    """What stands behind the last blank line when the stream ends, if it is a whole event.

    The standard drops it; several servers end without the last blank line, and dropping a finish
    reason or an error would misjudge the answer.
    """
    return block_payload(_LINE_END.split(tail))
