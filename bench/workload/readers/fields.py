"""Checked values of one row.  Every failure is a BadRow that names field, expectation and value."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from bench.workload.readers.reading import Blocks

MOST_TOKENS = 2**31 - 1
_NS = 10**9
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?")


class BadRow(ValueError):
    """What is wrong with one row; the reader adds file and line."""


def shown(value: object) -> str:
    """A value for an error message, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def json_object(text: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as wrong:
        raise BadRow(f"not JSON: {wrong}") from None
    if not isinstance(record, dict):
        raise BadRow(f"expected a JSON object, got {shown(record)}")
    return record


def present(record: Mapping[str, Any], name: str) -> Any:
    try:
        return record[name]
    except KeyError:
        raise BadRow(f"field {name!r} is missing") from None


def tokens(value: object, name: str) -> int:
    """A number of tokens, 0 or more; text of digits is taken, as CSV has nothing else."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            pass
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        raise BadRow(f"{name} must be a whole number of tokens, 0 or more, got {shown(value)}")
    return value


def number(value: object, name: str, *, least: float = -math.inf) -> float:
    """A finite number; text is taken, as CSV has nothing else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRow(f"{name} must be a finite number, got {shown(value)}")
    if value < least:
        raise BadRow(f"{name} must be {least:g} or more, got {shown(value)}")
    return value


def text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise BadRow(f"{name} must be text, got {shown(value)}")
    return value


def block_ids(value: object, name: str) -> tuple[int, ...]:
    """Block ids: whole numbers from 0 to 2^63 - 1."""
    if not isinstance(value, list):
        raise BadRow(f"{name} must be a list of whole numbers, got {shown(value)}")
    try:
        array("q", value)
    except (TypeError, OverflowError):
        raise BadRow(f"{name} must hold whole numbers below 2^63, got {shown(value)}") from None
    if value and min(value) < 0:
        raise BadRow(f"{name} must hold no negative number, got {min(value)}")
    return tuple(value)


def checked_blocks(value: object, name: str, input_tokens: int, blocks: Blocks) -> tuple[int, ...]:
    """Block ids whose number agrees with the input's length under the format's rule."""
    ids = block_ids(value, name)
    expected = blocks.expected(input_tokens)
    if len(ids) != expected:
        raise BadRow(
            f"{name}: expected {expected} ids ({blocks.rule} of {input_tokens:,} tokens in blocks "
            f"of {blocks.tokens}), got {len(ids)}"
        )
    return ids


def instant_ns(value: str, name: str) -> int:
    """An ISO 8601 date and time as ns since 1970; no offset is UTC.  Up to 9 fractional digits."""
    match = _ISO.fullmatch(value)
    if match is None:
        raise BadRow(
            f"{name} must be a date and time such as 2023-11-16 18:17:03.9799600, "
            f"got {shown(value)}"
        )
    day, clock, fraction, offset = match.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}{offset or 'Z'}")
    except ValueError as wrong:
        raise BadRow(f"{name}: {wrong}, got {shown(value)}") from None
    return int(whole.timestamp()) * _NS + int((fraction or "0").ljust(9, "0")[:9])


class Clock:
    """Makes a file's timestamps zero-based: the first good row is 0.0 s.

    `per_second` is how many of the file's ticks make a second.  Rows earlier than their
    predecessor are counted as `out_of_order`; a row earlier than the first is a BadRow.
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
            raise BadRow(
                f"timestamp {ticks} lies before the file's first, {self._first}; "
                "sort the file by time"
            )
        if ticks < self._before:
            self._counts["out_of_order"] += 1
        self._before = ticks
        return (ticks - self._first) / self._per_second
