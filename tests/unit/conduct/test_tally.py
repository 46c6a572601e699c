"""Totals over workers."""

from __future__ import annotations

from array import array
from dataclasses import asdict
from typing import Any

from bench.conduct.tally import Tally
from bench.load.pace import Counters
from bench.model import Exchange, Outcome, Phase
from bench.workload.recipe import Stop


def exchange(outcome: Outcome = Outcome.OK, phase: Phase = Phase.MAIN, **times: Any) -> Exchange:
    return Exchange(
        index=0, session=0, turn=0, worker=0, phase=phase, outcome=outcome,
        intended_ns=1_000_000_000, **times,
    )  # fmt: skip


def report(**counted: Any) -> dict[str, Any]:
    return {**asdict(Counters(**counted)), "at_ns": 0}


def test_counts_are_summed_and_latencies_told_once() -> None:
    """Totals hold every worker's counts, and the latencies of the last report alone."""
    tally = Tally(Stop())
    tally.take(0, report(ok=2, failed=1, failed_by_class={"x": 1}, ttft_s=array("d", [0.1, 0.2])))
    tally.take(1, report(ok=3, failed=1, failed_by_class={"x": 1}, ttft_s=array("d", [0.3])))
    totals = tally.totals
    assert (totals.ok, totals.failed, totals.failed_by_class) == (5, 2, {"x": 2})
    assert list(totals.ttft_s) == [0.3]


def test_an_answer_is_timed_from_its_intended_start() -> None:
    """TTFT and E2E count from the intended start, TPOT from the first token to the last."""
    counters = Counters()
    counters.count(
        exchange(
            sent_ns=1_050_000_000,
            first_ns=1_100_000_000,
            last_ns=1_500_000_000,
            done_ns=1_600_000_000,
            output_tokens=5,
        )
    )
    assert (list(counters.ttft_s), list(counters.tpot_s)) == ([0.1], [0.1])
    assert list(counters.e2e_s) == [0.6]


def test_only_good_answers_of_the_main_phase_are_timed() -> None:
    """A failure that had begun to stream, and a warm-up, leave no latency."""
    counters = Counters()
    times = {"first_ns": 2_000_000_000, "last_ns": 2_000_000_000, "done_ns": 2_000_000_000}
    counters.count(exchange(Outcome.FAILED, error_class="eof", **times))
    counters.count(exchange(phase=Phase.WARMUP, **times))
    assert not counters.ttft_s and not counters.tpot_s and not counters.e2e_s
    assert (counters.ok, counters.failed) == (1, 1)


def test_one_token_has_no_time_per_further_token() -> None:
    """An answer of one token has a TTFT and no TPOT."""
    counters = Counters()
    counters.count(
        exchange(
            first_ns=2_000_000_000, last_ns=2_000_000_000, done_ns=2_100_000_000, output_tokens=1
        )
    )
    assert (len(counters.ttft_s), len(counters.tpot_s), len(counters.e2e_s)) == (1, 0, 1)


def test_a_new_second_forgets_what_was_reported() -> None:
    """Counts stay; lag, stall and latencies begin anew."""
    counters = Counters(ok=3, lag_max_ns=5, stall_max_ns=6, e2e_s=array("d", [1.0]))
    counters.forget()
    assert (counters.ok, counters.lag_max_ns, counters.stall_max_ns) == (3, 0, 0)
    assert not counters.e2e_s
