"""A run folder read back as columns.

Instants become float64 seconds after the run's start (`sent_ns` → `sent_s`): an absolute
CLOCK_MONOTONIC instant is over 2^53 ns after 104 days of uptime and would lose its last digits as
float64, a relative one is exact to the nanosecond.  Unknown is NaN in columns of numbers, None in
columns of text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bench.errors import RunFolderError
from bench.record.columns import CATEGORIES, REQUESTS, SCALARS, SCHEMA_VERSION
from bench.record.files import TEMPORARY
from bench.record.folder import (
    END,
    JOURNAL,
    MANIFEST,
    REQUESTS_FOLDER,
    SELFTEST,
    SERVER_FOLDER,
)
from bench.record.shapes import is_end, is_line, is_manifest
from bench.record.stored import Part, event_batches, newer_schema, read_scalars, read_server

_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class TokenEvents:
    """The token events of some requests, as flat arrays.

    Request `rows[i]` (a position in `Run.requests`) has the events `offsets[i]:offsets[i + 1]` of
    `arrival_s` (float64, seconds after the run's start) and `tokens` (int32, output tokens of the
    event).  Requests without events have an empty range.
    """

    rows: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    arrival_s: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int32]


class Run:
    """A run folder, opened for reading.  Columns are read when first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] = _read_manifest(path)
        self._defects: Counter[str] = Counter()
        self.journal: list[dict[str, Any]] = self._read_journal()
        self.end: dict[str, Any] | None = self._read_end()
        for folder in (path, path / REQUESTS_FOLDER, path / SERVER_FOLDER):
            self._defects["temporary_files"] += len(list(folder.glob(f".*{TEMPORARY}")))

    @property
    def defects(self) -> dict[str, int]:
        """What is damaged, doubled or missing in the folder, by kind; empty when nothing is.

        `torn_journal_lines`, `torn_end`, `temporary_files`, `damaged_parts` (files left out);
        `duplicate_rows` (an index seen again: the first counts); `unfit_values` (see `columns`);
        `missing_rows` (end.json accounts for more requests than there are rows); `missing_scrapes`
        (the journal tells of more); `cut_journal` (it has not the line of the run's end).
        """
        end = self.end or {}
        kinds = ("ok", "dropped", "aborted")
        ended = sum(end.get(kind, 0) for kind in kinds) + sum(end.get("failed", {}).values())
        missing = Counter(
            missing_rows=ended - self._order.size,
            missing_scrapes=self._missing_scrapes(),
            cut_journal=int(bool(end) and all(line["event"] != "end" for line in self.journal)),
        )
        return dict(+(self._defects + missing))

    def _missing_scrapes(self) -> int:
        """Answered scrapes that the journal counts at the run's end and that no part holds."""
        rows = self.server
        answered = rows["source"][((rows["name"] == "up") & (rows["value"] > 0)).to_numpy()]
        held = Counter(answered.astype(object))
        told = [line for line in self.journal if line["event"] == "scrapes"]
        return sum(max(0, line.get("done", 0) - held[line.get("source")]) for line in told)

    @cached_property
    def start_ns(self) -> int:
        """The run's start on the measuring host's monotonic clock: what `*_s` columns count from.

        From the journal's `start`; else from end.json; else the first intended start; else 0.
        """
        started = [line.get("start_ns") for line in self.journal if line.get("event") == "start"]
        for known in (*started, (self.end or {}).get("start_ns")):
            if isinstance(known, int):
                return known
        return int(pc.min(self._raw["intended_ns"]).as_py() or 0)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row for each planned request, sorted by `index`.

        Every scalar column of `columns.REQUESTS`; `*_ns` instants as `*_s`.  int64 and bool where a
        value is always known, float64 with NaN else; words as categories, `error_text` as object.
        """
        columns = {
            _seconds_name(name): self._words(name) if name in CATEGORIES else self._column(name)
            for name in SCALARS
        }
        return pd.DataFrame(columns, copy=False)

    @cached_property
    def server(self) -> pd.DataFrame:
        """What servers said of themselves: `at_s`, `source`, `name`, `labels`, `value`.

        `labels` holds tuples of (label, value) pairs, sorted; equal sets of labels are one object.
        """
        frame = read_server(self.path / SERVER_FOLDER, self._defects)
        frame.insert(0, "at_s", (frame.pop("at_ns") - self.start_ns) / _NS_PER_S)
        return frame

    @cached_property
    def end_s(self) -> float:
        """The last instant at which anything was recorded of a request; NaN for a run of none."""
        return float(self.requests[["intended_s", "sent_s", "done_s", "last_s"]].max().max())

    def token_events(self) -> Iterator[TokenEvents]:
        """Token events part by part, about a million events at a time; every request once."""
        position = np.full(len(self._raw), -1, np.int64)
        position[self._order] = np.arange(self._order.size)
        sent, intended = self._relative_ns("sent_ns"), self._relative_ns("intended_ns")
        base_ns = pc.coalesce(sent, intended).to_numpy()
        first = 0
        for deltas, tokens in event_batches(self._parts):
            last = first + len(deltas)
            yield _events(position[first:last], base_ns[first:last], deltas, tokens)
            first = last

    @cached_property
    def selftest(self) -> dict[str, Any] | None:
        """How exact the client was at this load (docs/validity.md); None where it wasn't tested."""
        path = self.path / SELFTEST
        return _json_object(path.read_bytes()) if path.is_file() else None

    @cached_property
    def _stored(self) -> tuple[tuple[Part, ...], pa.Table]:
        return read_scalars(self.path / REQUESTS_FOLDER, self._defects)

    @property
    def _parts(self) -> tuple[Part, ...]:
        return self._stored[0]

    @property
    def _raw(self) -> pa.Table:
        """Scalar columns of all parts as stored, in the order of the files."""
        return self._stored[1]

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """Positions in `_raw` of the rows to show: sorted by index, the first of each."""
        index = self._raw["index"].to_numpy()
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        first = np.ones(index.size, bool)
        first[1:] = ordered[1:] != ordered[:-1]
        self._defects["duplicate_rows"] = int(np.count_nonzero(~first))
        return order[first]

    def _relative_ns(self, name: str) -> pa.ChunkedArray:
        return pc.subtract(self._raw[name], pa.scalar(self.start_ns, pa.int64()))

    def _column(self, name: str) -> npt.NDArray[Any] | pd.Series[Any]:
        """A column of numbers or free text."""
        column = self._raw[name]
        if name.endswith("_ns"):
            return _floats(self._relative_ns(name))[self._order] / _NS_PER_S
        field = REQUESTS.field(name)
        if pa.types.is_string(field.type):
            return pd.Series(np.asarray(column.to_pylist(), object)[self._order], dtype=object)
        if field.nullable:
            return _floats(column)[self._order]
        kind = bool if pa.types.is_boolean(field.type) else np.int64
        values: npt.NDArray[Any] = column.to_numpy().astype(kind, copy=False)
        return values[self._order]

    def _words(self, name: str) -> pd.Categorical:
        """A column of words; it was read as a dictionary."""
        column = self._raw[name].combine_chunks()
        codes = column.indices.fill_null(-1).to_numpy()[self._order]
        return pd.Categorical.from_codes(
            codes, pd.Index(column.dictionary.to_pylist(), dtype=object)
        )

    def _read_journal(self) -> list[dict[str, Any]]:
        path = self.path / JOURNAL
        lines = path.read_bytes().splitlines() if path.is_file() else []
        read = [_json_object(line) for line in lines if line]
        whole = [line for line in read if line is not None and is_line(line)]
        self._defects["torn_journal_lines"] += len(read) - len(whole)
        return whole

    def _read_end(self) -> dict[str, Any] | None:
        path = self.path / END
        end = _json_object(path.read_bytes()) if path.is_file() else None
        end = end if end is not None and is_end(end) else None
        self._defects["torn_end"] += int(path.is_file() and end is None)
        return end


