"""A stream is described by what stands in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.model import TokenMethod
from bench.servers.shape import StreamShape, read_stream

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def stream(*events: dict[str, Any] | str) -> bytes:
    bodies = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {body}\n\n" for body in bodies).encode()


def delta(
    finish: str | None = None, usage: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    event: dict[str, Any] = {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}
    return event if usage is None else {**event, "usage": usage}


def test_a_mindie_stream() -> None:
    """MindIE: a role in each frame, usage beside the finish reason."""
    shape = read_stream(
        stream(
            delta(role="assistant", content=""),
            delta(role="assistant", content="a"),
            delta("length", USAGE, role="assistant", content="b"),
            "[DONE]",
        )
    )
    assert shape.role_frame == "every"
    assert shape.usage_place == "finish_event"
    assert shape.finish_place == "with_text"
    assert shape.token_method is TokenMethod.USAGE_SPREAD
    assert shape.cached_tokens is None


def test_reasoning_counts_as_text() -> None:
    """A stream of nothing but reasoning has tokens, and says in which field."""
    for field in ("reasoning", "reasoning_content"):
        shape = read_stream(stream(delta(role="assistant"), delta(**{field: "hm"}), "[DONE]"))
        assert shape.reasoning_field == field
        assert shape.output_tokens == 1


def test_running_usage_counts_only_where_every_text_event_has_it() -> None:
    """A server that gives usage now and then has no account per event."""
    some = read_stream(
        stream(
            delta(usage={"completion_tokens": 1, "prompt_tokens": 5}, content="a"),
            delta(content="b"),
            {"choices": [], "usage": USAGE},
        )
    )
    every = read_stream(
        stream(
            delta(usage={"completion_tokens": 1, "prompt_tokens": 5}, content="a"),
            delta(usage=USAGE, content="b"),
            {"choices": [], "usage": USAGE},
        )
    )
    assert (some.continuous_usage, every.continuous_usage) == (False, True)
    assert every.usage_place == "own_event"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (stream({"error": {"message": "queue is full", "code": 503}}, "[DONE]"), "queue is full"),
        (stream({"error": "a bare string"}), "a bare string"),
        (b"Engine callback timeout.\n\n", "Engine callback timeout."),
        (stream("{broken"), "no JSON object"),
    ],
)
def test_errors_inside_a_stream_are_told(body: bytes, said: str) -> None:
    """Objects, bare strings, plain text and broken JSON in a 200 stream are all failures."""
    shape = read_stream(body)
    assert shape.error is not None
    assert said in shape.error
    assert shape.token_method is None


def test_an_empty_stream_has_no_tokens() -> None:
    """llama-cpp-python ends a stream that was too long with no event at all."""
    shape = read_stream(b"")
    assert (shape.events, shape.token_method, shape.output_tokens) == (0, None, None)


REAL = {
    "vllm_chat_stream.txt": ("once", "own_event", "with_text", True, 32, 0),
    "vllm_completions_stream.txt": (None, "own_event", "with_text", True, 32, 0),
    "llamacpp_chat_stream.txt": ("once", "own_event", "own_event", True, 32, 24),
    "transformers_chat_stream.txt": ("once", "finish_event", "own_event", False, 32, None),
    "litellm_chat_stream.txt": ("once", "own_event", "own_event", True, 32, 0),
    "llama_chat_stream.txt": ("once", None, "own_event", True, None, None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_streams(capture: Callable[[str], str], name: str) -> None:
    """Each real server's stream is described as it was seen (role, usage, finish, [DONE])."""
    shape = read_stream(capture(name).encode())
    role, usage, finish, done, tokens, cached = REAL[name]
    assert shape.error is None
    assert (shape.role_frame, shape.usage_place, shape.finish_place) == (role, usage, finish)
    assert (shape.done, shape.cached_tokens) == (done, cached)
    if tokens is not None:
        assert shape.output_tokens == tokens


ACCOUNTS: dict[str, Callable[[StreamShape], bool]] = {
    "vllm_chat_stream_continuous.txt": lambda shape: shape.continuous_usage,
    "vllm_chat_stream_tokenids.txt": lambda shape: shape.token_ids,
    "llamacpp_chat_stream_continuous.txt": lambda shape: not shape.continuous_usage,
    "transformers_chat_stream.txt": lambda shape: not shape.token_ids,
}


@pytest.mark.parametrize("name", ACCOUNTS)
def test_real_accounts_of_tokens(capture: Callable[[str], str], name: str) -> None:
    """vLLM accounts for the tokens of each event when asked; llama.cpp ignores the wish."""
    assert ACCOUNTS[name](read_stream(capture(name).encode()))


def test_reasoning_of_a_real_vllm(capture: Callable[[str], str]) -> None:
    """vLLM 0.32 puts reasoning into `delta.reasoning`."""
    shape = read_stream(capture("vllm_rp_reason_chat_stream.txt").encode())
    assert shape.reasoning_field == "reasoning"
    assert shape.fingerprint is not None
    assert shape.fingerprint.startswith("vllm-0.32.0")
