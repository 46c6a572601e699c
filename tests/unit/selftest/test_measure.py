"""A run held against a truth that is known to differ from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.record.frame import Run, open_run
from bench.selftest.load import Load
from bench.selftest.measure import Spread, compared
from bench.sim.truth import TruthRow

TAG = "5e1f"
LATE_NS = 2_000
LAST_LATE_NS = 7_000


@pytest.fixture
def run(synthetic_run: Callable[..., Path]) -> Run:
    """20 requests of 5 tokens, 1 worker."""
    run = open_run(synthetic_run(requests=20, tokens_per_request=5))
    run.manifest["load"]["run_tag"] = TAG
    return run


def truth_of(run: Run, **changes: Any) -> list[TruthRow]:
    """A server that sent each token LATE_NS, and the last LAST_LATE_NS, before it arrived."""
    rows = []
    for events in run.token_events():
        for n, at in enumerate(events.rows.tolist()):
            arrived_s = events.arrival_s[events.offsets[n] : events.offsets[n + 1]]
            sent_ns = np.rint(arrived_s * 1e9).astype(np.int64) + run.start_ns - LATE_NS
            sent_ns[-1] -= LAST_LATE_NS - LATE_NS
            token_ns = [int(each) for each in sent_ns]
            fields = {
                "received_ns": token_ns[0] - 1,
                "first_ns": token_ns[0],
                "last_ns": token_ns[-1],
                "output_tokens": len(token_ns),
                "token_ns": token_ns,
            }
            rows.append(TruthRow(f"{TAG}-{at}", **(fields | changes)))
    return rows


def closed(duration_s: float = 1.0) -> Load:
    return Load(20, None, 512, 5, duration_s)


def test_errors_are_measured_minus_true(run: Run) -> None:
    """First tokens are 2 µs late; of four gaps the last alone is off, by 5 µs."""
    found = compared(run, truth_of(run), closed())
    assert (found.requests, found.lost) == (20, 0)
    assert found.ttft_s.n == 20
    assert found.ttft_s.p50 == pytest.approx(2e-6, abs=2e-9)
    assert found.ttft_s.bias == pytest.approx(2e-6, abs=2e-9)
    assert found.itl_s.n == 80
    assert found.itl_s.p50 == pytest.approx(0, abs=2e-9)
    assert found.itl_s.p99 == pytest.approx(5e-6, abs=2e-9)
    assert found.itl_s.bias == pytest.approx(1.25e-6, abs=2e-9)


def test_what_has_no_truth_is_lost(run: Run) -> None:
    """A request that the truth doesn't have, or has under another run's tag, is lost."""
    truth = truth_of(run)[1:]
    other = TruthRow("other-0", received_ns=0, first_ns=1, last_ns=2, output_tokens=5)
    found = compared(run, [other, *truth], closed())
    assert (found.requests, found.lost) == (19, 1)


def test_another_number_of_tokens_has_no_gaps(run: Run) -> None:
    """Gaps are compared only where client and server counted the same tokens."""
    found = compared(run, truth_of(run, token_ns=[1, 2]), closed())
    assert found.itl_s == Spread(0, None, None, None, None)
    assert found.ttft_s.n == 20


def test_tokens_per_second_leaves_out_the_beginning(run: Run) -> None:
    """Tokens count from when the first answers end until the load's duration is over."""
    load = closed(duration_s=0.5)
    arrivals = np.concatenate([events.arrival_s for events in run.token_events()])
    inside = ((arrivals >= 0.1) & (arrivals < 0.5)).sum()
    assert inside > 0
    assert compared(run, truth_of(run), load).tokens_per_s == pytest.approx(inside / 0.4)


def test_spread_is_of_absolute_values() -> None:
    """Early and late errors don't cancel in percentiles, and do in the bias."""
    spread = Spread.of(np.array([-3.0, 1.0, 2.0]))
    assert (spread.n, spread.p50, spread.p99, spread.max, spread.bias) == (3, 2.0, 3.0, 3.0, 0.0)
