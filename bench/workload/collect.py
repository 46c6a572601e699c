"""Rows of a source as columns: numbers in arrays, content in the spool, as many as a run needs."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.errors import ConfigError
from bench.model import TraceRow
from bench.workload.arrivals import Closed, Recorded, expected_requests
from bench.workload.plan import ADDED_MESSAGES, BLOCKS, MESSAGES, UNIQUE
from bench.workload.readers import TraceReading
from bench.workload.recipe import Recipe, SyntheticSource
from bench.workload.spool import SpoolWriter

MOST_REQUESTS = 20_000_000
POOL_ROWS = 1_000_000
"""Rows read for a closed loop that only time bounds; they come again in cycles."""

_SYNTHETIC_POOL_ROWS = 4_096
_ROWS_BEYOND = 10_000
_MASK = (1 << 64) - 1


@dataclass(slots=True)
class Rows:
    """Rows as they were read; `session` numbers sessions in order of their first row."""

    session: array[int] = field(default_factory=lambda: array("q"))
    at_s: array[float] = field(default_factory=lambda: array("d"))
    think_s: array[float] = field(default_factory=lambda: array("d"))
    input_tokens: array[int] = field(default_factory=lambda: array("q"))
    output_tokens: array[int] = field(default_factory=lambda: array("q"))
    content: array[int] = field(default_factory=lambda: array("b"))
    offset: array[int] = field(default_factory=lambda: array("q"))
    size: array[int] = field(default_factory=lambda: array("q"))

    def add(self, row: TraceRow, session: int, content: int, offset: int, size: int) -> None:
        self.session.append(session)
        self.at_s.append(math.nan if row.at_s is None else row.at_s)
        self.think_s.append(math.nan if row.think_s is None else row.think_s)
        self.input_tokens.append(-1 if row.input_tokens is None else row.input_tokens)
        self.output_tokens.append(-1 if row.output_tokens is None else row.output_tokens)
        self.content.append(content)
        self.offset.append(offset)
        self.size.append(size)


def collect(recipe: Recipe, reading: TraceReading, spool: SpoolWriter) -> Rows:
    """Read the rows that the run can need, their content into `spool`.  Raises ConfigError."""
    rows = Rows()
    numbers: dict[str, int] = {}
    sessions = 0
    for row in _needed(recipe, reading.rows):
        session = sessions if row.session is None else numbers.setdefault(row.session, sessions)
        sessions += session == sessions
        content, piece = _content(row, reading.path)
        rows.add(row, session, content, spool.append(piece) if piece else 0, len(piece))
    if not rows.session:
        raise ConfigError(f"{reading.path}: no requests to plan (format {reading.format})")
    return rows


def _content(row: TraceRow, path: Path) -> tuple[int, bytes]:
    """What the row holds, and the bytes the spool keeps of it."""
    if row.messages is not None:
        return ADDED_MESSAGES if row.appends else MESSAGES, orjson.dumps(row.messages)
    if row.input_tokens is None:
        raise ConfigError(f"{path}:{row.line}: the row has neither input tokens nor messages")
    if not row.block_ids:
        return UNIQUE, b""
    try:
        return BLOCKS, array("q", row.block_ids).tobytes()
    except OverflowError:
        return BLOCKS, array("Q", [number & _MASK for number in row.block_ids]).tobytes()


def _needed(recipe: Recipe, rows: Iterator[TraceRow]) -> Iterator[TraceRow]:
    """The rows that the run can need, in the order of the source."""
    arrivals = recipe.arrivals
    most, end_s = _most_rows(recipe), math.inf
    if isinstance(arrivals, Recorded) and recipe.duration_s is not None:
        end_s = recipe.duration_s * arrivals.speed
    given = beyond = 0
    for row in rows:
        if row.at_s is not None and row.at_s >= end_s:
            # Rows may be a little out of order, so the first one beyond the end is not the last.
            beyond += 1
            if beyond == _ROWS_BEYOND:
                return
            continue
        yield row
        given += 1
        if given == most:
            return


def _most_rows(recipe: Recipe) -> int | None:
    """How many rows to read; None is all."""
    arrivals, synthetic = recipe.arrivals, isinstance(recipe.source, SyntheticSource)
    if recipe.requests is not None:
        if recipe.requests > MOST_REQUESTS:
            raise too_many(recipe, f"{recipe.requests:,}", "lower requests (--requests N)")
        return recipe.requests
    if isinstance(arrivals, Recorded):
        return None
    if isinstance(arrivals, Closed):
        if synthetic:
            return _SYNTHETIC_POOL_ROWS
        return None if recipe.duration_s is None else POOL_ROWS
    if arrivals.kind != "stages" and recipe.duration_s is None:
        return None
    expected = expected_requests(arrivals, recipe.duration_s)
    if expected > MOST_REQUESTS:
        raise too_many(recipe, f"about {expected:,.0f}", "lower the rate or the duration")
    return math.ceil(2 * expected) + 1000


def too_many(recipe: Recipe, requests: str, hint: str) -> ConfigError:
    """More than a plan may have, in words."""
    return ConfigError(
        f"recipe {recipe.name}: {requests} requests; at most {MOST_REQUESTS:,}", hint
    )
