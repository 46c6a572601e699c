"""The command line: one file per verb, loaded only when it is called."""

from __future__ import annotations

from bench.cli.main import main

__all__ = ["main"]
