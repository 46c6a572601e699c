"""Records written whole, and what a disk that refuses them is called."""

from __future__ import annotations

import errno
from pathlib import Path

from bench.errors import NotValidError
from bench.wholefile import TEMPORARY, whole_file

__all__ = ["TEMPORARY", "disk_error", "whole_file", "write_whole"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


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
