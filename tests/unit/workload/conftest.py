"""Real traces, where a checkout has them beside it; what another process gets."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from multiprocessing import context, popen_spawn_posix
from pathlib import Path
from typing import Any

import pytest

_TRACES = Path(__file__).parents[3].parent / "shared" / "traces"


@pytest.fixture
def real_trace() -> Callable[[str], Path]:
    """The path of a public trace kept beside the checkout; skips the test without it."""

    def path(name: str) -> Path:
        found = _TRACES / name
        if not found.exists():
            pytest.skip(f"needs the public trace {name} in ../shared/traces (docs/traces.md)")
        return found

    return path


class _Spawning:
    """A process that is being started: a descriptor for it is one of this process, doubled."""

    DupFd = popen_spawn_posix._DupFd  # type: ignore[attr-defined]

    def duplicate_for_child(self, descriptor: int) -> int:
        return os.dup(descriptor)


@pytest.fixture
def pickled() -> Callable[[object], bytes]:
    """An object as the bytes that a spawned process is given."""

    def dump(value: object) -> bytes:
        context.set_spawning_popen(_Spawning())  # type: ignore[arg-type]
        try:
            return pickle.dumps(value)
        finally:
            context.set_spawning_popen(None)

    return dump


@pytest.fixture
def sent(pickled: Callable[[object], bytes]) -> Callable[[Any], Any]:
    """An object as a spawned process has it."""
    return lambda value: pickle.loads(pickled(value))
