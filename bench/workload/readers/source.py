"""The bytes under a trace: opened, decompressed, cut into lines or JSON elements, with limits.

Nothing here loads a whole file.  A line or element is at most `limits.LONGEST_ITEM_BYTES` long, so
a hostile or binary file ends in an error and not in a full memory.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from bench.errors import TraceError
from bench.model import TraceRow
from bench.workload.readers.fields import RowError, shown
from bench.workload.readers.json_array import json_elements
from bench.workload.readers.limits import LONGEST_ITEM_BYTES
from bench.workload.readers.reading import ReadOptions

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"

T = TypeVar("T")


class Source:
    """One trace file or folder, its options, and the account of what was wrong in it."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.path = path
        self.options = options
        self.counts: Counter[str] = Counter()
        self.warnings: list[str] = []

    def bad(self, where: str, why: str) -> None:
        """Count a row that can't be read; raise TraceError when it is one too many."""
        self.counts["bad"] += 1
        allowed = self.options.skip_bad
        if self.counts["bad"] > allowed:
            already = f" ({allowed} bad rows were skipped before it)" if allowed else ""
            raise TraceError(
                f"{self.path}: {where}: {why}{already}",
                "correct the row, or allow N bad rows with --skip-bad N (they are counted)",
            )

    def each(
        self,
        items: Iterable[tuple[object, T]],
        parse: Callable[[Any, T], Iterable[TraceRow]],
        item_name: str = "line",
    ) -> Iterator[TraceRow]:
        """The rows that `parse` makes of numbered items; an item of a RowError is counted."""
        for number, item in items:
            try:
                rows = tuple(parse(number, item))
            except RowError as wrong:
                self.bad(f"{item_name} {number}", str(wrong))
                continue
            yield from rows

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Numbered lines that are not blank, without their ends."""
        with opened(self.path) as stream:
            for number in itertools.count(1):
                line = stream.readline(LONGEST_ITEM_BYTES + 1)
                if not line:
                    return
                if len(line) > LONGEST_ITEM_BYTES:
                    raise TraceError(
                        f"{self.path}: line {number} is longer than {LONGEST_ITEM_BYTES:,} bytes",
                        "a trace has one request on each line; is this a trace?",
                    )
                if number == 1:
                    line = line.removeprefix(_BOM)
                text = line.strip()
                if text:
                    yield number, text

    def csv_table(self, needed: Iterable[str]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
        """The columns of a CSV file and its numbered rows.

        Raises TraceError where a column of `needed` is missing.
        """
        rows = self._csv_rows()
        _, columns = next(rows, (0, []))
        columns = [column.strip() for column in columns]
        missing = [column for column in needed if column not in columns]
        if missing:
            raise TraceError(
                f"{self.path}: line 1: columns {', '.join(missing)} are missing, "
                f"got {shown(','.join(columns))}",
                "the first line names the columns; is --format right?",
            )
        return columns, rows

    def _csv_rows(self) -> Iterator[tuple[int, list[str]]]:
        line = 0

        def texts() -> Iterator[str]:
            nonlocal line
            for line, text in self.lines():  # noqa: B007
                yield text.decode("utf-8", "replace")

        try:
            for values in csv.reader(texts()):
                yield line, values
        except csv.Error as wrong:
            raise TraceError(f"{self.path}: line {line}: {wrong}") from None

    def elements(self) -> Iterator[tuple[int, Any]]:
        """Numbered elements of a JSON array, decoded one at a time."""
        with opened(self.path) as stream:
            yield from enumerate(json_elements(stream, str(self.path)), start=1)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, gzip and zstd decompressed by their magic numbers.

    Raises TraceError where the file can't be opened, is a Git-LFS pointer, or ends early.
    """
    try:
        with path.open("rb") as raw:
            magic = raw.read(len(_LFS_POINTER))
            raw.seek(0)
            if magic == _LFS_POINTER:
                raise TraceError(
                    f"{path} is a Git-LFS pointer, not the trace itself",
                    "run `git lfs pull` in its checkout, or download the file from the "
                    "repository's media address (docs/traces.md)",
                )
            yield _decompressed(raw, magic)
    except (OSError, EOFError, zlib.error) as wrong:
        problem = getattr(wrong, "strerror", None) or wrong
        raise TraceError(
            f"{path} can't be read: {problem}", "check the path and the file"
        ) from None


def _decompressed(raw: io.BufferedReader, magic: bytes) -> IO[bytes]:
    if magic.startswith(_GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if magic.startswith(_ZSTD):
        import pyarrow

        return io.BufferedReader(pyarrow.CompressedInputStream(raw, "zstd"), 1 << 20)
    return raw
