"""The replay loop in virtual time: a transport that answers after a fixed time, and no clock."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.load.flight import Flight
from bench.load.pace import Pace
from bench.load.replay import Replay
from bench.model import Exchange, Outcome, Prompt, Session, Turn

START_NS = 5_000_000_000
BEAT_NS = 100_000_000
ANSWER = (
    b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)


class FixedSessions:
    """A workload of these sessions; the prompt of turn i is `prompt i`."""

    def __init__(self, sessions: Sequence[Session], prompts: dict[int, Prompt]) -> None:
        self._sessions = sessions
        self._prompts = prompts
        self.taken = 0

    @property
    def requests(self) -> int:
        return sum(len(session.turns) for session in self._sessions)

    def shard(self, worker: int, workers: int) -> FixedSessions:
        return FixedSessions(self._sessions[worker::workers], self._prompts)

    def sessions(self) -> Iterator[Session]:
        for session in self._sessions:
            self.taken += 1
            yield session

    def prompt(self, turn: Turn) -> Prompt:
        return self._prompts.get(turn.index, f"prompt {turn.index}")


@dataclass
class Trial:
    """What happened: sends as (index, seconds from the start), records in the order they came."""

    replay: Replay
    workload: FixedSessions
    sent: list[tuple[int, float]] = field(default_factory=list)
    prompts: dict[int, Prompt] = field(default_factory=dict)
    records: list[Exchange] = field(default_factory=list)
    ended_s: float = 0.0
    open_most: int = 0
    heap_most: int = 0

    @property
    def intended_s(self) -> dict[int, float]:
        return {e.index: (e.intended_ns - START_NS) / 1e9 for e in self.records}

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(str(e.outcome) for e in self.records)

    @property
    def classes(self) -> dict[int, str | None]:
        return {e.index: e.error_class for e in self.records}


class VirtualTransport:
    """Answers each flight `service_s(index)` after it was sent; `fails` names those that fail.

    A service of 0 ends the flight within `submit`, as a connection that can't be made does.
    """

    def __init__(self, trial: Trial, service_s: Callable[[int], float], fails: set[int]) -> None:
        self.trial = trial
        self.now_ns = START_NS
        self.flights: list[tuple[int, int, Flight]] = []
        self._service_s = service_s
        self._fails = fails

    def submit(self, flight: Flight) -> None:
        service_s = self._service_s(flight.turn.index)
        flight.started_ns = self.now_ns
        flight.sent_ns = self.now_ns if service_s else None
        self.trial.sent.append((flight.turn.index, (self.now_ns - START_NS) / 1e9))
        end_ns = self.now_ns + round(service_s * 1e9)
        heapq.heappush(self.flights, (end_ns, len(self.trial.sent), flight))
        self.trial.open_most = max(self.trial.open_most, len(self.flights))
        if not service_s:
            self.end_one()

    def end_one(self) -> None:
        end_ns, _, flight = heapq.heappop(self.flights)
        replay = self.trial.replay
        flight.done_ns = end_ns
        flight.status = 200
        flight.on_header(b"content-type", b"text/event-stream")
        if flight.turn.index in self._fails:
            flight.fail("disconnected", "the test says so")
        elif not flight.aborted:
            flight.on_body(ANSWER % f"answer {flight.turn.index}".encode())
            flight.body.mark(end_ns, end_ns - 1)
        replay.ended(flight)
        due_ns = replay.next_due_ns
        if due_ns is not None and due_ns <= end_ns:
            replay.release(end_ns)
        replay.recorded(flight)

    def abort(self) -> None:
        self.flights = [(self.now_ns, order, flight) for _, order, flight in self.flights]
        for _, _, flight in list(self.flights):
            flight.aborted = True
        while self.flights:
            self.end_one()

    def run(self, at: dict[float, Callable[[], None]]) -> None:
        """Jumps from instant to instant until the replay is finished."""
        replay = self.trial.replay
        replay.prepare_ahead()
        replay.start(START_NS, self)
        happenings = sorted((START_NS + round(when * 1e9), act) for when, act in at.items())
        for _ in range(100_000):
            if replay.finished:
                self.trial.ended_s = (self.now_ns - START_NS) / 1e9
                return
            instants = [self.now_ns + BEAT_NS]
            instants += [due_ns] if (due_ns := replay.next_due_ns) is not None else []
            instants += [self.flights[0][0]] if self.flights else []
            instants += [happenings[0][0]] if happenings else []
            self.now_ns = max(self.now_ns, min(instants))
            while happenings and happenings[0][0] <= self.now_ns:
                happenings.pop(0)[1]()
            while self.flights and self.flights[0][0] <= self.now_ns:
                self.end_one()
            replay.release(self.now_ns)
            replay.look_ahead(self.now_ns)
            while replay.prepare():
                pass
            if replay.abort_at_ns is not None and self.now_ns >= replay.abort_at_ns:
                self.abort()
        raise AssertionError("the replay never finishes")


class Recorder:
    def __init__(self, trial: list[Trial]) -> None:
        self._trial = trial

    def add(self, exchange: Exchange) -> None:
        self._trial[0].records.append(exchange)


def assert_balanced(trial: Trial) -> None:
    """Every turn that came due has one record, and the counters agree with the records."""
    counters = trial.replay.counters
    outcomes = trial.outcomes
    indices = [exchange.index for exchange in trial.records]
    assert len(indices) == len(set(indices)) == counters.due
    assert counters.ok == outcomes[Outcome.OK]
    assert counters.failed == outcomes[Outcome.FAILED] == sum(counters.failed_by_class.values())
    assert (counters.dropped, counters.aborted) == (
        outcomes[Outcome.DROPPED],
        outcomes[Outcome.ABORTED],
    )
    assert counters.running == 0
    assert all(e.error_class for e in trial.records if e.outcome is not Outcome.OK)
    assert all(e.error_class is None for e in trial.records if e.outcome is Outcome.OK)


@pytest.fixture(scope="session")
def replayed() -> Callable[..., Trial]:
    """Runs sessions to their end: `replayed(sessions, Pace(...), service_s=..., at={1.5: f})`.

    `at` are functions of the trial's transport to call at instants, in seconds from the start.
    """

    def run(
        sessions: Sequence[Session],
        pace: Pace,
        *,
        service_s: float | Callable[[int], float] = 0.5,
        fails: set[int] | None = None,
        prompts: dict[int, Prompt] | None = None,
        at: dict[float, Callable[[Any], None]] | None = None,
    ) -> Trial:
        workload = FixedSessions(sessions, prompts or {})
        box: list[Trial] = []

        def render(turn: Turn, prompt: Prompt, request_id: str, session: int) -> bytes:
            assert request_id == f"tag-{turn.index}"
            box[0].prompts[turn.index] = prompt
            return b"request"

        trial = Trial(Replay(workload, pace, render, Recorder(box), run_tag="tag"), workload)
        box.append(trial)
        serve = service_s if callable(service_s) else lambda _: service_s
        transport = VirtualTransport(trial, serve, fails or set())
        happenings = {when: (lambda act=act: act(transport)) for when, act in (at or {}).items()}
        transport.run(happenings)
        assert_balanced(trial)
        return trial

    return run
