"""A flight gathers bytes and their times, and decodes them without losing either."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from itertools import pairwise
from unittest.mock import patch

import pytest

from bench.load import body as body_module
from bench.load.dialects.answer import Answer
from bench.load.flight import Flight
from bench.model import Exchange, Outcome, Timeouts, Turn

Received = Callable[..., Exchange]

READ_NS = 1_000_000
S = 1_000_000_000


def event(text: str) -> bytes:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n'.encode()


FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = [event("a"), event("b"), event("ü"), FINISH, DONE]


def waiting(output_tokens: int | None = None, streamed: bool = True) -> Flight:
    """A flight that was sent at 0 and whose head has come at 1 s."""
    flight = Flight(Turn(0, None, None, None, output_tokens), 0, 0, "r")
    flight.status, flight.first_byte_ns, flight.last_read_ns = 200, S, S
    flight.on_header(b"Content-Type", b"text/event-stream" if streamed else b"application/json")
    return flight


def take(flight: Flight, piece: bytes, at_ns: int) -> None:
    flight.last_read_ns = at_ns
    flight.on_body(piece)
    flight.body.mark(at_ns, at_ns - 1)


# -- times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("decode_each", [True, False])
def test_each_event_has_the_time_of_the_read_that_completed_it(
    received: Received, decode_each: bool
) -> None:
    """Events are cut and joined over reads; late decoding gives the same times."""
    whole = b"".join(STREAM)
    cuts = [0, 5, len(STREAM[0]), len(STREAM[0]) + len(STREAM[1]) + 9, len(whole)]
    reads = [whole[low:high] for low, high in pairwise(cuts)]
    got = received(reads, decode_each=decode_each)
    assert list(got.arrival_ns) == [2 * READ_NS, 3 * READ_NS, 4 * READ_NS]
    assert got.outcome is Outcome.OK


@pytest.mark.parametrize("decode_each", [True, False])
def test_a_read_may_have_several_pieces(received: Received, decode_each: bool) -> None:
    """The HTTP parser gives one piece for each chunk; their read's time is one."""
    reads = [[STREAM[0][:7], STREAM[0][7:], STREAM[1]], [STREAM[2], FINISH, DONE]]
    got = received(reads, decode_each=decode_each)
    assert list(got.arrival_ns) == [READ_NS, READ_NS, 2 * READ_NS]
    assert got.body_bytes == sum(map(len, STREAM))


def test_events_of_the_common_form_are_taken_together(received: Received) -> None:
    """Once the form is known, several events of it are decoded as one, each with its own time."""
    flight = waiting()
    for number, content in enumerate("abcd", 2):
        take(flight, event(content), number * S)
        flight.decode() if number == 2 else None
    assert flight.body.decode()
    assert flight.answer.events == 4
    assert list(flight.answer.account().arrival_ns) == [2 * S, 3 * S, 4 * S, 5 * S]
    assert flight.body.size_bytes == sum(len(event(content)) for content in "abcd")


@pytest.mark.parametrize("text", ["\\n", '\\"', "\\\\", "\\u4f60"])
def test_an_escape_in_the_text_is_of_the_common_form(text: str) -> None:
    """Code and JSON are full of them."""
    flight = waiting()
    flight.answer.text = []
    for number, piece in enumerate((event("a"), event("b"), event(text)), 2):
        take(flight, piece, number * S)
        flight.decode() if number == 2 else None
    with patch.object(Answer, "feed", side_effect=AssertionError("parsed")):
        assert flight.body.decode()
    assert "".join(flight.answer.text) == json.loads(f'"ab{text}"')


def test_reads_of_several_chunks_are_taken_together_too() -> None:
    """A client that has fallen behind meets them, and has no time to parse each."""
    flight = waiting()
    take(flight, event("a"), 2 * S)
    flight.decode()
    for number in (3, 4):
        flight.on_body(event("b"))
        take(flight, event("c"), number * S)
    with patch.object(Answer, "feed", side_effect=AssertionError("parsed")):
        assert flight.body.decode()
    assert list(flight.answer.account().arrival_ns) == [2 * S, 3 * S, 3 * S, 4 * S, 4 * S]


