"""The elements of a JSON array too large to load, decoded one at a time."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

from bench.errors import TraceError
from bench.workload.readers.limits import LONGEST_ITEM_BYTES

_CHUNK_BYTES = 1 << 20
_SPACE = " \t\r\n"
_EDGE_CHARACTERS = 16


def json_elements(stream: IO[bytes], name: str) -> Iterator[Any]:
    """Each element of the array in `stream` (UTF-8).  Memory is a few times the longest element.

    Raises TraceError, naming the element, where the text is not a JSON array, ends early, or holds
    an element longer than LONGEST_ITEM_BYTES.
    """
    window = _Window(stream, name)
    if window.next_character() != "[":
        raise TraceError(f"{name}: expected a JSON array, which begins with '['")
    window.at += 1
    if window.next_character() == "]":
        return
    for element in range(1, 1 << 62):
        yield window.element(element)
        closing = window.next_character()
        if closing == "]":
            return
        if closing != ",":
            raise TraceError(
                f"{name}: element {element}: expected ',' or ']' after it, "
                f"got {closing or 'the end of the file'!r}"
            )
        window.at += 1


class _Window:
    """The part of the text that is being decoded: grows until an element is whole."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._json = json.JSONDecoder()
        self._text = ""
        self._ended = False
        self.at = 0

    def next_character(self) -> str:
        """The next one that is not white space, not consumed; "" at the end of the file."""
        while True:
            while self.at < len(self._text) and self._text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self._text):
                return self._text[self.at]
            if self._ended:
                return ""
            self._grow()

    def element(self, number: int) -> Any:
        self.next_character()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self.at)
                # A number at the edge of the window may go on behind it ("1", "1.", "1e+").
                at_edge = end >= len(self._text) - 2 and isinstance(value, int | float)
                if at_edge and not self._ended:
                    self._grow()
                    continue
                self.at = end
                return value
            except json.JSONDecodeError as wrong:
                problem = str(wrong.msg)
                # An unfinished element fails at the edge of the window, or in an open string.
                unfinished = wrong.pos >= len(
                    self._text
                ) - _EDGE_CHARACTERS or wrong.msg.startswith("Unterminated string")
                if unfinished and not self._ended:
                    self._grow()
                    continue
            except (RecursionError, ValueError) as wrong:
                problem = str(wrong)
            raise TraceError(f"{self._name}: element {number}: {problem}") from None

    def _grow(self) -> None:
        """Read about as much as is held, so that a long element costs linear time."""
        self._text = self._text[self.at :]
        self.at = 0
        if len(self._text) > LONGEST_ITEM_BYTES:
            raise TraceError(
                f"{self._name}: an element is longer than {LONGEST_ITEM_BYTES:,} characters"
            )
        chunk = self._stream.read(max(_CHUNK_BYTES, len(self._text)))
        try:
            self._text += self._decode(chunk, not chunk)
        except UnicodeDecodeError as wrong:
            raise TraceError(f"{self._name}: not UTF-8: {wrong.reason}") from None
        self._ended = not chunk
