"""Each fault as a client sees it on the wire."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.sim.http import SimServer

Served = Callable[..., Any]

BORN = "vllm:generation_tokens_created{"


def answered(
    served: Served, fault: str, config: dict[str, Any] | None = None, **fields: Any
) -> tuple[Any, Any]:
    """The answer to one streamed chat of 6 tokens under a fault, and its truth."""

    async def scenario(server: SimServer, client: Any) -> tuple[Any, Any]:
        answer = await client.chat(fault=fault, **fields)
        while not server.truth:  # written when the server sees its connection closed
            await asyncio.sleep(0)
        return answer, server.truth[0]

    answer, row = served(scenario, **(config or {}))
    assert row.fault == fault.partition(":")[0]
    return answer, row


def contents(answer: Any) -> list[str]:
    """Text of each event that has some."""
    events = [event for event in answer.events if event != "[DONE]" and event.get("choices")]
    return [text for event in events if (text := event["choices"][0]["delta"].get("content"))]


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        ("http_503", 503, "application/json", b'{"error":{"message":"simulated"'),
        ("http_429_string", 429, "application/json", b'{"error":"simulated 429"}'),
        ("http_502_html", 502, "text/html", b"<html>"),
        ("http_500_plain", 500, "text/plain", b"500 simulated"),
    ],
)
def test_statuses(served: Served, fault: str, status: int, content_type: str, body: bytes) -> None:
    """An error status comes with the form of body asked for."""
    answer, row = answered(served, fault)
    assert (answer.status, answer.headers["content-type"]) == (status, content_type)
    assert answer.body.startswith(body)
    assert row.status == status
    assert "retry-after" not in answer.headers


def test_retry_after(served: Served) -> None:
    """Retry-After is sent when the fault names it."""
    answer, _ = answered(served, "http_429:retry_after=2")
    assert answer.headers["retry-after"] == "2"


def test_redirect(served: Served) -> None:
    """A redirect names another path."""
    answer, _ = answered(served, "redirect")
    assert (answer.status, answer.headers["location"]) == (307, "/elsewhere")


@pytest.mark.parametrize(
    ("fault", "received"), [("reset_before_headers", False), ("reset_mid_headers", True)]
)
def test_resets_before_the_body(served: Served, fault: str, received: bool) -> None:
    """The connection is reset, with nothing or a part of the head received."""
    answer, row = answered(served, fault)
    assert (answer.ended, bool(answer.reads), answer.body) == ("reset", received, b"")
    assert (row.status, row.finish) == (None, None)


def test_reset_in_the_body(served: Served) -> None:
    """The connection is reset when `after` tokens have been sent, and the request is aborted."""
    answer, row = answered(served, "reset_mid_body:after=3")
    assert answer.ended == "reset"
    assert len(contents(answer)) == row.output_tokens == 3
    assert row.finish == "abort"


def test_truncated_body(served: Served) -> None:
    """The connection closes in an orderly way inside a chunk: there is no end of the body."""
    answer, row = answered(served, "truncate:after=3")
    assert (answer.ended, row.output_tokens) == ("eof", 3)
    assert answer.body.count(b"\n\n") == 1 + 3
    assert not answer.body.endswith(b"\n\n")


def test_early_end(served: Served) -> None:
    """The body ends properly with neither a finish reason, nor usage, nor [DONE]."""
    answer, row = answered(served, "early_end:after=3")
    assert (answer.ended, len(contents(answer)), row.finish) == ("complete", 3, "abort")
    assert not any("usage" in event for event in answer.events)
    assert answer.events[-1]["choices"][0]["finish_reason"] is None


def test_after_none(served: Served) -> None:
    """`after=0` acts before the first token."""
    answer, _ = answered(served, "early_end:after=0")
    assert (answer.ended, answer.body) == ("complete", b"")


def test_stall(served: Served) -> None:
    """The stream falls silent for the time given, then all the rest comes at once."""
    answer, row = answered(served, "stall:after=3:seconds=0.05")
    assert answer.reads[-1][0] - answer.sent_ns > 50_000_000
    assert answer.reads[-1][1].count(b'"content":" ') == 3
    assert len(contents(answer)) == row.output_tokens == 6
    assert answer.events[-1] == "[DONE]"


def test_stall_until_the_client_leaves(
    served: Served, connect: Callable[..., Any], chat_body: Callable[..., bytes]
) -> None:
    """A stall is over when the client closes; the record has only the tokens that were sent."""

    async def scenario(server: SimServer, client: Any) -> None:
        connection = await connect(server.url)
        asking = asyncio.create_task(
            connection.request(
                "POST", "/v1/chat/completions", chat_body(), x_sim_fault="stall:after=2"
            )
        )
        while server.engines[0].stats.generation_tokens < 6:
            await asyncio.sleep(0)
        while server.engines[0].busy:
            await asyncio.sleep(0)
        await connection.close()
        assert (await asking).ended == "eof"
        while not server.truth:
            await asyncio.sleep(0)
        assert server.truth[0].output_tokens == 2

    served(scenario)


def test_slow_first_byte(served: Served) -> None:
    """Nothing comes before the time given, not even the head."""
    answer, _ = answered(served, "slow_first_byte:seconds=0.05")
    assert answer.reads[0][0] - answer.sent_ns > 50_000_000
    assert len(contents(answer)) == 6


def test_silent_close(served: Served, connect: Any, chat_body: Any) -> None:
    """The answer is complete and promises to keep the connection, which is then closed."""

    async def scenario(server: SimServer, client: Any) -> None:
        for body in (chat_body(), chat_body(stream=False, stream_options=None)):
            connection = await connect(server.url)
            answer = await connection.request(
                "POST", "/v1/chat/completions", body, x_sim_fault="silent_close"
            )
            assert (answer.ended, answer.headers.get("connection")) == ("complete", None)
            await connection.closed

    served(scenario)


def test_ignored_stream(served: Served) -> None:
    """A stream request is answered with one JSON body."""
    answer, _ = answered(served, "ignore_stream")
    assert answer.headers["content-type"] == "application/json"
    assert answer.usage["completion_tokens"] == 6


def test_gzip(served: Served) -> None:
    """The body is one gzip member, flushed at each event."""
    answer, _ = answered(served, "gzip")
    plain, _ = answered(served, "comments")
    assert answer.headers["content-encoding"] == "gzip"
    body = gzip.decompress(answer.body).decode()
    assert body.endswith("data: [DONE]\n\n")
    assert body.count('"content":" ') == len(contents(plain)) == 6
    whole, _ = answered(served, "gzip", stream=False, stream_options=None)
    assert json.loads(gzip.decompress(whole.body))["usage"]["completion_tokens"] == 6


def test_endless(served: Served) -> None:
    """The stream goes on past max_tokens, to the end of the context."""
    answer, row = answered(served, "endless", {"max_model_len": 100}, max_tokens=2)
    assert answer.usage["completion_tokens"] == row.output_tokens == 100 - row.prompt_tokens


def test_no_done(served: Served) -> None:
    """The last event is the usage."""
    answer, _ = answered(served, "no_done")
    assert answer.ended == "complete"
    assert "usage" in answer.events[-1]


def test_text_line(served: Served) -> None:
    """A line that is no event ends the body."""
    answer, _ = answered(served, "text_line:after=2")
    assert answer.body.endswith(b"}\n\nEngine callback timeout.\n\n")
    assert answer.body.count(b'"content":" ') == 2


def test_bad_json(served: Served) -> None:
    """One event's JSON is cut short, the others are whole."""
    answer, row = answered(served, "bad_json:after=2")
    payloads = [line[6:] for line in answer.body.split(b"\n\n") if line]
    broken = []
    for position, payload in enumerate(payloads[:-1]):
        try:
            json.loads(payload)
        except ValueError:
            broken.append(position)
    assert broken == [1 + 2]
    assert row.output_tokens == 6


