"""Closed loop: so many slots, each busy with one session at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.load.pace import SLOT_STEP_S, Pace
from bench.load.replay import LOOKAHEAD_FLIGHTS, REST_NS
from bench.model import Session, Turn

Replayed = Callable[..., Any]


def single(index: int, at_s: float | None = None) -> Session:
    return Session(index, (Turn(index, at_s, None, 8, 8),))


def test_a_slot_takes_the_next_session_when_it_falls_free(replayed: Replayed) -> None:
    """The next request is intended for the instant at which the answer before it ended."""
    trial = replayed([single(i) for i in range(5)], Pace(concurrency=1), service_s=0.5)
    assert trial.sent == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    assert list(trial.intended_s.values()) == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_slots_open_one_after_the_other(replayed: Replayed) -> None:
    """A tenth of a millisecond apart by default, so that none starts late for its own schedule."""
    trial = replayed([single(i) for i in range(4)], Pace(concurrency=4))
    assert trial.sent == [(i, pytest.approx(i * SLOT_STEP_S)) for i in range(4)]


def test_a_ramp_opens_the_slots_evenly(replayed: Replayed) -> None:
    """Four slots over 2 s are 0.5 s apart."""
    trial = replayed([single(i) for i in range(4)], Pace(concurrency=4, ramp_s=2.0), service_s=9)
    assert trial.sent == [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5)]


def test_no_more_than_the_slots_are_open(replayed: Replayed) -> None:
    """However long answers take, concurrency is never exceeded, and is reached."""
    trial = replayed(
        [single(i) for i in range(200)], Pace(concurrency=7), service_s=lambda i: 0.1 + i % 5
    )
    assert trial.open_most == 7
    assert len(trial.sent) == 200


def test_a_session_keeps_its_slot_through_think_times(replayed: Replayed) -> None:
    """Another session starts when the last turn has ended, not while the user thinks."""
    talk = Session(0, (Turn(0, None, None, 8, 8), Turn(1, None, 3.0, 8, 8)))
    trial = replayed([talk, single(2)], Pace(concurrency=1), service_s=0.5)
    assert trial.sent == [(0, 0.0), (1, 3.5), (2, 4.0)]


def test_recorded_times_do_not_count(replayed: Replayed) -> None:
    """A trace replayed in a closed loop keeps its order and leaves its clock behind."""
    turns = (Turn(0, 50.0, None, 8, 8), Turn(1, 100.0, None, 8, 8))
    trial = replayed([Session(0, turns), single(2, 200.0)], Pace(concurrency=1), service_s=0.5)
    assert trial.sent == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_more_slots_than_sessions(replayed: Replayed) -> None:
    """The slots that find nothing close."""
    assert len(replayed([single(i) for i in range(3)], Pace(concurrency=10)).sent) == 3


def test_more_slots_than_the_look_ahead(replayed: Replayed) -> None:
    """Slots beyond what is rendered ahead are served as well."""
    slots = LOOKAHEAD_FLIGHTS + 50
    trial = replayed([single(i) for i in range(2 * slots)], Pace(concurrency=slots), service_s=5)
    assert (trial.open_most, len(trial.sent)) == (slots, 2 * slots)


def test_sessions_are_made_for_the_slots_that_fall_free_next(replayed: Replayed) -> None:
    """A long plan is not held in memory: two rounds of slots have been made, no more."""
    taken: list[int] = []
    replayed(
        [single(i) for i in range(1000)],
        Pace(concurrency=10),
        service_s=1.0,
        at={0.5: lambda t: taken.append(t.trial.workload.taken)},
    )
    assert taken[0] <= 20


def test_failures_free_their_slots(replayed: Replayed) -> None:
    """A server that refuses everything is asked for everything, one after the other."""
    trial = replayed(
        [single(i) for i in range(300)], Pace(concurrency=2), service_s=0.1, fails=set(range(300))
    )
    assert trial.outcomes == {"failed": 300}
    assert trial.ended_s == pytest.approx(15.0, abs=0.1)


def test_a_slot_that_finds_nobody_rests(replayed: Replayed) -> None:
    """A server that is gone is not sent the plan at the speed of failing; then it is back."""
    trial = replayed(
        [single(i) for i in range(8)],
        Pace(concurrency=2),
        service_s=lambda index: 0 if index < 4 else 0.1,
        fails=set(range(4)),
    )
    assert trial.outcomes == {"failed": 4, "ok": 4}
    rest_s = REST_NS / 1e9
    expected = [0, 0, rest_s, rest_s, 2 * rest_s, 2 * rest_s, 2 * rest_s + 0.1, 2 * rest_s + 0.1]
    assert [trial.intended_s[i] for i in range(8)] == pytest.approx(expected, abs=0.001)
