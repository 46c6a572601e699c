"""Files that are either whole or absent, and what a disk that refuses them is called."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import NotValidError

TEMPORARY = ".tmp"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it on success and removed on failure.

    The rename is not preceded by fsync: a killed process loses nothing, a power cut may.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step.  Raises NotValidError."""
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path) -> NotValidError:
    """The error of a run whose records can't all be written; what was written stays readable."""
    if error.errno in _FULL:
        return NotValidError(
            f"no space left for {path}",
            f"free space on the disk of {path.parent} or choose another with -o; "
            "what was written before can be read",
        )
    return NotValidError(
        f"can't write {path}: {error.strerror or error}",
        f"check that {path.parent} exists and is writable, or choose another folder with -o",
    )
