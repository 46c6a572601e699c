"""A turn becomes the JSON body that the server's API asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.load.dialects.table import dialect_named
from bench.model import RequestStyle, Turn

TURN = Turn(3, None, None, input_tokens=4, output_tokens=8)


def body(
    endpoint: str = "chat", prompt: Any = "hi", style: RequestStyle | None = None, **sampling: Any
) -> dict[str, Any]:
    encode = dialect_named(endpoint).encode
    encoded = encode("m", prompt, TURN, style or RequestStyle(), sampling)
    decoded: dict[str, Any] = json.loads(encoded)
    return decoded


def test_a_chat_turn() -> None:
    """Text is one user message; length is fixed, and usage is asked for."""
    assert body() == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 8,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("prompt", ["hi", [1, 2, 3]])
def test_a_completion_takes_text_or_token_ids(prompt: Any) -> None:
    """The prompt is passed as it is."""
    assert body("completions", prompt)["prompt"] == prompt


def test_messages_are_passed_as_they_are() -> None:
    """A conversation is not touched."""
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "你好"}]
    assert body(prompt=messages)["messages"] == messages


def test_a_style_without_options_asks_for_nothing_but_the_length() -> None:
    """A server that refuses unknown fields is sent none."""
    style = RequestStyle(
        max_tokens_field="max_completion_tokens", ignore_eos=False, include_usage=False
    )
    assert set(body(style=style)) == {"model", "messages", "max_completion_tokens", "stream"}


def test_a_style_with_all_options() -> None:
    """Every field the style knows is set, `extra` last."""
    style = RequestStyle(
        min_tokens=True,
        continuous_usage=True,
        return_token_ids=True,
        cache_salt="s",
        extra={"priority": 1},
    )
    got = body(style=style)
    assert got["min_tokens"] == 8
    assert got["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert (got["return_token_ids"], got["cache_salt"], got["priority"]) == (True, "s", 1)


def test_a_turn_without_a_length_sets_none() -> None:
    """The server decides when to end, and is not told to ignore its end mark."""
    turn = Turn(0, None, None, None, None)
    got = json.loads(
        dialect_named("chat").encode("m", "hi", turn, RequestStyle(min_tokens=True), {})
    )
    assert set(got) == {"model", "messages", "stream", "stream_options"}


def test_sampling_fields_are_added() -> None:
    """What the recipe says of sampling is sent."""
    assert body(temperature=0.5, top_p=0.9)["temperature"] == 0.5


def test_without_a_stream_no_stream_options() -> None:
    """`stream_options` is an error for several servers when nothing is streamed."""
    got = body(style=RequestStyle(stream=False))
    assert got["stream"] is False
    assert "stream_options" not in got
