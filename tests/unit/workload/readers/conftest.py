"""A trace file made of a few lines, and the reading of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.workload.readers import ReadOptions, TraceReading, read

Reader = Callable[..., TraceReading]


@pytest.fixture
def reading(tmp_path: Path) -> Reader:
    """Writes text or bytes and opens it: `reading("a,b\\r\\n", name="t.csv", skip_bad=1)`."""

    def opened(
        content: str | bytes,
        name: str = "trace",
        format_name: str | None = None,
        **options: Any,
    ) -> TraceReading:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read(path, format_name, ReadOptions(**options))

    return opened
