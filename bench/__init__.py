"""Benchmark harness for LLM inference endpoints.

For analysis in Python there is one door: `bench.open_run(path)` (see `bench.api`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import Run, open_run

__version__ = "0.1.0"

__all__ = ["Run", "__version__", "open_run"]


def __getattr__(name: str) -> Any:
    """The door is imported when it is used: `bench --help` does without pandas."""
    if name in ("Run", "open_run"):
        return getattr(import_module("bench.api"), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
