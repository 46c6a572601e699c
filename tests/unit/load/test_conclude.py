"""A finished flight is judged by its status, its form and its end; what came is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from bench.load.conclude import conclude, retry_after_s, unsent
from bench.load.flight import Flight
from bench.model import Exchange, Outcome, Phase, Turn

Received = Callable[..., Exchange]

READ_NS = 1_000_000
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 408, 413, 422, 429, 499, 500, 502, 503, 504]
)
def test_a_status_is_its_own_class(received: Received, status: int) -> None:
    """The body, whatever it is, is kept as text."""
    got = received([b"<html>no</html>"], status=status, headers={"Content-Type": "text/html"})
    assert (got.outcome, got.error_class, got.status) == (Outcome.FAILED, f"http_{status}", status)
    assert got.error_text == "<html>no</html>"


def test_a_status_wins_over_a_stream(received: Received) -> None:
    """An error status with the type of an event stream is not read as one."""
    assert received([EVENT, DONE], status=500).error_class == "http_500"


def test_a_redirect_is_not_followed(received: Received) -> None:
    """Any 3xx is a class of its own."""
    assert received([b""], status=307).error_class == "redirect"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/html", b"<html>"), ("text/plain", b"ok"), ("application/json", b"{"),
     ("application/json", b"[1]")],
)  # fmt: skip
def test_a_body_that_is_no_answer(received: Received, content_type: str, body: bytes) -> None:
    """Status 200 is not enough."""
    got = received([body], headers={"Content-Type": content_type})
    assert (got.error_class, got.error_text) == ("not_json", body.decode())


def test_json_is_json_whatever_its_type(received: Received) -> None:
    """A server that mistypes a whole answer is understood."""
    answer = {"choices": [{"message": {"content": "a"}}], "usage": {"completion_tokens": 1}}
    got = received([json.dumps(answer).encode()], headers={"Content-Type": "text/plain"})
    assert (got.outcome, got.output_tokens) == (Outcome.OK, 1)


@pytest.mark.parametrize(
    "end", [[FINISH, DONE], [FINISH], [DONE], [FINISH.rstrip()], [FINISH, b"data: [DONE]"]]
)
def test_a_finish_reason_or_done_ends_an_answer(received: Received, end: list[bytes]) -> None:
    """One of them is enough, with or without the last blank line."""
    assert received([EVENT, *end]).outcome is Outcome.OK


@pytest.mark.parametrize("end", [[], [EVENT[:3]], [EVENT[:6]], [EVENT[:20]], [EVENT[:-3]]])
def test_an_end_without_either_is_truncated(received: Received, end: list[bytes]) -> None:
    """The body was complete as HTTP has it and the answer was not, wherever it was cut."""
    got = received([EVENT, *end])
    assert got.error_class == "truncated"
    assert got.first_ns == READ_NS


@pytest.mark.parametrize("tail", [b"Engine callback timeout.\n\n", b"Engine callback timeout."])
def test_plain_text_in_a_stream_is_an_error(received: Received, tail: bytes) -> None:
    """MindIE tells its timeouts so; tokens of the same read are kept."""
    got = received([EVENT + EVENT + tail])
    assert (got.error_class, got.error_text) == ("error_in_answer", "Engine callback timeout.")
    assert len(got.arrival_ns) == 2


def test_nothing_is_read_behind_plain_text(received: Received) -> None:
    """What follows an error is not an answer."""
    got = received([EVENT, b"Failed to get engine response\n\n", EVENT, DONE])
    assert (got.error_class, len(got.arrival_ns)) == ("error_in_answer", 1)


@pytest.mark.parametrize("reads", [[], [DONE], [FINISH, DONE], [b": ping\n\n", DONE]])
def test_an_answer_without_a_token_is_empty(received: Received, reads: list[bytes]) -> None:
    """It ended well and holds nothing to measure; without any end it is truncated."""
    assert received(reads).error_class == ("empty" if reads else "truncated")


def flight_of(*reads: bytes) -> Flight:
    flight = Flight(Turn(5, None, 1.0, 10, 20, Phase.WARMUP), 2, 1, "r")
    flight.status = 200
    flight.on_header(b"content-type", b"text/event-stream")
    for number, read in enumerate(reads, 1):
        flight.on_body(read)
        flight.body.mark(number * READ_NS, 0)
    return flight


def test_tokens_before_a_fault_are_kept() -> None:
    """A connection that broke in the body leaves its tokens and their times in the record."""
    flight = flight_of(EVENT, EVENT, EVENT[:9])
    flight.fail("disconnected_mid_body", "reset")
    got = conclude(flight)
    assert (got.outcome, got.error_class) == (Outcome.FAILED, "disconnected_mid_body")
    assert list(got.arrival_ns) == [READ_NS, 2 * READ_NS]
    assert got.body_bytes == 2 * len(EVENT) + 9


def test_a_flight_that_was_cut_is_aborted_not_failed() -> None:
    """The run ended before it did: no fault of the server's."""
    flight = flight_of(EVENT)
    flight.aborted = True
    got = conclude(flight)
    assert (got.outcome, got.error_class, got.first_ns) == (Outcome.ABORTED, "cut", READ_NS)


def test_the_first_reason_stays() -> None:
    """What follows from a fault is not another one."""
    flight = flight_of(EVENT)
    flight.fail("idle_timeout", "nothing for 2 s")
    flight.fail("disconnected_mid_body", "closed")
    assert conclude(flight).error_class == "idle_timeout"


def test_without_a_status_nothing_was_answered() -> None:
    """An end that no one explained is not a success."""
    got = conclude(Flight(Turn(0, None, None, None, None), 0, 0, ""))
    assert (got.outcome, got.error_class) == (Outcome.FAILED, "disconnected")


def test_an_unsent_request_has_a_record() -> None:
    """It says which turn it was, when and why it was not sent, and nothing of times."""
    flight = flight_of()
    flight.worker = 3
    got = unsent(flight, Outcome.DROPPED, "no_room", 77)
    assert (got.index, got.session, got.turn, got.worker) == (5, 2, 1, 3)
    assert (got.phase, got.outcome, got.error_class) == (Phase.WARMUP, Outcome.DROPPED, "no_room")
    assert (got.intended_ns, got.sent_ns, got.planned_output_tokens) == (77, None, 20)


def test_a_long_error_text_is_cut(received: Received) -> None:
    """A page of megabytes does not get into the record."""
    got = received([b"x" * 1_000_000], status=500)
    assert got.error_text == "x" * 512


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), (b"2", 2.0), (b" 120 ", 120.0), (b"soon", None), (b"-1", None), (b"nan", None),
     (b"inf", None), (b"1.5", None), (b"Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after(value: bytes | None, seconds: float | None) -> None:
    """A whole number of seconds, or a date that may be over; anything else is unknown."""
    assert retry_after_s(value) == seconds


def test_retry_after_a_date() -> None:
    """A date in the future is so many seconds from now."""
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    found = retry_after_s(in_an_hour.encode())
    assert found is not None
    assert 3590 < found <= 3600


def test_retry_after_is_recorded(received: Received) -> None:
    """It stands in the exchange of the refused request."""
    got = received([b""], status=429, headers={"Retry-After": "7"})
    assert (got.error_class, got.retry_after_s) == ("http_429", 7.0)
