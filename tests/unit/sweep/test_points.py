"""What several runs tell together: the highest load, its interval, saturation, scaling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.judge.metric import Absence
from bench.judge.stats import UNKNOWN, Estimate
from bench.judge.sweep import (
    Point,
    Step,
    bracket,
    following_points,
    highest_held,
    max_goodput,
    peak_throughput,
    scaling_coefficient,
    sustained_points,
    sustained_share,
)
from bench.judge.verdict import Verdict
from bench.sweep.documents import verdict_of


def point(load: float, share: float, half: float = 0.02, wanted: float = 0.9) -> Point:
    return Point(load, share, share - half, share + half, wanted)


def entry(value: float | None, half: float = 0.0) -> dict[str, Any]:
    """A run metric as summary.json has it."""
    if value is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {"value": value, "low": value - half, "high": value + half, "n": 100}


def step(
    load: float,
    good: float | None = 1.0,
    tps: float | None = 100.0,
    *,
    half: float = 0.02,
    sustained: float = 1.0,
    broken: tuple[str, ...] = (),
) -> Step:
    metrics = {"goodput_fraction": entry(good, half), "output_tps": entry(tps, 5.0)}
    estimate = Estimate(sustained, sustained - 0.01, sustained + 0.01, 10)
    return Step(load, f"runs/{load:g}", "none", broken, metrics, {}, estimate)


def test_the_interval_ends_where_runs_show_it() -> None:
    """From the highest rate shown to hold to the lowest shown not to; the value lies between."""
    found = highest_held([point(1, 0.99), point(2, 0.91), point(4, 0.89), point(8, 0.5)])
    assert (found.value, found.low, found.high, found.n) == (2, 1, 8, 4)


def test_an_end_that_no_run_shows_stays_open() -> None:
    """Without a rate that is shown to hold, or shown not to, there is no number for it."""
    found = highest_held([point(1, 0.91), point(2, 0.905)])
    assert (found.value, math.isnan(found.low), found.high) == (2, True, math.inf)
    lost = highest_held([point(1, 0.5)])
    assert math.isnan(lost.value) and math.isnan(lost.low) and lost.high == 1


def test_luck_at_a_high_rate_does_not_count() -> None:
    """A rate above one that was lost is neither the highest nor an end of the interval."""
    points = [point(4, 0.99), point(8, 0.5), point(9, 0.99)]
    assert bracket(points) == (4, 8)
    assert (highest_held(points).low, highest_held(points).high) == (4, 8)


def test_bad_luck_at_a_low_rate_does_not_count() -> None:
    """7 of 8 requests in time at 2 req/s decide nothing where 8 and 20 req/s hold."""
    points = [Point(2, 0.875, 0.6, 1.0, 0.95), point(8, 0.99), point(20, 0.99), point(40, 0.5)]
    assert bracket(points) == (20, 40)
    assert highest_held(points).value == 20
    refuted = [Point(2, 0.6, 0.5, 0.7, 0.95), *points[1:]]
    assert bracket(refuted) == (None, 2)


def test_a_run_that_is_not_valid_is_no_point() -> None:
    """It neither extends the goodput nor ends it, and has no throughput."""
    steps = [step(1), step(2, broken=("loop_stall",), tps=900), step(4, 0.1)]
    found = max_goodput(steps, 0.9, open_loop=True)
    assert (found.estimate.value, found.estimate.high, found.estimate.n) == (1, 4, 2)
    assert peak_throughput(steps).value == 100


@pytest.mark.parametrize(
    ("steps", "wanted", "open_loop", "reason"),
    [
        ([step(1)], None, True, Absence.NO_GOOD_SET),
        ([step(1)], 0.9, False, Absence.CLOSED_LOOP),
        ([step(1, broken=("x",))], 0.9, True, Absence.NO_VALID_RUNS),
        ([step(1, 0.2)], 0.9, True, Absence.NONE_HELD),
        ([step(1)], 0.9, True, None),
    ],
)
def test_why_there_is_no_goodput(
    steps: list[Step], wanted: float | None, open_loop: bool, reason: Absence | None
) -> None:
    """Each absence of max_goodput_rps has its reason; a value has none."""
    assert max_goodput(steps, wanted, open_loop=open_loop).absent is reason


def series(offered: list[int], ended: list[int]) -> pd.DataFrame:
    achieved = np.array(ended, np.float64)
    return pd.DataFrame({"offered": offered, "achieved": achieved, "failed": 0.0})


def test_keeping_up_is_counted_over_the_second_half_of_the_planned_time() -> None:
    """Neither the first answers' delay nor the drain counts: 6 of 10 a second is 60 %."""
    keeps_up = sustained_share(series([10] * 20, [0, 0, *[10] * 18]), 0.95)
    assert keeps_up.value == 1.0
    behind = sustained_share(series([10] * 20 + [0] * 13, [6] * 33), 0.95)
    assert behind.value == pytest.approx(0.6)
    assert behind.high < 0.95
    assert math.isnan(sustained_share(series([0, 0], [0, 0]), 0.95).value)


