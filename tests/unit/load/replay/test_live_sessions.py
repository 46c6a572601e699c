"""Sessions whose turns quote the answers before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.load.pace import Pace
from bench.model import Message, Session, Turn

Replayed = Callable[..., Any]

LIVE = (
    Turn(0, 0.0, None, 8, 8),
    Turn(1, None, 1.0, 8, 8, appends=True),
    Turn(2, None, 1.0, 8, 8, appends=True),
)


def say(role: str, content: str) -> Message:
    return {"role": role, "content": content}


@pytest.mark.parametrize("pace", [Pace(), Pace(concurrency=1)])
def test_each_turn_carries_what_was_said(replayed: Replayed, pace: Pace) -> None:
    """The answers are the server's own, in their place between the users' messages."""
    trial = replayed([Session(0, LIVE)], pace, service_s=0.5)
    said = [
        say("user", "prompt 0"),
        say("assistant", "answer 0"),
        say("user", "prompt 1"),
        say("assistant", "answer 1"),
        say("user", "prompt 2"),
    ]
    assert trial.prompts == {0: said[:1], 1: said[:3], 2: said}
    assert trial.sent == [(0, 0.0), (1, 1.5), (2, 3.0)]


def test_a_turn_that_does_not_append_begins_anew(replayed: Replayed) -> None:
    """Its messages are the whole conversation."""
    turns = (
        LIVE[0],
        Turn(1, None, None, 8, 8, appends=False),
        Turn(2, None, None, 8, 8, appends=True),
    )
    prompts = {1: [say("system", "brief"), say("user", "again")]}
    trial = replayed([Session(0, turns)], Pace(), prompts=prompts)
    assert trial.prompts[1] == prompts[1]
    assert trial.prompts[2] == [*prompts[1], say("assistant", "answer 1"), say("user", "prompt 2")]


def test_turns_behind_a_failed_one_are_aborted(replayed: Replayed) -> None:
    """There is no answer to quote; each is accounted for, at the time of the failure."""
    trial = replayed([Session(0, LIVE)], Pace(), fails={0}, service_s=0.5)
    assert trial.classes == {0: "disconnected", 1: "earlier_turn_failed", 2: "earlier_turn_failed"}
    assert trial.outcomes == {"failed": 1, "aborted": 2}
    assert trial.intended_s[1] == trial.intended_s[2] == 0.5


def test_a_failed_conversation_frees_its_slot(replayed: Replayed) -> None:
    """The next session starts at once."""
    other = Session(1, (Turn(3, None, None, 8, 8),))
    trial = replayed([Session(0, LIVE), other], Pace(concurrency=1), fails={1}, service_s=0.5)
    assert trial.sent == [(0, 0.0), (1, 1.5), (3, 2.0)]


def test_a_cut_conversation_is_wholly_accounted_for(replayed: Replayed) -> None:
    """The turn in flight is cut, and those that would have quoted it are aborted."""

    def cut(transport: Any) -> None:
        transport.trial.replay.stop(transport.now_ns)
        transport.abort()

    trial = replayed([Session(0, LIVE)], Pace(), service_s=5, at={1.0: cut})
    assert trial.classes == {0: "cut", 1: "earlier_turn_failed", 2: "earlier_turn_failed"}
