"""Open loop: turns leave when the plan says, whatever the server does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.load.pace import Pace
from bench.load.replay import LOOKAHEAD_FLIGHTS
from bench.model import Session, Turn

Replayed = Callable[..., Any]


def single(index: int, at_s: float) -> Session:
    return Session(index, (Turn(index, at_s, None, 8, 8),))


def test_sends_are_at_the_planned_offsets(replayed: Replayed) -> None:
    """To the nanosecond, also when the server is slower than the arrivals."""
    offsets = [0.0, 0.1, 0.1, 0.25, 3.0, 7.125]
    trial = replayed([single(i, at) for i, at in enumerate(offsets)], Pace(), service_s=10)
    assert trial.sent == list(enumerate(offsets))
    assert trial.intended_s == dict(enumerate(offsets))
    assert (trial.open_most, trial.ended_s) == (6, 17.125)


def test_a_gap_longer_than_the_look_ahead_is_waited_for(replayed: Replayed) -> None:
    """The next session is taken while nothing is in flight, and sent in time."""
    trial = replayed([single(0, 0), single(1, 3600)], Pace())
    assert trial.sent == [(0, 0.0), (1, 3600.0)]


def test_a_burst_larger_than_the_look_ahead_leaves_at_one_instant(replayed: Replayed) -> None:
    """The look-ahead bounds memory, not the rate."""
    many = 3 * LOOKAHEAD_FLIGHTS
    trial = replayed([single(i, 1.0) for i in range(many)], Pace())
    assert trial.sent == [(i, 1.0) for i in range(many)]


def test_sessions_are_taken_as_their_time_comes(replayed: Replayed) -> None:
    """A long plan is not held in memory: at 2 s only what is due by 4 s has been made."""
    taken: list[int] = []
    plan = [single(i, i * 0.5) for i in range(100)]
    replayed(plan, Pace(), at={2.0: lambda t: taken.append(t.trial.workload.taken)})
    assert taken[0] <= 2 * 4 + 3


def test_later_turns_follow_the_answer_and_the_think_time(replayed: Replayed) -> None:
    """A turn is due when the previous one has ended and its think time is over."""
    turns = (Turn(0, 1.0, None, 8, 8), Turn(1, None, 2.0, 8, 8), Turn(2, None, None, 8, 8))
    trial = replayed([Session(0, turns)], Pace(), service_s=0.5)
    assert trial.sent == [(0, 1.0), (1, 3.5), (2, 4.0)]


@pytest.mark.parametrize(("service_s", "second_s"), [(0.5, 6.0), (9.0, 10.0)])
def test_a_turn_with_both_times_is_due_at_the_later(
    replayed: Replayed, service_s: float, second_s: float
) -> None:
    """A recorded time holds unless the answer before it comes later."""
    turns = (Turn(0, 1.0, None, 8, 8), Turn(1, 6.0, 0.0, 8, 8))
    trial = replayed([Session(0, turns)], Pace(), service_s=service_s)
    assert trial.sent == [(0, 1.0), (1, second_s)]


def test_a_think_time_longer_than_the_look_ahead(replayed: Replayed) -> None:
    """It is kept exactly, and the replay is not over meanwhile."""
    turns = (Turn(0, 0.0, None, 8, 8), Turn(1, None, 500.0, 8, 8))
    assert replayed([Session(0, turns)], Pace(), service_s=0.25).sent[1] == (1, 500.25)


def test_a_failed_turn_does_not_end_a_session_of_known_content(replayed: Replayed) -> None:
    """What the next turn says does not depend on the answer."""
    turns = (Turn(0, 0.0, None, 8, 8), Turn(1, None, 1.0, 8, 8))
    trial = replayed([Session(0, turns)], Pace(), fails={0})
    assert trial.sent == [(0, 0.0), (1, 1.5)]
    assert trial.classes == {0: "disconnected", 1: None}


def test_what_finds_no_room_is_dropped_and_counted(replayed: Replayed) -> None:
    """With a cap of 2 the third request at once is dropped, never delayed."""
    offsets = [0.0, 0.1, 0.2, 0.6, 0.65]
    trial = replayed(
        [single(i, at) for i, at in enumerate(offsets)], Pace(max_concurrency=2), service_s=0.55
    )
    assert trial.sent == [(0, 0.0), (1, 0.1), (3, 0.6), (4, 0.65)]
    assert trial.classes[2] == "no_room"
    assert trial.intended_s[2] == pytest.approx(0.2)
    assert trial.open_most == 2


def test_turns_behind_a_dropped_one_are_dropped_with_it(replayed: Replayed) -> None:
    """They could not have been asked; each is counted under its own class."""
    session = Session(1, (Turn(1, 0.1, None, 8, 8), Turn(2, None, 1.0, 8, 8)))
    trial = replayed([single(0, 0.0), session], Pace(max_concurrency=1))
    assert trial.sent == [(0, 0.0)]
    assert trial.classes == {0: None, 1: "no_room", 2: "earlier_turn_dropped"}


def test_failures_at_once_do_not_nest(replayed: Replayed) -> None:
    """A machine out of open files fails thousands of flights within `submit`, without recursion."""
    plan = [single(i, 0.0) for i in range(5000)]
    trial = replayed(plan, Pace(), service_s=0, fails=set(range(5000)))
    assert len(trial.sent) == 5000


def test_no_sessions_at_all(replayed: Replayed) -> None:
    """An empty shard is finished at once."""
    assert replayed([], Pace()).sent == []
