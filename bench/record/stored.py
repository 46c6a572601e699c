"""Parts as they lie on the disk, read into Arrow.

A part whose footer can't be read (a power cut before the disk had it) is left out and counted.  A
part that breaks further inside is an error: what it held is not known.  Pages have checksums: a bit
that flipped would else be another number.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import RunFolderError
from bench.record.columns import CATEGORIES, EVENTS, REQUESTS, SCALARS, SCHEMA_VERSION, SERVER

_EVENTS_AT_A_TIME = 1_000_000
_SERVER_WORDS = ("source", "name", "labels.key_value.key", "labels.key_value.value")
_WORDS = pa.dictionary(pa.int32(), pa.string())
_SCALAR_SCHEMA = pa.schema(
    [
        REQUESTS.field(name).with_type(_WORDS) if name in CATEGORIES else REQUESTS.field(name)
        for name in SCALARS
    ]
)


@dataclass(frozen=True, slots=True)
class Part:
    """A readable part: its file, how many rows it holds, and how many token events."""

    path: Path
    rows: int
    events: int


def read_scalars(folder: Path, defects: Counter[str]) -> tuple[tuple[Part, ...], pa.Table]:
    """The parts of `requests/` and their scalar columns, rows in the order of the parts.

    Columns of `CATEGORIES` are dictionaries, unified over the parts.
    """
    parts, tables = [], []
    for file, path in _part_files(folder, defects, REQUESTS, CATEGORIES):
        stored = file.schema_arrow
        with _reading(path):
            table = file.read([n for n in SCALARS if n in stored.names], use_threads=False)
            table.validate(full=True)
        tables.append(_conformed(table, path))
        parts.append(Part(path, table.num_rows, _event_count(file, stored.names)))
        unfit = (stored.metadata or {}).get(b"unfit")
        defects["unfit_values"] += sum(json.loads(unfit).values()) if unfit else 0
    table = pa.concat_tables(tables or [_SCALAR_SCHEMA.empty_table()])
    return tuple(parts), table.unify_dictionaries()


def event_batches(parts: Sequence[Part]) -> Iterator[tuple[pa.ListArray, pa.ListArray]]:
    """`arrival_delta_ns` and `tokens` of all rows, in the order of `read_scalars`."""
    for part in parts:
        rows = max(1, _EVENTS_AT_A_TIME * part.rows // max(part.events, 1))
        with (
            _reading(part.path),
            pq.ParquetFile(part.path, page_checksum_verification=True) as file,
        ):
            for batch in file.iter_batches(batch_size=rows, columns=list(EVENTS)):
                batch.validate(full=True)
                yield batch.column(EVENTS[0]), batch.column(EVENTS[1])


def read_server(folder: Path, defects: Counter[str]) -> pd.DataFrame:
    """All scrapes in the order of time: `at_ns`, `source`, `name`, `labels`, `value`."""
    at_ns: list[npt.NDArray[np.int64]] = []
    value: list[npt.NDArray[np.float64]] = []
    text = _Numbers()
    source: list[npt.NDArray[np.int32]] = []
    name: list[npt.NDArray[np.int32]] = []
    labels = _LabelSets(text)
    for file, path in _part_files(folder, defects, SERVER, _SERVER_WORDS):
        with _reading(path):
            table = file.read(columns=SERVER.names)
            table.validate(full=True)
        batches = table.to_batches()
        for batch in batches:
            at_ns.append(batch["at_ns"].to_numpy())
            value.append(batch["value"].to_numpy(zero_copy_only=False))
            source.append(text.of(batch["source"]))
            name.append(text.of(batch["name"]))
            labels.add(batch["labels"])
    frame = pd.DataFrame(
        {
            "at_ns": np.concatenate(at_ns or [np.empty(0, np.int64)]),
            "source": text.words(source),
            "name": text.words(name),
            "labels": labels.column(),
            "value": np.concatenate(value or [np.empty(0)]),
        },
        copy=False,
    )
    return frame.sort_values("at_ns", kind="stable", ignore_index=True)


class _Numbers:
    """Numbers texts across parts, each of which has a dictionary of its own."""

    def __init__(self) -> None:
        self.number: dict[str, int] = {}

    def of(self, column: pa.DictionaryArray) -> npt.NDArray[np.int32]:
        """The number of each row's text."""
        texts = column.dictionary.to_pylist()
        numbers = [self.number.setdefault(text, len(self.number)) for text in texts]
        codes: npt.NDArray[np.int32] = np.array(numbers, np.int32)[column.indices.to_numpy()]
        return codes

    def words(self, numbers: list[npt.NDArray[np.int32]]) -> pd.Categorical:
        """Numbered rows as categories, those that occur."""
        used, codes = np.unique(
            np.concatenate([*numbers, np.empty(0, np.int32)]), return_inverse=True
        )
        texts = list(self.number)
        return pd.Categorical.from_codes(codes, pd.Index([texts[n] for n in used], dtype=object))


