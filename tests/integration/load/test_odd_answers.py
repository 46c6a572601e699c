"""Answers that end oddly, run on or are stopped; connections kept, dropped and aborted."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bench.load.pace import Pace
from bench.model import Outcome, RequestStyle, Timeouts

Replayed = Callable[..., Any]


# -- HTTP ------------------------------------------------------------------------------------


def body_until_close(version: bytes, sound: bytes) -> bytes:
    """The sound stream without framing: the end of the connection ends it."""
    parts = sound.partition(b"\r\n\r\n")[2].split(b"\r\n")
    return b"HTTP/%b 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" % version + b"".join(
        parts[1::2]
    )


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_that_ends_with_its_connection(
    replayed: Replayed, serving: Any, sound: bytes, transport: str, version: bytes
) -> None:
    """Without a length or chunks the close is the end (RFC 9112, 6.3)."""

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(body_until_close(version, sound))

    with serving(script) as server:
        trial = replayed(transport, server.url, 2)
    assert (trial.counters.ok, server.connections) == (2, 2)
    assert trial.exchanges[0].output_tokens == 2


@pytest.mark.parametrize("together", [True, False])
def test_interim_answers_are_passed_over(
    replayed: Replayed, serving: Any, sound: bytes, transport: str, together: bool
) -> None:
    """100 Continue and 103 Early Hints come before the answer and are not it."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    half = interim.index(b"103")

    def script(peer: Any) -> None:
        for _ in range(2):
            peer.read_request()
            for part in [interim + sound] if together else [interim[:half], interim[half:], sound]:
                peer.send(part)

    with serving(script) as server:
        trial = replayed(transport, server.url, 2)
    assert [exchange.status for exchange in trial.exchanges] == [200, 200]
    assert (trial.counters.ok, server.connections) == (2, 1)