def open_run(path: str | Path) -> Run:
    """Open a run folder, finished or killed.

    Raises RunFolderError where it is missing, is no run folder, or was written by a newer schema.
    """
    return Run(Path(path))


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise RunFolderError(f"no run folder at {path}", "name a folder that `bench run` has made")
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        runs = sorted(found.parent.name for found in path.glob(f"*/{MANIFEST}"))
        hint = f"did you mean {path / runs[-1]}?" if runs else "name a folder `bench run` has made"
        raise RunFolderError(f"{path} is not a run folder: it has no {MANIFEST}", hint)
    if not (path / REQUESTS_FOLDER).is_dir():
        raise RunFolderError(
            f"{path} is incomplete: it has no folder {REQUESTS_FOLDER}/", "was it copied whole?"
        )
    manifest = _json_object(manifest_path.read_bytes())
    version = None if manifest is None else manifest.get("schema")
    if manifest is None or type(version) is not int or not is_manifest(manifest):
        raise RunFolderError(
            f"{manifest_path} is not a manifest: expected a JSON object with the number `schema`",
            "restore it from where the run was made; a manifest is never edited",
        )
    if version > SCHEMA_VERSION:
        raise newer_schema(manifest_path, version)
    return manifest


def _json_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None where it is torn or something else."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _seconds_name(name: str) -> str:
    return f"{name.removesuffix('_ns')}_s" if name.endswith("_ns") else name


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """A column as float64, NaN where it is null."""
    floats: npt.NDArray[np.float64] = (
        column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    )
    return floats


def _events(
    rows: npt.NDArray[np.int64],
    base_ns: npt.NDArray[np.int64],
    deltas: pa.ListArray,
    tokens: pa.ListArray,
) -> TokenEvents:
    """Deltas summed up to arrivals; rows at position -1 (duplicates) left out."""
    if rows.size and rows.min() < 0:
        kept = np.flatnonzero(rows >= 0)
        rows, base_ns = rows[kept], base_ns[kept]
        deltas, tokens = deltas.take(pa.array(kept)), tokens.take(pa.array(kept))
    offsets = deltas.offsets.to_numpy().astype(np.int64)
    values = deltas.values.to_numpy()[offsets[0] : offsets[-1]]
    token_offset = tokens.offsets[0].as_py()
    flat_tokens = tokens.values.to_numpy()[token_offset : token_offset + values.size]
    offsets -= offsets[0]
    total = np.concatenate(([0], np.cumsum(values)))
    arrival_ns = total[1:] + np.repeat(base_ns - total[offsets[:-1]], np.diff(offsets))
    return TokenEvents(rows, offsets, arrival_ns / _NS_PER_S, flat_tokens)
