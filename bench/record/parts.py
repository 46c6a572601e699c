"""Parts of a run folder: rows are collected in memory and written more than once a second.

`add` is called from the load loop and only appends; `flush` is called from another thread.  Neither
waits for the other: rows are taken from a deque, whose ends are safe to use from two threads, and
the interpreter's lock is let go after every slice of rows, so that a send that falls due during a
flush waits for one slice at most.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.model import Exchange, Outcome, Phase, ServerSample
from bench.record.columns import (
    REQUESTS,
    REQUESTS_ENCODING,
    SCALARS,
    SERVER,
    SERVER_ENCODING,
)
from bench.record.files import disk_error, whole_file
from bench.record.redact import redact_text

_SLICE_ROWS = 64
_LET_GO_S = 100e-6
_FULL_EXCHANGES = 500
_FULL_SAMPLES = 20_000
_FULL_BYTES = 2_000_000
_FIELDS = tuple(REQUESTS.field(name) for name in SCALARS)
_ERROR_TEXT = SCALARS.index("error_text")

_Row = TypeVar("_Row")

_scalars = attrgetter(*SCALARS)
_sample = attrgetter("at_ns", "source", "name", "labels", "value")


@dataclass(frozen=True, slots=True)
class PartSink:
    """Where workers put their exchanges; picklable, so that it can travel to a spawned process.

    `secrets` are removed from the error texts that servers send back.
    """

    folder: Path
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def open(self, worker: int) -> RequestParts:
        """The parts of one worker, numbered after those it has already written."""
        return RequestParts(self.folder, worker, self.secrets)


class RequestParts:
    """Exchanges of one worker, written as `requests/part-<worker>-<number>.parquet`."""

    def __init__(self, folder: Path, worker: int, secrets: tuple[str, ...] = ()) -> None:
        self._rows: deque[Exchange] = deque()
        self._files = _GrowingParts(
            folder / "requests", f"part-{worker:03d}", REQUESTS_ENCODING, _FULL_EXCHANGES
        )
        self._secrets = secrets
        self._writing = Lock()
        _warm_up()

    def add(self, exchange: Exchange) -> None:
        """Take one finished exchange; it is on disk after the next `flush`."""
        self._rows.append(exchange)

    def flush(self) -> int:
        """Write what was added before the call; the number of rows written.

        Raises NotValidError when the disk refuses; the rows are kept for the next attempt.
        """
        with self._writing:
            for rows in _slices(self._rows):
                self._files.grow(_batch(rows, self._secrets, self._files.unfit))
                time.sleep(_LET_GO_S)
            return self._files.write()

    def close(self) -> None:
        """Write the rest."""
        self.flush()


class ServerParts:
    """What servers and exporters said of themselves, as `server/part-<number>.parquet`."""

    def __init__(self, folder: Path) -> None:
        self._samples: deque[ServerSample] = deque()
        self._files = _GrowingParts(folder / "server", "part", SERVER_ENCODING, _FULL_SAMPLES)
        self._writing = Lock()

    def add(self, samples: Iterable[ServerSample]) -> None:
        """Take the samples of one scrape; they are on disk after the next `flush`."""
        self._samples.extend(samples)

    def flush(self) -> int:
        """Write what was added before the call; the number of samples written.

        Raises NotValidError when the disk refuses; the samples are kept for the next attempt.
        """
        with self._writing:
            for samples in _slices(self._samples):
                self._files.grow(_server_batch(samples))
                time.sleep(_LET_GO_S)
            return self._files.write()

    def close(self) -> None:
        """Write the rest."""
        self.flush()


class _GrowingParts:
    """The numbered files of one writer.

    Writing replaces the newest part by a longer one until it is full, so that an hour of a slow
    run is some dozens of files and not 3,600, and what is rewritten each second stays small.
    """

    def __init__(self, folder: Path, prefix: str, encoding: dict[str, Any], full_rows: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.unfit: Counter[str] = Counter()
        self._folder = folder
        self._prefix = prefix
        self._encoding = encoding
        self._full_rows = full_rows
        numbers = [int(path.stem.rpartition("-")[2]) for path in folder.glob(f"{prefix}-*.parquet")]
        self._number = max(numbers, default=-1) + 1
        self._batches: list[pa.RecordBatch] = []
        self._unwritten = 0

    def grow(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._unwritten += batch.num_rows

    def write(self) -> int:
        """Write the newest part with all it has; the number of rows that are new in it."""
        if not self._unwritten:
            return 0
        table = pa.Table.from_batches(self._batches).combine_chunks()
        self._batches = table.to_batches()
        if self.unfit:
            unfit = {"unfit": json.dumps(self.unfit)}
            table = table.replace_schema_metadata({**table.schema.metadata, **unfit})
        path = self._folder / f"{self._prefix}-{self._number:06d}.parquet"
        try:
            with whole_file(path) as temporary:
                pq.write_table(table, temporary, **self._encoding)
        except OSError as error:
            raise disk_error(error, path) from error
        written, self._unwritten = self._unwritten, 0
        if table.num_rows >= self._full_rows or table.nbytes >= _FULL_BYTES:
            self._number += 1
            self._batches.clear()
            self.unfit.clear()
        return written


def _warm_up() -> None:
    """Write one row to memory.

    pyarrow's first array imports pandas, 0.2 s with the interpreter's lock held: that has to be
    over before the run's clock starts.
    """
    blank = Exchange(0, 0, 0, 0, Phase.MAIN, Outcome.OK, 0)
    table = pa.Table.from_batches([_batch([blank], (), Counter())])
    pq.write_table(table, pa.BufferOutputStream(), **REQUESTS_ENCODING)


def write_part(folder: Path, worker: int, table: pa.Table) -> None:
    """Write a table that has the columns of `REQUESTS` as the worker's next part."""
    files = _GrowingParts(folder / "requests", f"part-{worker:03d}", REQUESTS_ENCODING, 1)
    for batch in table.to_batches():
        files.grow(batch)
    files.write()


