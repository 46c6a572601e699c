"""Which streams are in flow, and how long."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from bench.load.flight import UNPARSED_READS, Flight
from bench.load.flow import (
    EVENTS_BEFORE_END,
    LEAST_CONNECTIONS,
    LEAST_EVENTS,
    LEAST_INTERVAL_NS,
    ROUND_NS,
    Flow,
)
from bench.model import Turn

ASKED = 100


class Socket(SimpleNamespace):
    """The part of a connection that moves between epoll sets."""

    def watch_in(self, epoll: select.epoll) -> None:
        self.epoll.unregister(self.fd)
        self.epoll = epoll
        epoll.register(self.fd, select.EPOLLIN)


@pytest.fixture
def urgent() -> Iterator[select.epoll]:
    with select.epoll() as epoll:
        yield epoll


@pytest.fixture
def flow(urgent: select.epoll) -> Iterator[Flow]:
    flow = Flow(urgent)
    yield flow
    flow.close()


@pytest.fixture
def connection(urgent: select.epoll) -> Iterator[Any]:
    """One in the urgent set, with something to read."""
    near, far = socket.socketpair()
    with near, far:
        urgent.register(near.fileno(), select.EPOLLIN)
        far.send(b"x")
        yield Socket(fd=near.fileno(), epoll=urgent, in_flow=False, sending=False)


def flight_with(
    *, events: int, interval_ns: int = LEAST_INTERVAL_NS, asked: int | None = ASKED
) -> Flight:
    """A stream that has had `events`, one a read, `interval_ns` apart."""
    flight = Flight(Turn(0, None, None, 1, asked), 0, 0, "r")
    flight.regular_end = b"\n\n\r\n"
    flight.answer.events = flight.reads = events
    flight.first_byte_ns, flight.last_read_ns = 0, interval_ns * (events - 1)
    return flight


def test_a_stream_far_from_its_end_goes_in(flow: Flow, connection: Any, urgent: Any) -> None:
    """Its socket wakes no one any more, and is found by the next round."""
    flow.settle(connection, flight_with(events=4), LEAST_CONNECTIONS)
    assert (flow.streams, connection.in_flow) == (1, True)
    assert urgent.poll(0) == []
    assert [fd for fd, _ in flow.poll()] == [connection.fd]


@pytest.mark.parametrize(
    ("fields", "connections"),
    [
        pytest.param({"events": 4}, LEAST_CONNECTIONS - 1, id="few connections"),
        pytest.param({"events": 4, "asked": None}, LEAST_CONNECTIONS, id="length not known"),
        pytest.param(
            {"events": 4, "interval_ns": LEAST_INTERVAL_NS - 1}, LEAST_CONNECTIONS, id="fast"
        ),
        pytest.param(
            {"events": ASKED - LEAST_EVENTS - EVENTS_BEFORE_END + 1}, LEAST_CONNECTIONS, id="near"
        ),
    ],
)
def test_others_stay_out(
    flow: Flow, connection: Any, urgent: Any, fields: dict[str, Any], connections: int
) -> None:
    """Where rounds would save nothing, blur times, or hold up who waits for the end."""
    flow.settle(connection, flight_with(**fields), connections)
    assert (flow.streams, connection.in_flow) == (0, False)
    assert [fd for fd, _ in urgent.poll(0)] == [connection.fd]


def test_a_stream_that_is_not_plain_stays_out(flow: Flow, connection: Any) -> None:
    """Before its form is learnt, or after the form has failed, each read is looked at."""
    flight = flight_with(events=4)
    flight.regular_end = b""
    flow.settle(connection, flight, LEAST_CONNECTIONS)
    assert flow.streams == 0


def test_a_request_that_is_being_sent_stays_out(flow: Flow, connection: Any) -> None:
    """Its socket is watched for room to write, which the flow has no eye for."""
    connection.sending = True
    flow.settle(connection, flight_with(events=4), LEAST_CONNECTIONS)
    assert flow.streams == 0


def test_reads_are_parsed_in_time_to_see_the_end_coming(flow: Flow, connection: Any) -> None:
    """No more are kept than there are before the last events; then the stream leaves."""
    flow.settle(connection, (first := flight_with(events=4)), LEAST_CONNECTIONS)
    assert first.parse_every == UNPARSED_READS
    flow.settle(connection, (late := flight_with(events=ASKED - 10)), LEAST_CONNECTIONS)
    assert late.parse_every == 10 - EVENTS_BEFORE_END
    assert connection.in_flow
    at_end = flight_with(events=ASKED - EVENTS_BEFORE_END)
    flow.settle(connection, at_end, LEAST_CONNECTIONS)
    assert (flow.streams, connection.in_flow) == (0, False)
    assert at_end.parse_every == UNPARSED_READS


def test_counts_of_the_server_tell_the_end_of_events_with_several_tokens(
    flow: Flow, connection: Any
) -> None:
    """With three tokens an event there are fewer events ahead than tokens asked for less events."""
    flight = flight_with(events=33)
    flight.answer.completion_tokens = 99
    flow.settle(connection, flight, LEAST_CONNECTIONS)
    assert flow.streams == 0


def test_a_round_is_due_while_there_are_streams(flow: Flow, connection: Any) -> None:
    """Never for an empty flow; else a millisecond after the last, or half of one early."""
    assert not flow.due(10**18)
    flow.settle(connection, flight_with(events=4), LEAST_CONNECTIONS)
    assert flow.due(10**18)
    flow.poll()
    assert not flow.due(flow._next_ns - ROUND_NS // 2 - 1)
    assert flow.due(flow._next_ns - ROUND_NS // 2)