@pytest.mark.parametrize(
    ("faults", "done"), [("error_event", True), ("error_event, no_done", False)]
)
def test_error_event(served: Served, faults: str, done: bool) -> None:
    """An error object comes inside a 200 stream, followed by [DONE] or by nothing."""

    async def scenario(server: SimServer, client: Any) -> Any:
        return await client.chat(fault=faults)

    answer = served(scenario)
    events = answer.events[:-1] if done else answer.events
    assert answer.status == 200
    assert events[-1]["error"]["code"] == 500
    assert (answer.events[-1] == "[DONE]") is done


def test_huge_event(served: Served) -> None:
    """One event has ten million bytes and is still one event."""
    answer, row = answered(served, "huge_event")
    assert len(answer.body) > 10_000_000
    assert len(contents(answer)) == row.output_tokens == 6


def test_split_characters(served: Served) -> None:
    """Reads end inside UTF-8 characters; together they are whole."""
    answer, _ = answered(served, "split_utf8")

    def torn(read: bytes) -> bool:
        try:
            read.decode()
        except UnicodeDecodeError:
            return True
        return False

    assert sum(torn(read) for _, read in answer.reads) >= 2
    assert len(contents(answer)) == 6
    assert not answer.text.isascii()


def test_empty_first_text(served: Served) -> None:
    """The first token's text is empty; the tokens are still counted."""
    answer, row = answered(served, "empty_text")
    assert answer.events[1]["choices"][0]["delta"]["content"] == ""
    assert answer.usage["completion_tokens"] == row.output_tokens == 6