class _LabelSets:
    """Numbers sets of labels by the bytes of their numbered pairs, so that each is decoded once."""

    def __init__(self, text: _Numbers) -> None:
        self._text = text
        self._number: dict[bytes, int] = {}
        self._rows: list[int] = []

    def add(self, column: pa.MapArray) -> None:
        pairs = np.stack([self._text.of(column.keys), self._text.of(column.items)], axis=1)
        raw = pairs.tobytes()
        ends = (column.offsets.to_numpy().astype(np.int64) * pairs.strides[0]).tolist()
        number = self._number
        self._rows += [number.setdefault(raw[a:b], len(number)) for a, b in pairwise(ends)]

    def column(self) -> npt.NDArray[np.object_]:
        """The labels of each row as a sorted tuple of pairs, one object for each distinct set."""
        texts = list(self._text.number)
        decoded = [
            tuple(
                sorted((texts[k], texts[v]) for k, v in np.frombuffer(raw, np.int32).reshape(-1, 2))
            )
            for raw in self._number
        ]
        sets = np.fromiter(decoded, object, len(decoded))
        return sets[np.array(self._rows, np.int64)]


def _part_files(
    folder: Path, defects: Counter[str], schema: pa.Schema, words: Sequence[str]
) -> Iterator[tuple[pq.ParquetFile, Path]]:
    """The readable parts of a folder in the order of their names, each open until the next."""
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            file = _open(path, words)
        except (pa.ArrowException, OSError):
            defects["damaged_parts"] += 1
            continue
        with file:
            _check_schema(file, path, schema)
            yield file, path


def _open(path: Path, words: Sequence[str]) -> pq.ParquetFile:
    """A part, its columns of words as dictionaries."""
    try:
        return pq.ParquetFile(path, read_dictionary=list(words), page_checksum_verification=True)
    except KeyError:  # an older part, without one of these columns
        return pq.ParquetFile(path, page_checksum_verification=True)


def _check_schema(file: pq.ParquetFile, path: Path, expected: pa.Schema) -> None:
    version = int((file.schema_arrow.metadata or {}).get(b"schema", b"0"))
    if version > SCHEMA_VERSION:
        raise newer_schema(path, version)
    if version == SCHEMA_VERSION and file.schema_arrow.names != expected.names:
        raise RunFolderError(
            f"{path} is damaged: its columns are not those of schema {version}",
            "move the file out of the run folder to read the rest",
        )
    if not version:
        raise RunFolderError(
            f"{path} is not a part of a run: it names no schema version",
            "move the file out of the run folder",
        )


def newer_schema(path: Path, version: int) -> RunFolderError:
    """The error of a file that a later release wrote."""
    return RunFolderError(
        f"{path} has schema {version}; this release reads up to {SCHEMA_VERSION}",
        "read it with the release that wrote it, or a later one",
    )


def _conformed(table: pa.Table, path: Path) -> pa.Table:
    """The table with the columns of the present schema; null where an older one had none."""
    if table.schema.equals(_SCALAR_SCHEMA):
        return table.replace_schema_metadata()
    columns = []
    for field in _SCALAR_SCHEMA:
        if field.name in table.column_names:
            columns.append(table[field.name].cast(field.type))
        elif field.nullable:
            columns.append(pa.nulls(table.num_rows, field.type))
        else:
            raise RunFolderError(
                f"{path} lacks the column {field.name}", "was the file made by something else?"
            )
    return pa.table(columns, schema=_SCALAR_SCHEMA)


def _event_count(file: pq.ParquetFile, names: list[str]) -> int:
    """Token events of a part, from its footer; an empty list counts as one."""
    column = names.index(EVENTS[0])
    groups = range(file.metadata.num_row_groups)
    return sum(file.metadata.row_group(group).column(column).num_values for group in groups)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise RunFolderError(
            f"{path} is damaged: {error}", "move the file out of the run folder to read the rest"
        ) from error
