"""Exchanges and manifests to write."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import pytest

from bench.model import Exchange, Manifest, Outcome, Phase

START_NS = 9_100_000_000_000_000


@pytest.fixture
def exchange() -> Callable[..., Exchange]:
    """Makes a finished exchange of three tokens, 50 ms and then twice 20 ms after its send."""

    def make(index: int = 0, **changes: Any) -> Exchange:
        intended_ns = START_NS + index * 10_000_000
        sent_ns = intended_ns + 1_000
        arrivals = [sent_ns + 50_000_001, sent_ns + 70_000_002, sent_ns + 90_000_003]
        fields = {
            "index": index,
            "session": index // 2,
            "turn": index % 2,
            "worker": 0,
            "phase": Phase.MAIN,
            "outcome": Outcome.OK,
            "intended_ns": intended_ns,
            "sent_ns": sent_ns,
            "first_ns": arrivals[0],
            "last_ns": arrivals[-1],
            "done_ns": arrivals[-1] + 5,
            "output_tokens": 4,
            "events": 3,
            "arrival_ns": array("q", arrivals),
            "tokens": array("i", [1, 2, 1]),
        }
        return Exchange(**{**fields, **changes})

    return make


@pytest.fixture
def manifest() -> Manifest:
    """A manifest with nothing in it."""
    return Manifest(
        run_id="",
        created_utc="",
        bench_version="1",
        command=("bench", "run"),
        host={},
        clocks={},
        target={},
        server={},
        workload={},
        load={},
        profile=None,
        seeds={},
    )
