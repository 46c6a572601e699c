"""The form of an answer's plain events: all that stands around the text and the token counts.

Most events of a stream differ in nothing else, and are read by comparing bytes (ADR 0008).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

_STRING = re.compile(rb'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}))+')
"""What stands between the quotes of a JSON string (RFC 8259, 7); surrogates are left out, which
are right in pairs only."""

_COUNT = re.compile(rb'"(completion|total)_tokens":(\d+)')
_LONGEST_COUNT = 9


@dataclass(frozen=True, slots=True)
class Form:
    """An event is `prefix`, its text, and `suffix`; in between, where the server counts on, stand
    whole numbers behind each of `before_counts`.

    `completion`: which of the numbers is the count of output tokens so far.  `visible`: the text is
    content, not reasoning.  With no quote in the text but an escaped one, JSON leaves no other
    reading of such an event.
    """

    prefix: bytes
    before_counts: tuple[bytes, ...]
    suffix: bytes
    completion: int | None = None
    visible: bool = True

    def leading(self, events: Sequence[bytes]) -> tuple[list[bytes], list[int]]:
        """Texts of those of `events` that come first and have this form, and the counts in them.

        Each event is as it stands in the stream, from `data:` to the blank line.
        """
        if not events or not self._plain(events[0]):
            return [], []
        if not self.before_counts and (texts := self._all(events)) is not None:
            return texts, []
        texts, totals = [], list[int]()
        for event in events:
            text = self._text(event, totals) if self.before_counts else self._plain(event)
            if not text or not _is_string(text):
                break
            texts.append(text)
        return texts, totals[: len(texts)]

    def _all(self, events: Sequence[bytes]) -> list[bytes] | None:
        """The texts, if all events have the form: put together again they are what came."""
        start, end = len(self.prefix), -len(self.suffix)
        texts = [event[start:end] for event in events]
        written = b"".join((self.prefix, (self.suffix + self.prefix).join(texts), self.suffix))
        if not all(texts) or written != b"".join(events):
            return None
        clean = _needs_no_look(b"".join(texts)) or all(map(_is_string, texts))
        return texts if clean else None

    def _plain(self, event: bytes) -> bytes:
        if not event.startswith(self.prefix) or not event.endswith(self.suffix):
            return b""
        return event[len(self.prefix) : -len(self.suffix)]

    def _text(self, event: bytes, totals: list[int]) -> bytes:
        """The text of an event with counts, of which one is put into `totals`; else nothing."""
        rest = self._plain(event)
        text, *numbers = rest.split(self.before_counts[0], 1) if rest else (b"",)
        for literal in self.before_counts[1:]:
            if not numbers:
                return b""
            numbers[-1:] = numbers[-1].split(literal, 1)
        if len(numbers) != len(self.before_counts) or not all(map(_is_count, numbers)):
            return b""
        if self.completion is not None:
            totals.append(int(numbers[self.completion]))
        return text


def _is_string(text: bytes) -> bool:
    """Whether it can stand between the quotes of a JSON string."""
    return _needs_no_look(text) or _STRING.fullmatch(text) is not None


def _needs_no_look(text: bytes) -> bool:
    return b'"' not in text and b"\\" not in text


def as_said(texts: Sequence[bytes]) -> str:
    """What texts of a form say, one after another."""
    joined = b"".join(texts).decode("utf-8", "replace")
    return str(orjson.loads(f'"{joined}"')) if "\\" in joined else joined


def _is_count(number: bytes) -> bool:
    """Whether it is a whole number as JSON has it, and no longer than counts are."""
    return (
        number.isdigit() and len(number) <= _LONGEST_COUNT and (number[0] != 48 or number == b"0")
    )


def form_of(
    payload: bytes, start: int, end: int, *, counted: bool, visible: bool = True
) -> Form | None:
    """The form of the event `payload`, whose text stands from `start` to `end`.

    `counted`: it has running counts of tokens behind the text.  None where they are not found
    once each.
    """
    prefix, tail = b"data: " + payload[:start], payload[end:] + b"\n\n"
    if not counted:
        return Form(prefix, (), tail, visible=visible)
    counts = list(_COUNT.finditer(tail))
    names = [count[1] for count in counts]
    if b"completion" not in names or len(set(names)) < len(names):
        return None
    edges = [0, *(edge for count in counts for edge in count.span(2)), len(tail)]
    literals = [tail[low:high] for low, high in zip(edges[::2], edges[1::2], strict=True)]
    return Form(prefix, tuple(literals[:-1]), literals[-1], names.index(b"completion"), visible)
