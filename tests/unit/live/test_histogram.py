"""Latencies counted in buckets."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bench.live.histogram import PRECISION, Histogram, fine_bounds_s

LATENCIES_S = st.lists(st.floats(1e-5, 10_000), min_size=1, max_size=200)


@given(LATENCIES_S, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent_of_the_exact_one(
    values_s: list[float], share: float
) -> None:
    """Never below the nearest-rank quantile, and at most one bucket above it."""
    found = Histogram(fine_bounds_s())
    found.add(values_s)
    exact = sorted(values_s)[max(1, math.ceil(share * len(values_s))) - 1]
    told = found.quantile_s(share)
    assert told is not None
    assert exact <= told * (1 + 1e-12)
    assert told <= exact * PRECISION * (1 + 1e-9)


@given(LATENCIES_S)
def test_every_value_is_in_one_bucket(values_s: list[float]) -> None:
    """Counts, sum and maximum are those of the values, whatever the bounds."""
    found = Histogram((0.01, 1.0))
    found.add(values_s)
    assert found.counts == [
        sum(value <= 0.01 for value in values_s),
        sum(0.01 < value <= 1.0 for value in values_s),
        sum(value > 1.0 for value in values_s),
    ]
    assert (found.count, found.max_s) == (len(values_s), max(values_s))
    assert math.isclose(found.sum_s, sum(values_s))


def test_nothing_counted_is_unknown() -> None:
    """Without values a quantile and the maximum are unknown, and not 0."""
    found = Histogram((1.0,))
    assert (found.quantile_s(0.5), found.max_s) == (None, None)


def test_a_quantile_beyond_all_bounds_is_the_maximum() -> None:
    """What lies above the last bound is told exactly by the maximum."""
    found = Histogram((1.0,))
    found.add([5.0])
    assert found.quantile_s(0.5) == 5.0
