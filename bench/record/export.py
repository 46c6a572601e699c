"""One flat table of a run's requests, for other tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bench.record.columns import REQUESTS
from bench.record.frame import Run

_ROWS_AT_A_TIME = 10_000


def flat_table(run: Run) -> pa.Table:
    """The run's requests sorted by index: scalars only, units in the names, null where unknown.

    Instants are float64 seconds after the run's start (`sent_s`), counts integers, words strings.
    """
    columns = {}
    for name, values in run.requests.items():
        array = pa.array(values, from_pandas=True)
        stored = REQUESTS.field(name).type if name in REQUESTS.names else pa.float64()
        columns[str(name)] = array.cast(
            stored if not pa.types.is_floating(stored) else pa.float64()
        )
    return pa.table(columns)


def write_csv(table: pa.Table, file: IO[bytes]) -> None:
    """RFC 4180 with a header; an unknown value is an empty field."""
    with pyarrow.csv.CSVWriter(file, table.schema) as writer:
        for batch in table.to_batches(_ROWS_AT_A_TIME):
            writer.write_batch(batch)


def write_jsonl(table: pa.Table, file: IO[bytes]) -> None:
    """One JSON object a line; an unknown value is null."""
    for batch in table.to_batches(_ROWS_AT_A_TIME):
        lines = (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in batch.to_pylist())
        file.write(b"".join(lines))


def write_parquet(table: pa.Table, file: IO[bytes]) -> None:
    """One Parquet file, zstd."""
    pyarrow.parquet.write_table(table, file, compression="zstd")


WRITERS: dict[str, Callable[[pa.Table, IO[bytes]], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}