@pytest.mark.parametrize(
    "odd",
    [
        event(""),
        event('"'),
        event("\\"),
        event("\\x"),
        event("\\ud83d"),
        event("a") * 2,
        event("a")[:-1],
        b": ping\n\n",
    ],
)
def test_an_event_of_another_form_is_read_by_itself(odd: bytes) -> None:
    """What is not exactly the known form, or not one a piece, is decoded in full."""
    flight = waiting()
    for number, piece in enumerate((event("a"), event("b"), odd), 2):
        take(flight, piece, number * S)
        flight.decode() if number == 2 else None
    assert not flight.body.decode()


def test_two_broken_strings_are_no_whole_one() -> None:
    """A backslash at the end of one text escapes its own quote, not the next text's start."""
    flight = waiting()
    for number, piece in enumerate((event("a"), event("b\\"), event('"c')), 2):
        take(flight, piece, number * S)
        flight.decode() if number == 2 else None
    flight.decode()
    assert flight.answer.malformed is not None


def test_a_first_token_in_a_shared_read_may_be_uncertain(received: Received) -> None:
    """Its time is uncertain when others came with it and the interval is wider than 1 ms."""
    flight = waiting()
    flight.on_body(STREAM[0] + STREAM[1])
    flight.body.mark(3 * S, 3 * S - 1_000_001)
    assert not received([b"".join(STREAM)]).uncertain_first
    account = flight.answer
    flight.decode()
    got = account.account()
    assert (got.first_read_shared, got.first_low_ns) == (True, 3 * S - 1_000_001)


# -- content encoding ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "deflate"])
def test_an_encoded_stream_keeps_its_times(received: Received, name: str) -> None:
    """A compressed stream, flushed at each event, reads as the plain one; cut in any place."""
    squeeze = zlib.compressobj(wbits=15 if name == "deflate" else 31)
    reads = [squeeze.compress(part) + squeeze.flush(zlib.Z_SYNC_FLUSH) for part in STREAM]
    reads[-1] += squeeze.flush()
    plain = received(STREAM)
    got = received(reads, headers={"Content-Encoding": name})
    assert list(got.arrival_ns) == list(plain.arrival_ns)
    assert (got.outcome, got.body_bytes) == (Outcome.OK, plain.body_bytes)
    got = received([read[:3] for read in reads[:1]] + [reads[0][3:], *reads[1:]],
                   headers={"Content-Encoding": name})  # fmt: skip
    assert list(got.tokens) == [1, 1, 1]


def test_identity_is_no_encoding(received: Received) -> None:
    """Some gateways write it out; the fast way of plain events stays open."""
    got = received(STREAM, headers={"Content-Encoding": "identity"})
    assert (got.outcome, list(got.tokens)) == (Outcome.OK, [1, 1, 1])
    plain = received([b"no"], status=503, headers={"Content-Encoding": "Identity"})
    assert (plain.error_class, plain.error_text) == ("http_503", "no")


def test_an_encoding_that_is_unknown_or_broken(received: Received) -> None:
    """Both are the same class, for streams and for error pages."""
    assert received(STREAM, headers={"Content-Encoding": "br"}).error_class == "bad_encoding"
    assert received(STREAM, headers={"Content-Encoding": "gzip"}).error_class == "bad_encoding"
    page = received([b"<html>"], status=502, headers={"Content-Encoding": "gzip"})
    assert page.error_class == "bad_encoding"


def test_an_error_page_may_be_compressed(received: Received) -> None:
    """Its text is readable in the record."""
    page = received([gzip.compress(b"try later")], status=503, headers={"Content-Encoding": "gzip"})
    assert (page.error_class, page.error_text) == ("http_503", "try later")


