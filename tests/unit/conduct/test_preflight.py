"""How a run's pace is divided among its workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.conduct.preflight import pace_of, shares, useful_workers
from bench.load.pace import Pace
from bench.workload.resolve import Overrides, override, recipe_of_lengths


@given(
    total=st.none() | st.integers(0, 1000),
    cap=st.none() | st.integers(0, 1000),
    workers=st.integers(1, 20),
)
def test_slots_and_caps_are_divided_evenly_and_wholly(
    total: int | None, cap: int | None, workers: int
) -> None:
    """Nothing is lost, and no share is larger than another by more than one; times are the same."""
    pace = Pace(total, ramp_s=2.0, max_concurrency=cap, duration_s=9.0)
    parts = shares(pace, workers)
    assert len(parts) == workers
    for name, whole in (("concurrency", total), ("max_concurrency", cap)):
        each = [getattr(part, name) for part in parts]
        if whole is None:
            assert set(each) == {None}
        else:
            assert sum(each) == whole
            assert max(each) - min(each) <= 1
    assert {(part.ramp_s, part.duration_s, part.drain_s) for part in parts} == {(2.0, 9.0, 60.0)}


@pytest.mark.parametrize(
    ("wanted", "slots", "cap", "requests", "workers"),
    [(4, None, None, None, 4), (4, 2, None, 100, 2), (4, None, 3, 100, 3), (4, 8, None, 1, 1),
     (4, 8, None, 0, 1), (1, 8, None, 100, 1)],
)  # fmt: skip
def test_no_worker_is_without_work(
    wanted: int, slots: int | None, cap: int | None, requests: int | None, workers: int
) -> None:
    """A worker without a slot, or room under the cap, could send nothing of its shard."""
    assert useful_workers(wanted, Pace(slots, max_concurrency=cap), requests) == workers


def test_a_closed_loop_has_slots_and_an_open_one_a_cap() -> None:
    """The recipe's arrivals decide which."""
    recipe = recipe_of_lengths(8, 8)
    closed = pace_of(override(recipe, Overrides(concurrency=5, requests=10)))
    assert (closed.concurrency, closed.max_concurrency) == (5, None)
    opened = pace_of(override(recipe, Overrides(rate_rps=2.0, max_concurrency=7, duration_s=30)))
    assert (opened.concurrency, opened.max_concurrency, opened.duration_s) == (None, 7, 30.0)
