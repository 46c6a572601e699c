"""The self-test over real sockets: engine and simulator in processes of their own."""

from __future__ import annotations

import asyncio

from bench.selftest.load import Load
from bench.selftest.measure import measure


def test_every_request_is_held_against_the_truth() -> None:
    """Each request of a run has its row in the truth, and each gap between tokens an error."""
    found = asyncio.run(measure(Load(4, None, 16, 5, duration_s=1.0)))
    assert found.requests >= 4
    assert found.lost == 0
    assert found.ttft_s.n == found.lag_s.n == found.requests
    assert found.itl_s.n == 4 * found.requests
    assert found.ttft_s.bias is not None and found.ttft_s.bias > 0, "arrived before it was sent"
    assert found.tokens_per_s > 0
    assert found.cpu_us_per_token is not None and found.cpu_us_per_token > 0
