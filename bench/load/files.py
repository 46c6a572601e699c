"""How many connections a process may hold, so that it can still open the files of its record."""

from __future__ import annotations

import errno
import os
import resource

FILES_BESIDE_CONNECTIONS = 64
"""Open files that a load process needs for everything but connections."""


def most_connections() -> int:
    """Connections that the soft limit of open files leaves room for."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_BESIDE_CONNECTIONS


def no_file_left() -> OSError:
    """The error of a connection beyond that, as socket(2) would give it."""
    return OSError(errno.EMFILE, os.strerror(errno.EMFILE))
