"""The Responses API: what is asked, and what its events are taken to say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from bench.load.conclude import conclude
from bench.load.dialects.table import DIALECTS
from bench.load.flight import Flight
from bench.model import Exchange, Outcome, RequestStyle, TokenMethod, Turn

TURN = Turn(0, None, None, input_tokens=4, output_tokens=3)
USAGE = {
    "input_tokens": 4,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 1},
}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def received(reads: Sequence[bytes], content_type: bytes = b"text/event-stream") -> Exchange:
    flight = Flight(TURN, 0, 0, "r", DIALECTS["responses"])
    flight.on_header(b"Content-Type", content_type)
    flight.status, flight.sent_ns = 200, 0
    for number, read in enumerate(reads, 1):
        flight.on_body(read)
        flight.body.mark(number, number - 1)
        flight.decode()
    return conclude(flight)


START = event("response.created", response={"status": "in_progress"})
ITEM = event("response.output_item.added", item={"type": "message"})
END = event("response.incomplete", response={"status": "incomplete", "usage": USAGE})


def delta(text: str, kind: str = "output_text") -> bytes:
    return event(f"response.{kind}.delta", delta=text)


def test_a_turn() -> None:
    """The length is max_output_tokens, the conversation is the input, nothing is kept."""
    encoded = DIALECTS["responses"].encode("m", "hi", TURN, RequestStyle(), {"temperature": 0})
    assert json.loads(encoded) == {
        "model": "m", "input": "hi", "store": False, "max_output_tokens": 3, "ignore_eos": True,
        "stream": True, "temperature": 0,
    }  # fmt: skip


def test_deltas_are_token_events() -> None:
    """What is created or added carries no token; the usage is spread over the deltas."""
    got = received([START, ITEM, delta("a"), delta("b"), delta("c"), END])
    assert got.outcome is Outcome.OK
    assert got.token_method is TokenMethod.USAGE_SPREAD
    assert (list(got.arrival_ns), list(got.tokens)) == ([3, 4, 5], [1, 1, 1])
    assert (got.prompt_tokens, got.cached_tokens, got.reasoning_tokens) == (4, 2, 1)
    assert (got.output_tokens, got.finish_reason) == (3, "length")


@pytest.mark.parametrize(
    "kind",
    [
        "reasoning_text", "reasoning_summary_text", "function_call_arguments", "refusal",
        "mcp_call_arguments", "custom_tool_call_input", "code_interpreter_call_code",
    ],
)  # fmt: skip
def test_other_content_is_content_too(kind: str) -> None:
    """The first token may be of reasoning, of a call's arguments or of a refusal."""
    got = received([START, delta("x", kind), delta("a"), END])
    assert got.first_ns == 2


def test_a_completed_response_has_stopped() -> None:
    """`response.completed` is the model's own end."""
    usage = {**USAGE, "output_tokens": 1}
    end = event("response.completed", response={"status": "completed", "usage": usage})
    assert received([START, delta("a"), end]).finish_reason == "stop"


@pytest.mark.parametrize(
    "end",
    [
        event("response.failed", response={"status": "failed", "error": {"message": "broke"}}),
        event("error", message="broke", code="server_error"),
    ],
)
def test_a_failure_inside_the_stream(end: bytes) -> None:
    """A response that fails after status 200 has failed, with the server's words."""
    got = received([START, delta("a"), end])
    assert got.error_class == "error_in_answer"
    assert "broke" in (got.error_text or "")


def test_an_end_without_the_last_event_is_truncated() -> None:
    """The body's end alone does not make a response whole."""
    assert received([START, delta("a")]).error_class == "truncated"


def test_a_whole_response() -> None:
    """A response that was not streamed has counts and no token times."""
    output = [{"type": "message", "content": [{"type": "output_text", "text": "abc"}]}]
    body = {"status": "completed", "error": None, "output": output, "usage": USAGE}
    got = received([json.dumps(body).encode()], b"application/json")
    assert (got.outcome, got.output_tokens, got.finish_reason) == (Outcome.OK, 3, "stop")
    assert not got.arrival_ns
