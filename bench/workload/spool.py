"""A temporary file for what a plan holds of each request beyond numbers: block ids and messages.

A plan of a long trace keeps a file offset per request in memory, and no content.  Processes share
the file by its path; the one that made it removes it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

from bench.errors import UsageError


class SpoolWriter:
    """Appends pieces of bytes; `finish` gives the spool to read them from."""

    def __init__(self, folder: Path | None = None) -> None:
        handle, path = tempfile.mkstemp(prefix="bench-plan-", suffix=".spool", dir=folder)
        self._file: IO[bytes] = os.fdopen(handle, "wb", buffering=1 << 20)
        self._path = path
        self._offset = 0
        self._digest = hashlib.sha256()

    def append(self, piece: bytes) -> int:
        """Write `piece`; returns its offset.  Raises UsageError where the disk is full."""
        offset = self._offset
        try:
            self._file.write(piece)
        except OSError as error:
            raise self._failed(error) from None
        self._digest.update(piece)
        self._offset += len(piece)
        return offset

    def finish(self) -> Spool:
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from None
        spool = Spool(self._path, self._digest.hexdigest())
        spool.own()
        return spool

    def discard(self) -> None:
        """Remove the file of a plan that came to nothing."""
        self._file.close()
        Path(self._path).unlink(missing_ok=True)

    def _failed(self, error: OSError) -> UsageError:
        Path(self._path).unlink(missing_ok=True)
        return UsageError(
            f"{self._path}: can't be written: {error.strerror}",
            "free some space, or set TMPDIR to a folder that has it",
        )


class Spool:
    """A finished spool.  Picklable: another process opens the file again by its path."""

    def __init__(self, path: str, digest: str) -> None:
        self.path = path
        self.digest = digest
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._finalizer = weakref.finalize(self, os.close, self._descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        return Spool, (self.path, self.digest)

    def own(self) -> None:
        """Remove the file when this object goes, or the process ends."""
        weakref.finalize(self, _remove, self.path, os.getpid())

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)


def _remove(path: str, owner: int) -> None:
    # A forked child inherits the finaliser, and must leave its parent's file alone.
    if os.getpid() == owner:
        Path(path).unlink(missing_ok=True)