def test_a_bomb_is_not_unpacked(received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    """What inflates beyond the limit fails the request instead of filling the memory."""
    monkeypatch.setattr(body_module, "LARGEST_BYTES", 1000)
    bomb = gzip.compress(b"data: " + b" " * 100_000)
    assert received([bomb], headers={"Content-Encoding": "gzip"}).error_class == "runs_on"


# -- size ------------------------------------------------------------------------------------


def test_a_long_event_in_many_reads_is_joined_once(received: Received) -> None:
    """Ten million bytes in 64 KiB reads are one event, complete with the last of them."""
    body = event("x" * 10_000_000)
    reads = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
    got = received([*reads, FINISH])
    assert list(got.arrival_ns) == [len(reads) * READ_NS]
    assert got.body_bytes == len(body) + len(FINISH)


def test_an_event_without_end_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event, or a body that is no stream, may not grow for ever."""
    monkeypatch.setattr(body_module, "LARGEST_BYTES", 1000)
    for streamed in (True, False):
        flight = waiting(streamed=streamed)
        for _ in range(11):
            assert flight.runs_on is None
            take(flight, b"data: " + b"x" * 94, 2 * S)
            flight.decode()
        assert "over 1000 bytes" in str(flight.runs_on)


def test_an_answer_past_twice_its_length_runs_on() -> None:
    """Events are counted against what was asked for, with room for short ones."""
    flight = waiting(output_tokens=10)
    for number in range(277):
        assert flight.runs_on is None
        take(flight, event(str(number)), 2 * S)
        flight.decode()
    assert "277 events after 10 tokens" in str(flight.runs_on)
    unlimited = waiting()
    take(unlimited, event("a") * 3000, 2 * S)
    unlimited.decode()
    assert unlimited.runs_on is None


# -- time limits -----------------------------------------------------------------------------

LIMITS = Timeouts(connect_s=1, first_byte_s=5, idle_s=2, total_s=20)


def overdue(flight: Flight, at_s: float, connecting_since_s: float | None = None) -> str | None:
    since_ns = None if connecting_since_s is None else round(connecting_since_s * S)
    found = flight.overdue(LIMITS, round(at_s * S), since_ns)
    return found and found[0]


def test_the_limit_to_connect_counts_from_the_attempt() -> None:
    """It is passed 1 s after the connection was begun, whenever the flight was."""
    flight = Flight(Turn(0, None, None, None, None), 0, 0, "")
    assert overdue(flight, 1.5, connecting_since_s=0.5) is None
    assert overdue(flight, 1.6, connecting_since_s=0.5) == "connect_timeout"


def test_the_limit_of_the_first_byte_counts_from_the_start() -> None:
    """Nothing has come within 5 s."""
    flight = Flight(Turn(0, None, None, None, None), 0, 0, "")
    assert overdue(flight, 5) is None
    assert overdue(flight, 5.1) == "first_byte_timeout"


def test_a_head_and_comments_are_no_event() -> None:
    """A server may answer 200 at once and then queue, telling so in comments."""
    flight = waiting()
    take(flight, b": ping\n\n", 4 * S)
    assert overdue(flight, 4.5) is None
    assert overdue(flight, 5.1) == "first_byte_timeout"


def test_the_idle_limit_counts_from_the_last_event() -> None:
    """Comments do not put it off; an event does, also one that is not decoded yet."""
    flight = waiting()
    take(flight, event("a"), 3 * S)
    take(flight, b": ping\n\n", 4 * S)
    assert overdue(flight, 5) is None
    assert overdue(flight, 5.1) == "idle_timeout"
    take(flight, event("b"), 5 * S)
    assert overdue(flight, 7) is None


def test_the_idle_limit_of_a_whole_body_counts_from_the_last_read() -> None:
    """There are no events to count from."""
    flight = waiting(streamed=False)
    take(flight, b"{", 2 * S)
    assert overdue(flight, 4) is None
    assert overdue(flight, 4.1) == "idle_timeout"


def test_the_total_limit_wins() -> None:
    """A stream that never pauses is over after 20 s."""
    flight = waiting()
    for second in range(2, 21):
        take(flight, event("a"), second * S)
        flight.decode()
        assert overdue(flight, second) is None
    assert overdue(flight, 20.1) == "total_timeout"