def _slices(rows: deque[_Row]) -> Iterator[list[_Row]]:
    """Take the rows that are there now from the left end, a slice at a time."""
    waiting = len(rows)
    while waiting:
        count = min(waiting, _SLICE_ROWS)
        yield [rows.popleft() for _ in range(count)]
        waiting -= count


def _batch(
    rows: Sequence[Exchange], secrets: tuple[str, ...], unfit: Counter[str]
) -> pa.RecordBatch:
    columns = [list(values) for values in zip(*map(_scalars, rows), strict=True)]
    columns[_ERROR_TEXT] = [text and redact_text(text, secrets) for text in columns[_ERROR_TEXT]]
    arrays = [_array(f, values, unfit) for f, values in zip(_FIELDS, columns, strict=True)]
    return pa.RecordBatch.from_arrays([*arrays, *_event_arrays(rows)], schema=REQUESTS)


def _event_arrays(rows: Sequence[Exchange]) -> tuple[pa.Array, pa.Array]:
    """Arrivals as deltas, and tokens: two lists for each row (metric system §1)."""
    lengths = np.fromiter((len(row.arrival_ns) for row in rows), np.int64, len(rows))
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    arrivals = np.frombuffer(b"".join(row.arrival_ns for row in rows), np.int64)
    tokens = np.frombuffer(b"".join(row.tokens for row in rows), np.int32)
    if not arrivals.size == tokens.size == offsets[-1]:
        raise ValueError("an exchange's arrival_ns and tokens differ in length or item size")
    deltas = np.diff(arrivals, prepend=0)
    base = [row.intended_ns if row.sent_ns is None else row.sent_ns for row in rows]
    filled = lengths > 0
    firsts = offsets[:-1][filled]
    deltas[firsts] = arrivals[firsts] - np.asarray(base, np.int64)[filled]
    ends = pa.array(offsets.astype(np.int32))
    return (
        pa.ListArray.from_arrays(ends, pa.array(deltas)),
        pa.ListArray.from_arrays(ends, pa.array(tokens)),
    )


def _array(column: pa.Field, values: list[Any], unfit: Counter[str]) -> pa.Array:
    """One column; a value that its type can't hold is null and counted, the others stay."""
    try:
        return pa.array(values, column.type)
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError):
        held = [_held(column, value) for value in values]
        lost = sum(new is None and old is not None for new, old in zip(held, values, strict=True))
        if lost:
            unfit[column.name] += lost
        return pa.array(held, column.type)


def _held(column: pa.Field, value: Any) -> Any:
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace").decode()
    try:
        pa.array([value], column.type)
    except (pa.ArrowException, OverflowError, TypeError):
        return None
    return value


def _server_batch(samples: Sequence[ServerSample]) -> pa.RecordBatch:
    columns = [list(values) for values in zip(*map(_sample, samples), strict=True)]
    columns[3] = [sorted(labels.items()) for labels in columns[3]]
    arrays = [pa.array(values, f.type) for f, values in zip(SERVER, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SERVER)