@pytest.mark.parametrize(
    "answer",
    [b"\x15\x03\x01\x00\x02", b"HTTP/3.9 twohundred\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    ids=["not HTTP", "no status", "no chunk"],
)  # fmt: skip
def test_bytes_that_are_not_http(
    replayed: Replayed, serving: Any, transport: str, answer: bytes
) -> None:
    """A server of another protocol, or one that is broken, is named as that."""

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(answer)
        peer.until_closed()

    with serving(script) as server:
        trial = replayed(transport, server.url)
    assert trial.one.error_class == "malformed_http"


def response(content_type: str, body: bytes, *headers: str) -> bytes:
    """A whole answer of status 200."""
    head = ["HTTP/1.1 200 OK", f"Content-Type: {content_type}", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


@pytest.mark.parametrize("name", ["gzip", "br"])
def test_a_body_that_is_not_what_its_encoding_says(
    replayed: Replayed, serving: Any, transport: str, name: str
) -> None:
    """Plain bytes under gzip, and an encoding that was never asked for."""

    def script(peer: Any) -> None:
        while True:
            peer.read_request()
            peer.send(response("text/event-stream", b"data: {}\n\n", f"Content-Encoding: {name}"))

    with serving(script) as server:
        trial = replayed(transport, server.url, 2)
    assert trial.classes == ["bad_encoding"] * 2


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_page_where_an_answer_should_be(
    replayed: Replayed, serving: Any, transport: str, kind: str
) -> None:
    """A portal or a proxy answers 200 with its own page; the page's text is kept."""

    def script(peer: Any) -> None:
        while True:
            peer.read_request()
            peer.send(response(kind, b"<html><h1>Welcome</h1></html>"))

    with serving(script) as server:
        trial = replayed(transport, server.url, 2)
    assert trial.classes == ["not_json"] * 2
    assert "Welcome" in trial.exchanges[0].error_text


def test_bytes_behind_a_whole_answer(
    replayed: Replayed, serving: Any, sound: bytes, transport: str
) -> None:
    """A server that is out of step with its own framing is not believed."""

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(sound + b"and more")
        peer.until_closed()

    with serving(script) as server:
        trial = replayed(transport, server.url, 2)
    assert trial.classes == ["malformed_http", "malformed_http"]
    assert server.connections == 2


def test_an_answer_before_the_request_is_read(
    replayed: Replayed, serving: Any, transport: str
) -> None:
    """413 to a large body, then the connection is closed: the status is the class."""

    def script(peer: Any) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        peer.sock.shutdown(socket.SHUT_WR)
        peer.until_closed()

    with serving(script) as server:
        trial = replayed(transport, server.url, 2, text="x" * 20_000_000)
    assert trial.classes == ["http_413", "http_413"]
    assert server.connections == 2


def test_a_slow_reader_holds_its_own_request_back_and_no_other(
    replayed: Replayed, serving: Any, sound: bytes, transport: str
) -> None:
    """A request that the server does not read is sent when it does; others are answered before."""
    others = threading.Semaphore(0)
    size = 12_000_000

    def script(peer: Any) -> None:
        headers, rest = peer.read_head()
        held_back = headers["x-request-id"] == "t-0"
        for _ in range(2 if held_back else 0):
            assert others.acquire(timeout=20)
        peer.read_body(headers, rest)
        peer.send(sound)
        if not held_back:
            others.release()
        peer.until_closed()

    with serving(script) as server:
        trial = replayed(transport, server.url, 3, text="x" * size, pace=Pace(concurrency=3))
    assert trial.counters.ok == 3
    first, *rest = trial.exchanges
    assert first.request_bytes > size
    assert first.sent_ns > max(other.sent_ns for other in rest)
    assert first.headers_ns >= first.sent_ns


# -- long and slow answers -------------------------------------------------------------------


def test_comments_do_not_keep_a_dead_stream_alive(
    replayed: Replayed, serving: Any, transport: str
) -> None:
    """llama-cpp-python sends pings for ever when it hangs: the idle limit is between events."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    gone = threading.Event()

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(head + event)
        while not gone.wait(0.02):
            peer.send(b": ping\n\n")

    limits = Timeouts(connect_s=5, first_byte_s=20, idle_s=0.3, total_s=20)
    with serving(script) as server:
        try:
            trial = replayed(transport, server.url, timeouts=limits)
        finally:
            gone.set()
    assert (trial.one.error_class, trial.one.output_tokens) == ("idle_timeout", 1)


def test_the_whole_has_a_limit(replayed: Replayed, serving: Any, transport: str) -> None:
    """A stream that never pauses and never ends is over after `total_s`."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    gone = threading.Event()

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(head)
        while not gone.wait(0.01):
            peer.send(event)

    limits = Timeouts(connect_s=5, first_byte_s=5, idle_s=5, total_s=0.5)
    with serving(script) as server:
        try:
            trial = replayed(transport, server.url, timeouts=limits)
        finally:
            gone.set()
    assert trial.one.error_class == "total_timeout"
    assert trial.one.output_tokens >= 2


def test_a_body_without_end_runs_on(
    replayed: Replayed, serving: Any, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that is no stream is not collected for ever."""
    monkeypatch.setattr("bench.load.body.LARGEST_BYTES", 1_000_000)

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            peer.send(b"x" * 65_536)

    with serving(script) as server:
        trial = replayed(transport, server.url)
    assert trial.one.error_class == "runs_on"


def test_a_stop_in_the_middle(replayed: Replayed, serving: Any, transport: str) -> None:
    """What does not end within the drain is cut, with its tokens kept."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(head + event)
        peer.until_closed()

    pace = Pace(concurrency=3, ramp_s=0, duration_s=0.2, drain_s=0.2)
    with serving(script) as server:
        trial = replayed(transport, server.url, 100, pace=pace)
    assert trial.classes == ["cut"] * 3
    assert all(exchange.outcome is Outcome.ABORTED for exchange in trial.exchanges)
    assert all(exchange.output_tokens == 1 for exchange in trial.exchanges)


# -- load ------------------------------------------------------------------------------------


def test_many_at_once(replayed: Replayed, sim: Any, transport: str) -> None:
    """A hundred slots, four hundred requests: all good, over a hundred connections."""
    trial = replayed(transport, sim.url, 400, pace=Pace(concurrency=100))
    assert trial.counters.ok == 400
    assert trial.connections <= 100
    assert all(exchange.output_tokens == 6 for exchange in trial.exchanges)


def test_warm_connections_are_used(replayed: Replayed, sim: Any) -> None:
    """Four requests due at one instant find four open connections."""
    trial = replayed("wire", sim.url, 4, pace=Pace(), at_s=lambda _: 0.0, warm=4)
    assert (trial.counters.ok, trial.connections) == (4, 0)


def test_idle_connections_are_dropped_before_a_server_does(
    replayed: Replayed, sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that closes what has been idle for 5 s never meets a request on it."""
    monkeypatch.setattr("bench.load.pool.KEEP_IDLE_NS", 0)
    trial = replayed("wire", sim.url, 2, pace=Pace(), at_s=lambda index: index * 0.4)
    assert (trial.counters.ok, trial.counters.reconnects, trial.connections) == (2, 0, 2)


def test_a_clock_step_is_counted(
    replayed: Replayed, sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernel times are wall-clock: a run in which that was set is known."""
    assert replayed("wire", sim.url).counters.clock_steps == 0
    monkeypatch.setattr("bench.load.clock.ClockPair.refresh", lambda pair: True)
    assert replayed("wire", sim.url).counters.clock_steps > 0


def test_an_answer_that_is_not_streamed(replayed: Replayed, sim: Any, transport: str) -> None:
    """Asked for without a stream: counts are there, token times are unknown."""
    trial = replayed(transport, sim.url, 2, style=RequestStyle(stream=False))
    assert trial.counters.ok == 2
    assert (trial.exchanges[0].output_tokens, trial.exchanges[0].first_ns) == (6, None)


def test_a_bug_ends_the_run_instead_of_hanging(
    replayed: Replayed, sim: Any, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception where it should not be reaches the caller."""

    def broken(flight: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr("bench.load.replay.conclude", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        replayed(transport, sim.url)


def test_an_abort_of_what_has_not_begun(replayed: Replayed, sim: Any, transport: str) -> None:
    """Cut in the same instant in which it was sent, a request is still accounted for."""

    async def cut(replay: Any) -> None:
        while not replay.counters.sent:
            await asyncio.sleep(0)
        replay.stop(0)

    trial = replayed(
        transport, sim.url, 5, pace=Pace(concurrency=5, ramp_s=0, drain_s=0), beside=cut
    )
    assert trial.counters.due == trial.counters.ok + trial.counters.aborted