def test_an_open_loop_saturates_where_the_server_falls_behind() -> None:
    """The server keeps up to 4/s and ends 80 % of 8/s."""
    points = sustained_points([step(2), step(4, sustained=0.98), step(8, sustained=0.8)])
    assert bracket(points) == (4, 8)


def test_a_closed_loop_saturates_where_slots_add_nothing() -> None:
    """Doubling the slots adds 90 %, then 5 % of throughput: 8 slots are the last that pay."""
    points = following_points([step(16, tps=200), step(4, tps=100), step(8, tps=190)])
    assert bracket(points) == (8, 16)
    assert points[1].share == pytest.approx(0.9)
    assert following_points([step(4), step(8, broken=("loop_stall",))]) == []


def test_scaling_is_throughput_per_replica() -> None:
    """Four replicas with 3.6 times the throughput of one scale by 0.9; the interval holds it."""
    found = scaling_coefficient(Estimate(360, 350, 370), 4, Estimate(100, 98, 102))
    assert found.estimate.value == pytest.approx(0.9)
    assert found.estimate.low == pytest.approx(350 / 408)
    assert found.estimate.high == pytest.approx(370 / 392)


@pytest.mark.parametrize(
    ("peak", "replicas", "one", "reason"),
    [
        (Estimate(1.0), None, Estimate(1.0), Absence.NEEDS_RUNS),
        (Estimate(1.0), 2, None, Absence.NEEDS_RUNS),
        (UNKNOWN, 2, Estimate(1.0), Absence.NO_VALID_RUNS),
        (Estimate(1.0), 2, UNKNOWN, Absence.NO_VALID_RUNS),
    ],
)
def test_scaling_needs_two_sweeps(
    peak: Estimate, replicas: int | None, one: Estimate | None, reason: Absence
) -> None:
    """Without a baseline, a number of replicas or a throughput there is no coefficient."""
    assert scaling_coefficient(peak, replicas, one).absent is reason


def test_intervals_of_scaling_are_unknown_where_one_side_is() -> None:
    """A peak without an interval gives none."""
    found = scaling_coefficient(Estimate(360), 4, Estimate(100, 98, 102)).estimate
    assert found.value == pytest.approx(0.9)
    assert math.isnan(found.low) and math.isnan(found.high)


HELD, LOST, CLOSE = point(2, 0.99), point(4, 0.5), point(2, 0.91)


@pytest.mark.parametrize(
    ("points", "ended", "require", "expected"),
    [
        ([HELD, LOST], True, None, Verdict.PASS),
        ([HELD, LOST], False, None, Verdict.UNDECIDED),
        ([CLOSE, LOST], True, None, Verdict.UNDECIDED),
        ([point(2, 0.5), LOST], True, None, Verdict.FAIL),
        ([HELD, LOST], False, 2.0, Verdict.PASS),
        ([HELD, LOST], True, 3.0, Verdict.UNDECIDED),
        ([HELD, LOST], True, 4.0, Verdict.FAIL),
        (None, True, None, Verdict.NONE),
        ([], True, None, Verdict.UNDECIDED),
    ],
)
def test_the_verdict_needs_what_was_sought_to_be_shown(
    points: list[Point] | None, ended: bool, require: float | None, expected: Verdict
) -> None:
    """Nothing passes by a point estimate, by a search that did not end, or between two steps."""
    assert verdict_of([step(2), step(4)], points, ended, require) is expected


def test_runs_that_are_not_valid_pass_nothing() -> None:
    """One leaves the sweep undecided; nothing but such runs make it not valid."""
    broken = step(8, broken=("loop_stall",))
    assert verdict_of([step(2), broken], [HELD], True, None) is Verdict.UNDECIDED
    assert verdict_of([step(2), broken], None, True, None) is Verdict.UNDECIDED
    assert verdict_of([broken], [], True, 1.0) is Verdict.INVALID
