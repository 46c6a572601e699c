"""A terminal or a pipe that may be gone before all is told."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from rich.console import Console


class Screen(Console):
    """rich's console; it would end the process with 1, and close stdout, where a pipe breaks."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
