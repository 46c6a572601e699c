"""The server's own record of what it did, to hold a client's measurements against."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import orjson

from bench.errors import UsageError

KEPT_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class TruthRow:
    """One request as it ended.  Instants are CLOCK_MONOTONIC; None where it did not get so far.

    `received_ns` is when its body had been read, `first_ns` and `last_ns` are just before the bytes
    of its first and last token were handed to the kernel.  `output_tokens` are those handed over.
    `finish` is the finish reason, `abort` when the answer broke off, or None without an engine.
    `token_ns` has the instant of every token like `first_ns`, None where that was not asked for.

    Between a request's arrival in the kernel and `received_ns` lies the time the server needed to
    read it, which grows when many arrive at once.  A client's arrivals are therefore best held
    against `first_ns` and `last_ns` themselves, which share its clock, and not durations against
    durations.
    """

    id: str
    received_ns: int
    first_ns: int | None = None
    last_ns: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int = 0
    queue_s: float | None = None
    preemptions: int = 0
    status: int | None = None
    finish: str | None = None
    fault: str = ""
    replica: int | None = None
    token_ns: list[int] | None = None


class TruthRecord:
    """Rows in memory (the last `KEPT_ROWS`), and as JSON lines in a file when one is given."""

    def __init__(self) -> None:
        self.rows: deque[TruthRow] = deque(maxlen=KEPT_ROWS)
        self._file: FileIO | None = None

    def open(self, path: Path) -> None:
        """Write rows to `path` from now on, replacing it.  Raises UsageError."""
        try:
            # Unbuffered: a line is in the file when its request is done, and is never torn.
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise UsageError(
                f"can't write the truth file {path}: {error.strerror}", "choose another --truth"
            ) from None

    def add(self, row: TruthRow) -> None:
        self.rows.append(row)
        if self._file is not None:
            self._file.write(orjson.dumps(asdict(row)) + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def read_truth(path: Path) -> list[TruthRow]:
    """The rows of a truth file."""
    return [TruthRow(**orjson.loads(line)) for line in path.read_bytes().splitlines()]
