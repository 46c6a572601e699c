"""What a plan holds of a request beside its numbers: block ids and messages, in a nameless file.

A plan of a long trace keeps a file offset per request in memory, and no content.  The file has no
name in any folder: the kernel frees it with the last process that has it open, however that ends.
Spawned processes are given its descriptor.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import weakref
from multiprocessing import reduction
from typing import IO, Any

from bench.errors import UsageError


class SpoolWriter:
    """Appends pieces of bytes; `finish` gives the spool to read them from.

    Raises UsageError where there is no folder for temporary files, or no space in it.
    """

    def __init__(self) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(buffering=1 << 20)  # noqa: SIM115
        except OSError as error:
            raise _failed(error) from None
        self._offset = 0
        self._digest = hashlib.sha256()

    def append(self, piece: bytes) -> int:
        """Write `piece`; returns its offset."""
        offset = self._offset
        try:
            self._file.write(piece)
        except OSError as error:
            raise _failed(error) from None
        self._digest.update(piece)
        self._offset += len(piece)
        return offset

    def finish(self) -> Spool:
        try:
            self._file.flush()
            return Spool(os.dup(self._file.fileno()), self._digest.hexdigest())
        except OSError as error:
            raise _failed(error) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the file; what was not finished is gone."""
        with contextlib.suppress(OSError):  # what is still buffered finds no space
            self._file.close()


class Spool:
    """A finished spool, which owns its descriptor.  Picklable while a process is spawned."""

    def __init__(self, descriptor: int, digest: str) -> None:
        self.digest = digest
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self._descriptor), self.digest)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)


def _received(sent: Any, digest: str) -> Spool:
    return Spool(sent.detach(), digest)


def _failed(error: OSError) -> UsageError:
    return UsageError(
        f"a temporary file for the plan can't be written: {error.strerror}",
        "free some space in the folder of temporary files, or set TMPDIR to one that has it",
    )
