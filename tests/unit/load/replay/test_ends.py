"""How a replay ends: by its plan, its duration, a stop, a cut; always balanced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.load.pace import Pace
from bench.model import Session, Turn

Replayed = Callable[..., Any]


def single(index: int, at_s: float | None) -> Session:
    return Session(index, (Turn(index, at_s, None, 8, 8),))


PLAN = [single(i, i * 0.25) for i in range(40)]  # 10 s


def test_a_duration_ends_sending_not_answers(replayed: Replayed) -> None:
    """What is due before it is sent; what was sent is waited for."""
    trial = replayed(PLAN, Pace(duration_s=2.0), service_s=1.5)
    assert trial.sent == [(i, i * 0.25) for i in range(8)]
    assert (trial.outcomes, trial.ended_s) == ({"ok": 8}, 3.25)


def test_a_duration_ends_a_closed_loop(replayed: Replayed) -> None:
    """An endless workload is bounded by time alone."""
    plan = [single(i, None) for i in range(1000)]
    trial = replayed(plan, Pace(concurrency=2, ramp_s=0, duration_s=2.0), service_s=0.5)
    assert [at for _, at in trial.sent] == [0, 0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5]


def test_a_turn_due_after_the_duration_is_not_sent(replayed: Replayed) -> None:
    """It was not due within the run: it has no record."""
    turns = (Turn(0, 0.0, None, 8, 8), Turn(1, None, 5.0, 8, 8))
    trial = replayed([Session(0, turns)], Pace(duration_s=2.0))
    assert (trial.sent, trial.outcomes) == ([(0, 0.0)], {"ok": 1})


def test_the_drain_cuts_what_does_not_end(replayed: Replayed) -> None:
    """After `drain_s` open answers are aborted, with the class of a cut."""
    trial = replayed(
        PLAN, Pace(duration_s=1.0, drain_s=2.0), service_s=lambda i: 60 if i == 1 else 0.5
    )
    assert trial.outcomes == {"ok": 3, "aborted": 1}
    assert trial.classes[1] == "cut"
    assert 3.0 <= trial.ended_s <= 3.1


def test_a_stop_waits_for_open_answers(replayed: Replayed) -> None:
    """Nothing more is sent; what is open goes on."""
    trial = replayed(PLAN, Pace(), service_s=1.5, at={1.1: lambda t: t.trial.replay.stop(t.now_ns)})
    assert [index for index, _ in trial.sent] == [0, 1, 2, 3, 4]
    assert (trial.outcomes, trial.ended_s) == ({"ok": 5}, 2.5)


def test_an_abort_after_the_stop_cuts_at_once(replayed: Replayed) -> None:
    """The second Ctrl-C."""

    def cut(transport: Any) -> None:
        transport.trial.replay.stop(transport.now_ns)
        transport.abort()

    trial = replayed(PLAN, Pace(), service_s=1.5, at={1.1: cut})
    assert (trial.outcomes, trial.ended_s) == ({"aborted": 5}, 1.1)


def test_a_second_stop_changes_nothing(replayed: Replayed) -> None:
    """The drain counts from the first."""
    at = {when: lambda t: t.trial.replay.stop(t.now_ns) for when in (1.0, 2.0)}
    trial = replayed(PLAN, Pace(drain_s=5.0), service_s=60, at=at)
    assert 6.0 <= trial.ended_s <= 6.1


def test_a_stop_before_the_first_send(replayed: Replayed) -> None:
    """The replay is over with nothing sent."""
    trial = replayed([single(0, 50.0)], Pace(), at={0.0: lambda t: t.trial.replay.stop(t.now_ns)})
    assert (trial.sent, trial.records) == ([], [])


turns_of = st.lists(
    st.tuples(st.none() | st.floats(0, 30), st.none() | st.floats(0, 5), st.booleans()),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(
    shapes=st.lists(turns_of, max_size=12),
    closed=st.booleans(),
    slots=st.integers(1, 5),
    duration_s=st.none() | st.floats(0.1, 40),
    failing=st.sets(st.integers(0, 47)),
    stop_s=st.none() | st.floats(0, 40),
    service_s=st.floats(0.01, 10),
)
def test_everything_that_came_due_is_accounted_for(
    replayed: Replayed,
    shapes: list[list[tuple[float | None, float | None, bool]]],
    closed: bool,
    slots: int,
    duration_s: float | None,
    failing: set[int],
    stop_s: float | None,
    service_s: float,
) -> None:
    """Whatever the plan, pace, failures and stops: one record each, and no early send.

    The balance itself is asserted for every trial by the fixture.
    """
    sessions, index = [], 0
    for number, shape in enumerate(sorted(shapes, key=lambda each: each[0][0] or 0.0)):
        turns = []
        for at_s, think_s, appends in shape:
            turns.append(Turn(index, at_s, think_s, 8, 8, appends=appends))
            index += 1
        sessions.append(Session(number, tuple(turns)))
    pace = Pace(
        concurrency=slots if closed else None,
        max_concurrency=None if closed else slots,
        duration_s=duration_s,
        drain_s=3.0,
    )
    at = {} if stop_s is None else {stop_s: lambda t: t.trial.replay.stop(t.now_ns)}
    trial = replayed(sessions, pace, service_s=service_s, fails=failing, at=at)
    assert trial.open_most <= slots
    if duration_s is None and stop_s is None:
        assert len(trial.records) == index
    if not closed:
        planned = {t.index: t.at_s or 0.0 for s in sessions for t in s.turns}
        assert all(sent_s >= planned[number] - 1e-6 for number, sent_s in trial.sent)


@pytest.mark.parametrize("drain_s", [0.0, 0.5])
def test_a_drain_of_nothing(replayed: Replayed, drain_s: float) -> None:
    """A drain of 0 cuts in the same pass."""
    trial = replayed(PLAN, Pace(duration_s=1.0, drain_s=drain_s), service_s=30)
    assert trial.outcomes == {"aborted": 4}
    assert trial.ended_s == pytest.approx(1.0 + drain_s, abs=0.11)
