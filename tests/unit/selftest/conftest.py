"""A measured load without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.selftest.load import Load
from bench.selftest.measure import Measured, Spread

NONE = Spread(0, None, None, None, None)


@pytest.fixture
def load() -> Callable[..., Load]:
    """A closed loop of 100 streams, or what the fields say."""

    def make(**fields: Any) -> Load:
        plain = {"streams": 100, "rate_rps": None, "input_tokens": 16, "output_tokens": 25}
        return Load(**(plain | {"duration_s": 2.0} | fields))

    return make


@pytest.fixture
def found() -> Callable[..., Measured]:
    """What a load came to: `found(load, uncertain, share of the expected tokens)`."""

    def make(load: Load, uncertain: float | None = 0.0, kept_up: float = 1.0) -> Measured:
        return Measured(
            load=load,
            requests=100,
            lost=0,
            ttft_s=NONE,
            itl_s=NONE,
            lag_s=NONE,
            uncertain_first_fraction=uncertain,
            tokens_per_s=kept_up * load.expected_tokens_per_s,
            cpu_us_per_token=None,
            cpu_fraction=None,
            loop_stall_max_s=None,
        )

    return make
