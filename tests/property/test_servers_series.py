"""Whatever is observed, the differences of scrapes bound it."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from bench.model import ServerSample
from bench.servers.series import counter_delta, histogram_delta

BOUNDS = (0.01, 0.1, 1.0, 10.0, math.inf)
LATENCIES = st.lists(st.floats(0, 100), min_size=1, max_size=60)


def scrape(at_ns: int, values: list[float]) -> list[ServerSample]:
    counts = [0] * len(BOUNDS)
    for value in values:
        counts[bisect_left(BOUNDS, value)] += 1
    samples = [
        ServerSample(at_ns, "a", "h_bucket", {"le": str(bound)}, count)
        for bound, count in zip(BOUNDS, accumulate(counts), strict=True)
    ]
    return [*samples, ServerSample(at_ns, "a", "h_sum", {}, math.fsum(values))]


@given(before=LATENCIES, inside=LATENCIES, share=st.floats(0, 1))
def test_the_interval_of_a_quantile_holds_the_exact_one(
    before: list[float], inside: list[float], share: float
) -> None:
    """The nearest-rank quantile of the window's values lies in the bucket that is given."""
    delta = histogram_delta(scrape(0, before) + scrape(9, before + inside), "h")
    assert delta is not None
    exact = sorted(inside)[max(1, math.ceil(share * len(inside))) - 1]
    interval = delta.quantile(share)
    assert interval is not None
    low, high = interval
    assert low <= exact <= high
    assert delta.count == len(inside)


@given(steps=st.lists(st.integers(0, 1000), min_size=1), restart=st.integers(0, 50))
def test_a_counters_increase_never_depends_on_how_often_it_was_scraped(
    steps: list[int], restart: int
) -> None:
    """Without a reset, scrapes in between change nothing."""
    totals = list(accumulate(steps, initial=restart))
    assert counter_delta(totals) == counter_delta([totals[0], totals[-1]])
    assert counter_delta(totals).value == sum(steps)


@given(runs=st.lists(st.lists(st.integers(1, 100), min_size=1), min_size=1, max_size=4))
def test_with_restarts_the_increase_is_a_lower_bound(runs: list[list[int]]) -> None:
    """A process that starts anew from 0 never makes more of what was counted."""
    readings = [total for steps in runs for total in accumulate(steps)]
    increase = counter_delta([0, *readings])
    assert increase.value is not None
    assert increase.value <= sum(map(sum, runs))
    assert increase.resets <= len(runs) - 1
