"""Progress against the plan."""

from __future__ import annotations

import pytest

from bench.conduct.tally import Totals
from bench.live.progress import Bounds, Progress


def after(bounds: Bounds, totals: Totals, elapsed_s: float) -> Progress:
    progress = Progress(bounds)
    progress.take(totals, elapsed_s)
    return progress


def test_the_nearest_bound_counts() -> None:
    """Of requests and time, the one that is nearest its end says how far the run is."""
    progress = after(Bounds(requests=100, duration_s=60.0), Totals(ok=20, failed=5), 30.0)
    assert progress.fraction == 0.5
    assert progress.left_s == 30.0


def test_every_outcome_is_progress() -> None:
    """A dropped or failed request is as much done as one that was answered."""
    totals = Totals(ok=1, failed=2, dropped=3, aborted=4)
    assert after(Bounds(requests=20), totals, 1.0).fraction == 0.5


def test_a_run_without_bounds_has_no_fraction() -> None:
    """Where nothing bounds the run, how far it is and how long it takes are unknown."""
    progress = after(Bounds(), Totals(ok=5), 1.0)
    assert (progress.fraction, progress.left_s) == (None, None)


def test_open_answers_after_the_end_are_not_more_than_all() -> None:
    """While open answers are awaited after the time is over, the fraction stays 1."""
    assert after(Bounds(duration_s=10.0), Totals(running=3), 12.0).fraction == 1.0


def test_rates_are_those_of_the_last_ten_seconds() -> None:
    """What was long ago does not count into the rates."""
    progress = Progress(Bounds())
    assert progress.rates is None
    for second in range(1, 31):
        fast = max(0, second - 20)
        progress.take(
            Totals(due=second + 9 * fast, ok=second, output_tokens=7 * second), float(second)
        )
    rates = progress.rates
    assert rates is not None
    assert rates.offered_rps == pytest.approx(10.0)
    assert (rates.ok_rps, rates.tokens_per_s) == (pytest.approx(1.0), pytest.approx(7.0))


def test_latencies_add_up_over_the_run() -> None:
    """The histograms hold every answer of every report."""
    progress = Progress(Bounds())
    progress.take(Totals(ttft_s=[0.1, 0.2], e2e_s=[1.0]), 1.0)
    progress.take(Totals(ttft_s=[0.3], tpot_s=[0.01]), 2.0)
    assert (progress.ttft.count, progress.tpot.count, progress.e2e.count) == (3, 1, 1)
    assert progress.ttft.max_s == 0.3
