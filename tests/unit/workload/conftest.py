"""Real traces, where a checkout has them beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
