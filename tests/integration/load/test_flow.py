"""Streams in flow are read in rounds, and what is said of them is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from bench.load.connection import Connection
from bench.load.flow import EVENTS_BEFORE_END, LEAST_CONNECTIONS, LEAST_EVENTS, Flow
from bench.load.pace import Pace
from bench.model import Outcome
from bench.sim.config import SimConfig
from bench.sim.process import SimProcess, running_sim

Replayed = Callable[..., Any]

STREAMS = LEAST_CONNECTIONS
STEP_S = 0.012
TOKENS = 40


@pytest.fixture(scope="module")
def steady() -> Iterator[SimProcess]:
    """A server with a step every 12 ms."""
    config = SimConfig(port=0, step_s=STEP_S, prefill_token_s=0, decode_seq_s=0, kv_blocks=65_536)
    with running_sim(config) as server:
        yield server


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """+1 for each time a stream goes into the flow, -1 when it leaves."""
    seen: list[int] = []
    move = Flow._move

    def told(flow: Flow, connection: Connection, epoll: Any, more: int) -> None:
        seen.append(more)
        move(flow, connection, epoll, more)
        assert flow.streams == sum(seen)

    monkeypatch.setattr(Flow, "_move", told)
    return seen


def test_a_steady_stream_is_in_flow(
    replayed: Replayed, steady: SimProcess, moves: list[int]
) -> None:
    """Each goes in and comes out, and every token has its own time."""
    pace = Pace(concurrency=STREAMS)
    trial = replayed("wire", steady.url, STREAMS, output_tokens=TOKENS, pace=pace)
    assert moves.count(1) == moves.count(-1) > 0
    for exchange in trial.exchanges:
        assert (exchange.outcome, sum(exchange.tokens)) == (Outcome.OK, TOKENS)
        assert all(earlier <= later for earlier, later in pairwise(exchange.arrival_ns))


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [
        ("reset_mid_body:after=20", "disconnected_mid_body"),
        ("early_end:after=20", "truncated"),
        ("error_event:after=20", "error_in_answer"),
    ],
)
def test_what_ends_a_stream_in_flow_is_met(
    replayed: Replayed,
    steady: SimProcess,
    moves: list[int],
    fault: str,
    error_class: str,
) -> None:
    """It has the same class and as many tokens as anywhere, and the flow is empty behind it."""
    pace, headers = Pace(concurrency=STREAMS), {"x-sim-fault": fault}
    trial = replayed("wire", steady.url, STREAMS, output_tokens=TOKENS, pace=pace, headers=headers)
    assert trial.counters.failed_by_class == {error_class: STREAMS}
    assert {sum(exchange.tokens) for exchange in trial.exchanges} == {20}
    assert moves
    assert sum(moves) == 0


@pytest.mark.parametrize(
    ("streams", "fields"),
    [
        pytest.param(STREAMS - 1, {}, id="few streams"),
        pytest.param(STREAMS, {"output_tokens": None}, id="length not known"),
        pytest.param(STREAMS, {"output_tokens": LEAST_EVENTS + EVENTS_BEFORE_END}, id="short"),
    ],
)
def test_others_are_read_at_once(
    replayed: Replayed,
    steady: SimProcess,
    moves: list[int],
    streams: int,
    fields: dict[str, Any],
) -> None:
    """None goes into the flow where it would save nothing or the end can't be foreseen."""
    pace = Pace(concurrency=streams)
    asked = {"output_tokens": TOKENS} | fields
    trial = replayed("wire", steady.url, streams, pace=pace, **asked)
    assert {exchange.outcome for exchange in trial.exchanges} == {Outcome.OK}
    assert moves == []
