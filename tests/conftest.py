"""Fixtures for more than one room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def synthetic_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder from fields of `SyntheticRun`: `synthetic_run(requests=10)`."""

    from bench.record.synthetic import SyntheticRun, write_synthetic_run

    def make(name: str = "run", **fields: Any) -> Path:
        return write_synthetic_run(tmp_path / name, SyntheticRun(**fields))

    return make
