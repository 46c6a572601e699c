"""Checked values of one row.  A failure is a RowError naming field, expectation and value."""

from __future__ import annotations

import contextlib
import math
import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from bench.model import Message
from bench.workload.readers.reading import Blocks

MOST_TOKENS = 2**31 - 1
_NS = 10**9
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?")


class RowError(ValueError):
    """What is wrong with one row; the reader adds file and line."""


def shown(value: object) -> str:
    """A value for an error message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def json_object(text: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as wrong:
        raise RowError(f"not JSON: {wrong}") from None
    if not isinstance(record, dict):
        raise RowError(f"expected a JSON object, got {shown(record)}")
    return record


def present(record: Mapping[str, Any], name: str) -> Any:
    try:
        return record[name]
    except KeyError:
        raise RowError(f"field {name!r} is missing") from None


def tokens(value: object, name: str) -> int:
    """A number of tokens, 0 or more; text of digits is taken, as CSV has nothing else."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = int(value)
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        raise RowError(f"{name} must be a whole number of tokens, 0 or more, got {shown(value)}")
    return value


def whole(value: object, name: str) -> int:
    if type(value) is not int:
        raise RowError(f"{name} must be a whole number, got {shown(value)}")
    return value


def number(value: object, name: str, *, least: float = -math.inf) -> float:
    """A finite number; text is taken, as CSV has nothing else."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RowError(f"{name} must be a finite number, got {shown(value)}")
    if value < least:
        raise RowError(f"{name} must be {least:g} or more, got {shown(value)}")
    return value


def truth(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise RowError(f"{name} must be true or false, got {shown(value)}")
    return value


def named(columns: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """A CSV row's values by column name."""
    if len(values) != len(columns):
        raise RowError(f"expected {len(columns)} columns, got {len(values)}")
    return dict(zip(columns, values, strict=True))


def text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"{name} must be text, got {shown(value)}")
    return value


def messages(value: object, name: str) -> tuple[Message, ...]:
    """Chat messages, at least one, each an object with a `role`."""
    if not isinstance(value, list) or not value:
        raise RowError(f"{name} must be a list of chat messages, got {shown(value)}")
    for each in value:
        if not isinstance(each, dict) or not isinstance(each.get("role"), str):
            raise RowError(f"{name} must hold objects with a role, got {shown(each)}")
    return tuple(value)


def block_ids(value: object, name: str) -> tuple[int, ...]:
    """Block ids: whole numbers from 0 to 2^63 - 1."""
    if not isinstance(value, list):
        raise RowError(f"{name} must be a list of whole numbers, got {shown(value)}")
    try:
        array("q", value)
    except (TypeError, OverflowError):
        raise RowError(f"{name} must hold whole numbers below 2^63, got {shown(value)}") from None
    if value and min(value) < 0:
        raise RowError(f"{name} must hold no negative number, got {min(value)}")
    return tuple(value)


def checked_blocks(value: object, name: str, input_tokens: int, blocks: Blocks) -> tuple[int, ...]:
    """Block ids whose number agrees with the input's length under the format's rule."""
    ids = block_ids(value, name)
    check_count(ids, name, input_tokens, blocks)
    return ids


def check_count(ids: Sequence[int], name: str, input_tokens: int, blocks: Blocks) -> None:
    expected = blocks.expected(input_tokens)
    if len(ids) != expected:
        raise RowError(
            f"{name}: expected {expected} ids ({blocks.rule} of {input_tokens:,} tokens in blocks "
            f"of {blocks.tokens}), got {len(ids)}"
        )


def instant_ns(value: str, name: str) -> int:
    """An ISO 8601 date and time as ns since 1970; no offset is UTC.  Up to 9 fractional digits."""
    match = _ISO.fullmatch(value)
    if match is None:
        raise RowError(
            f"{name} must be a date and time such as 2023-11-16 18:17:03.9799600, "
            f"got {shown(value)}"
        )
    day, clock, fraction, offset = match.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}{offset or 'Z'}")
    except ValueError as wrong:
        raise RowError(f"{name}: {wrong}, got {shown(value)}") from None
    return int(whole.timestamp()) * _NS + int((fraction or "0").ljust(9, "0")[:9])


class Clock:
    """Makes a file's timestamps zero-based: the first good row is 0.0 s.

    `per_second` is how many of the file's ticks make a second.  Rows earlier than their
    predecessor are counted as `out_of_order`; a row earlier than the first is a RowError.
    """

    def __init__(self, counts: Counter[str], per_second: int = 1) -> None:
        self._counts = counts
        self._per_second = per_second
        self._first: float | None = None
        self._before: float = 0

    def zero_based_s(self, ticks: float) -> float:
        if self._first is None:
            self._first = self._before = ticks
        if ticks < self._first:
            raise RowError(
                f"timestamp {ticks} lies before the file's first, {self._first}; "
                "sort the file by time"
            )
        if ticks < self._before:
            self._counts["out_of_order"] += 1
        self._before = ticks
        return (ticks - self._first) / self._per_second
