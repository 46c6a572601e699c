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
_ZERO = ord("0")


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

        Each event ends as it does in the stream, with the blank line.
        """
        if (found := self._read(events)) is not None:
            return found
        texts, totals = list[bytes](), list[int]()
        for event in events:
            if (one := self._read((event,))) is None:
                break
            texts += one[0]
            totals += one[1]
        return texts, totals

    def _read(self, events: Sequence[bytes]) -> tuple[list[bytes], list[int]] | None:
        """Texts and counts, if all events have the form.

        That they are is seen by putting them together again.
        """
        start, end = len(self.prefix), -len(self.suffix)
        rests, columns = [event[start:end] for event in events], list[list[bytes]]()
        written = b"".join((self.prefix, (self.suffix + self.prefix).join(rests), self.suffix))
        if written != b"".join(events):
            return None
        for literal in self.before_counts:
            parts = [rest.partition(literal) for rest in rests]
            columns.append([before for before, _, _ in parts])
            rests = [after for _, _, after in parts]  # nothing where the literal was not found
        texts, *numbers = (*columns, rests)
        if not _are_strings(texts) or not all(map(_are_counts, numbers)):
            return None
        if self.completion is None:
            return texts, []
        return texts, list(map(int, numbers[self.completion]))


def _are_strings(texts: Sequence[bytes]) -> bool:
    """Whether each can stand between the quotes of a JSON string, and is not empty."""
    joined = b"".join(texts)
    if b'"' not in joined and b"\\" not in joined:
        return all(texts)
    return all(map(_STRING.fullmatch, texts))


def as_said(texts: Sequence[bytes]) -> str:
    """What texts of a form say, one after another."""
    joined = b"".join(texts).decode("utf-8", "replace")
    return str(orjson.loads(f'"{joined}"')) if "\\" in joined else joined


def _are_counts(numbers: Sequence[bytes]) -> bool:
    """Whether each is a whole number as JSON has it, and no longer than counts are."""
    return (
        all(numbers)
        and b"".join(numbers).isdigit()
        and max(map(len, numbers)) <= _LONGEST_COUNT
        and not any(number[0] == _ZERO and number != b"0" for number in numbers)
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
