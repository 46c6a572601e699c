"""Fixtures for rooms that look on while a run is made."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def ready() -> Callable[..., Any]:
    """Makes what a `Watch` is given when the clock is about to start."""

    def make(requests: int | None = None, duration_s: float | None = None, **probe: Any) -> Any:
        server = SimpleNamespace(family="vllm", title="vLLM", version="0.32.0")
        return SimpleNamespace(
            plan=SimpleNamespace(requests=requests),
            pace=SimpleNamespace(duration_s=duration_s, drain_s=60.0),
            target=SimpleNamespace(model="m"),
            probe=SimpleNamespace(**{"server": server, "gaps": (), **probe}),
        )

    return make
