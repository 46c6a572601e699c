"""The end of a run: every planned request is in one place of the balance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.conduct.tally import Tally, end_of
from bench.load.fleet import FleetEnd, WorkerEnd
from bench.load.pace import Counters
from bench.workload.recipe import Stop

FIGURES = {"cpu_s": 1.5, "wall_s": 10.0, "peak_rss_bytes": 1, "clock": "kernel"}


def worker(number: int, *, alive: bool = True, **counted: Any) -> WorkerEnd:
    """A worker's last report; `failed` is by class."""
    failed = counted.pop("failed", {})
    counters = Counters(**counted, failed=sum(failed.values()), failed_by_class=failed)
    return WorkerEnd(number, asdict(counters), FIGURES if alive else None)


def ended(*workers: WorkerEnd) -> FleetEnd:
    dead = [each.worker for each in workers if each.figures is None]
    return FleetEnd(1, 2, list(workers), dead)


def balance(end: dict[str, Any]) -> int:
    return int(end["ok"] + sum(end["failed"].values()) + end["dropped"] + end["aborted"])


def test_a_finished_run_is_the_sum_of_its_workers() -> None:
    """Counts, classes and CPU are added; nothing is aborted."""
    fleet = ended(
        worker(0, due=6, ok=5, failed={"http_503": 1}),
        worker(1, due=4, ok=1, failed={"http_503": 1, "tls": 1}, dropped=1),
    )
    end = end_of(fleet, {0: 6, 1: 4}, reason="finished", cut=False, written={})
    assert (end["planned"], end["ok"], end["dropped"], end["aborted"]) == (10, 6, 1, 0)
    assert end["failed"] == {"http_503": 2, "tls": 1}
    assert end["client"]["cpu_s"] == 3.0
    assert balance(end) == end["planned"]


def test_what_came_due_after_the_duration_was_not_planned_within_it() -> None:
    """Later turns of a session that the run's time did not reach are told as not due."""
    end = end_of(ended(worker(0, due=7, ok=7)), {0: 10}, reason="finished", cut=False, written={})
    assert (end["planned"], end["not_due"], end["aborted"]) == (7, 3, 0)


def test_what_a_stop_left_unsent_is_aborted() -> None:
    """An interrupted run accounts for its whole plan."""
    fleet = ended(worker(0, due=7, ok=5, aborted=2))
    end = end_of(fleet, {0: 10}, reason="interrupted", cut=True, written={})
    assert (end["planned"], end["aborted"], end["not_due"]) == (10, 5, 0)


def test_a_dead_worker_counts_by_what_it_wrote() -> None:
    """Its last report may be older or newer than its files; the rest of its plan is aborted."""
    fleet = ended(worker(0, due=10, ok=10), worker(1, alive=False, due=9, ok=6))
    rows = {1: {"ok": 4, "failed": 1, "failed_by_class": {"tls": 1}, "dropped": 0, "aborted": 0}}
    end = end_of(fleet, {0: 10, 1: 10}, reason="worker 1 died", cut=True, written=rows)
    assert (end["ok"], end["failed"], end["aborted"]) == (14, {"tls": 1}, 5)
    assert (end["planned"], end["dead_workers"]) == (20, [1])
    assert end["client"]["workers"][1]["cpu_s"] is None


def test_a_worker_that_died_before_its_first_report() -> None:
    """All it had planned is aborted."""
    fleet = FleetEnd(1, 2, [WorkerEnd(0)], [0])
    end = end_of(fleet, {0: 10}, reason="worker 0 died", cut=True, written={0: {}})
    assert (end["planned"], end["aborted"]) == (10, 10)


def test_an_unbounded_plan_has_no_number() -> None:
    """Where only time bounds the requests, what was started is accounted for."""
    fleet = ended(worker(0, due=8, ok=8), worker(1, alive=False, due=5, ok=3))
    end = end_of(fleet, {0: None, 1: None}, reason="x", cut=True, written={1: {"ok": 4}})
    assert (end["planned"], end["ok"], end["aborted"]) == (None, 12, 1)


counts = st.integers(0, 50)


@given(
    workers=st.lists(
        st.tuples(counts, counts, counts, counts, counts, st.booleans(), counts), min_size=1
    ),
    cut=st.booleans(),
)
def test_the_balance_always_holds(
    workers: list[tuple[int, int, int, int, int, bool, int]], cut: bool
) -> None:
    """planned = ok + failed + dropped + aborted, whoever died and however it ended."""
    ends, planned, written = [], {}, {}
    for number, (ok, failed, dropped, aborted, unsent, alive, rows) in enumerate(workers):
        due = ok + failed + dropped + aborted
        ends.append(
            worker(
                number, alive=alive, due=due, ok=ok, failed={"tls": failed}, dropped=dropped,
                aborted=aborted,
            )
        )  # fmt: skip
        planned[number] = due + unsent
        if not alive:
            written[number] = {"ok": min(rows, due + unsent)}
    end = end_of(ended(*ends), planned, reason="x", cut=cut, written=written)
    assert balance(end) == end["planned"]
    assert end["aborted"] >= 0


# -- stop conditions ---------------------------------------------------------------------------


def report(at_s: float, **counted: Any) -> dict[str, Any]:
    return {**asdict(Counters(**counted)), "at_ns": round(at_s * 1e9)}


def test_a_number_of_errors_stops_a_run() -> None:
    """Over all workers together."""
    tally = Tally(Stop(max_errors=5))
    assert tally.take(0, report(1, failed=2)) is None
    assert tally.take(1, report(1, failed=2)) is None
    assert tally.take(0, report(2, failed=3)) == "5 errors reached max_errors 5"


def test_an_error_rate_stops_a_run_when_it_lasts() -> None:
    """The rate is that of the last seconds: an early burst is forgotten, a late one is seen."""
    tally = Tally(Stop(error_rate_above=0.5, error_rate_for_s=3))
    ok, failed = 0, 0
    said = []
    for second in range(1, 20):
        bad = second in (1, 2) or second >= 14
        ok, failed = ok + (0 if bad else 10), failed + (10 if bad else 0)
        said.append(tally.take(0, report(second, ok=ok, failed=failed)))
    stops = [second for second, why in enumerate(said, 1) if why]
    assert stops[0] == 15
    assert said[14] == "error rate 66.7% over 3 s exceeded 50.0%"


def test_errors_in_a_row_stop_a_run() -> None:
    """Over all workers; an answer to any of them ends the row, whose usual class is named."""
    tally = Tally(Stop(max_errors_in_a_row=6))
    assert tally.take(0, report(1, ok=1, failed=5)) is None
    early = {"failed": 8, "failed_by_class": {"tls": 8}}
    assert tally.take(0, report(2, ok=1, **early)) is None
    assert tally.take(1, report(2, ok=1)) is None, "an answer ends the row of eight"
    assert tally.take(1, report(3, ok=1, failed=2, failed_by_class={"dns": 2})) is None
    late = {"failed": 12, "failed_by_class": {"tls": 8, "connect_refused": 4}}
    assert tally.take(0, report(3, ok=1, **late)) == (
        "6 errors in a row reached max_errors_in_a_row 6 (most often connect_refused)"
    )


@pytest.mark.parametrize("stop", [Stop(), Stop(max_errors=100), Stop(keep_going=True)])
def test_overload_alone_stops_nothing(stop: Stop) -> None:
    """Failures are what is measured, unless the recipe says otherwise."""
    tally = Tally(stop)
    assert [tally.take(0, report(second, failed=99)) for second in range(1, 30)] == [None] * 29