def test_no_tokens(served: Served) -> None:
    """No token, no text, a finish, a usage of zero; the record says zero too."""
    answer, row = answered(served, "zero_tokens")
    assert contents(answer) == []
    assert answer.usage["completion_tokens"] == row.output_tokens == 0
    assert (row.first_ns, row.last_ns) == (None, None)
    whole, row = answered(served, "zero_tokens", stream=False, stream_options=None)
    assert (whole.text, whole.usage["completion_tokens"], row.output_tokens) == ("", 0, 0)


def test_wrong_count(served: Served) -> None:
    """Usage tells seven tokens too many; the truth does not."""
    answer, row = answered(served, "wrong_count")
    assert (answer.usage["completion_tokens"], row.output_tokens) == (13, 6)


def test_several_tokens_in_an_event(served: Served) -> None:
    """Six tokens come in two events."""
    answer, row = answered(served, "multi_token")
    assert (len(contents(answer)), row.output_tokens) == (2, 6)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("comments", b"\n\n: ping\n\ndata: {"),
        ("crlf", b"}\r\n\r\ndata: {"),
        ("event_lines", b"\n\nevent: message\ndata: {"),
        ("no_space", b"}\n\ndata:{"),
    ],
)
def test_lines(served: Served, fault: str, line: bytes) -> None:
    """Lines differ as asked, and the events are the same."""
    answer, _ = answered(served, fault)
    assert line in answer.body
    assert len(contents(answer)) == 6
    assert answer.events[-1] == "[DONE]"


def test_faults_can_be_for_the_server_or_a_request(served: Served) -> None:
    """Server faults follow their selector; an unknown kind in the header is a bad request."""

    async def scenario(server: SimServer, client: Any) -> None:
        statuses = [(await client.chat()).status for _ in range(4)]
        assert statuses == [200, 503, 200, 503]
        wrong = await client.chat(fault="nope")
        assert wrong.status == 400
        assert "known kinds" in json.loads(wrong.body)["error"]["message"]

    served(scenario, faults=("http_503:every=2",))


async def outlast_an_outage(client: Any) -> None:
    """Until connections were refused, and then taken again."""

    async def state() -> str:
        try:
            return "up" if (await client.get("/health")).status else "cut"
        except ConnectionRefusedError:
            return "refused"
        except ConnectionResetError:
            return "cut"

    for awaited in ("refused", "up"):
        while await state() != awaited:
            await asyncio.sleep(0)


def test_an_outage(served: Served) -> None:
    """In the window connections are refused; after it they work again, and nothing is lost."""

    async def scenario(server: SimServer, client: Any) -> None:
        server.engines[0].stats.generation_tokens = 7
        await outlast_an_outage(client)
        assert server.engines[0].stats.generation_tokens == 7
        assert not any(task.done() for task in server.tasks)

    served(scenario, faults=("refuse:at=0.05s-0.25s",))


def test_a_restart(served: Served) -> None:
    """After the window counters are at 0 and made anew, the cache is empty, and it serves."""

    async def scenario(server: SimServer, client: Any) -> None:
        metrics = (await client.get("/metrics")).body.decode()
        (born,) = [line for line in metrics.splitlines() if line.startswith(BORN)]
        server.engines[0].stats.generation_tokens = 7
        server.engines[0].blocks.allocate([], 3)
        await outlast_an_outage(client)
        assert server.engines[0].stats.generation_tokens == 0
        assert server.engines[0].blocks.used == 0
        assert born not in (await client.get("/metrics")).body.decode()
        assert (await client.chat()).usage["completion_tokens"] == 6
        assert server.engines[0].stats.generation_tokens == 6

    served(scenario, faults=("restart:at=0.05s-0.25s",))


def test_slow_steps(served: Served) -> None:
    """In the window the engines are slower by the factor, and after it they are not."""

    async def scenario(server: SimServer, client: Any) -> None:
        for awaited in (3, 1):
            while server.engines[0].slowdown != awaited:
                await asyncio.sleep(0)

    served(scenario, faults=("slow_steps:at=0.01s-0.05s:factor=3",))
