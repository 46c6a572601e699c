"""The stream's events, held against the form of real vLLM streams."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.sim.api import Endpoint, Wants
from bench.sim.dialect_vllm import CHAT, COMPLETIONS
from bench.sim.tokens import EOS_ID, Reply, tokenize

CAPTURES = Path(__file__).parents[3].parent / "shared" / "captures"
ALL = Wants(usage=True, continuous_usage=True, token_ids=True)
Payloads = Callable[..., list[Any]]


def form_of(value: object) -> object:
    """Keys in their order and types of values, without the values."""
    if isinstance(value, dict):
        return [(key, form_of(each)) for key, each in value.items()]
    if isinstance(value, list):
        return ["list", *(form_of(each) for each in value[:1])]
    return type(value).__name__


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no ../shared/captures beside the repository")
@pytest.mark.parametrize(
    ("capture", "form", "tokens", "wants"),
    [
        ("chat_stream", CHAT, 32, Wants(usage=True)),
        ("chat_stream_nousage", CHAT, 8, Wants()),
        ("chat_stream_continuous", CHAT, 8, Wants(usage=True, continuous_usage=True)),
        ("chat_stream_tokenids", CHAT, 8, Wants(usage=True, token_ids=True)),
        ("completions_stream", COMPLETIONS, 32, Wants(usage=True)),
        ("completions_tokenprompt", COMPLETIONS, 8, Wants(usage=True)),
    ],
)
def test_form_of_real_streams(
    payloads: Payloads, capture: str, form: Endpoint, tokens: int, wants: Wants
) -> None:
    """Every event has the keys, their order and the types of vLLM 0.32's event at that place."""
    body = (CAPTURES / f"vllm_{capture}.txt").read_text().partition("\n\n")[2]
    lines = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
    real = [line if line == "[DONE]" else json.loads(line) for line in lines]
    made = payloads(form, tokens, wants)
    assert [form_of(event) for event in made] == [form_of(event) for event in real]


def test_token_accounts_agree(payloads: Payloads) -> None:
    """Token ids, running usage, text and the final usage tell of the same tokens."""
    role, *tokens, final, done = payloads(CHAT, 6, ALL)
    assert role["prompt_token_ids"] == [20, 21, 22, 23, 24]
    assert role["usage"]["completion_tokens"] == 0
    assert [event["usage"]["completion_tokens"] for event in tokens] == [1, 2, 3, 4, 5, 6]
    ids = [token for event in tokens for token in event["choices"][0]["token_ids"]]
    text = "".join(event["choices"][0]["delta"]["content"] for event in tokens)
    assert ids == tokenize(text) == Reply(hash((20, 21, 22, 23, 24))).ids(0, 6)
    assert final["usage"]["completion_tokens"] == 6
    assert final["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert done == "[DONE]"


def test_completions_have_no_role(payloads: Payloads) -> None:
    """The first event of a completion is its first token, with the prompt's ids if asked for."""
    first = payloads(COMPLETIONS, 2, ALL)[0]["choices"][0]
    assert first["text"]
    assert first["prompt_token_ids"] == [20, 21, 22, 23, 24]


def test_finish_is_on_the_last_token(payloads: Payloads) -> None:
    """`length` stands beside the last token's text; `stop` is a token of its own, without text."""
    length = payloads(CHAT, 3)[-3]["choices"][0]
    stop = payloads(CHAT, 3, ALL, finish_as="stop")[-3]["choices"][0]
    assert (length["finish_reason"], bool(length["delta"]["content"])) == ("length", True)
    assert (stop["finish_reason"], stop["delta"]["content"]) == ("stop", "")
    assert stop["token_ids"] == [EOS_ID]


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("reasoning:tokens=2", ["reasoning", "reasoning", "content"]),
        ("reasoning_content:tokens=1", ["reasoning_content", "content", "content"]),
        ("tool_calls", ["tool_calls", "tool_calls", "tool_calls"]),
    ],
)
def test_other_delta_fields(payloads: Payloads, fault: str, fields: list[str]) -> None:
    """Reasoning and tool calls are deltas of their own, with no `content` beside them."""
    _, *tokens, _, _ = payloads(CHAT, 3, faults=fault)
    assert [next(iter(event["choices"][0]["delta"])) for event in tokens] == fields
    assert all(len(event["choices"][0]["delta"]) == 1 for event in tokens)


def test_tool_call_is_named_once(payloads: Payloads) -> None:
    """The first tool delta has id and name, all have arguments, and the finish says tool_calls."""
    _, *tokens, _, _ = payloads(CHAT, 3, faults="tool_calls")
    calls = [event["choices"][0]["delta"]["tool_calls"][0] for event in tokens]
    assert ["id" in call for call in calls] == [True, False, False]
    assert all(call["function"]["arguments"] for call in calls)
    assert tokens[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_tokens_in_an_event(payloads: Payloads) -> None:
    """With multi_token an event holds the ids and text of several tokens, the last the rest."""
    _, *tokens, final, _ = payloads(CHAT, 6, ALL, faults="multi_token:tokens=4")
    assert [len(event["choices"][0]["token_ids"]) for event in tokens] == [4, 2]
    assert [event["usage"]["completion_tokens"] for event in tokens] == [4, 6]
    assert final["usage"]["completion_tokens"] == 6


def test_empty_text_is_owed_not_lost(payloads: Payloads) -> None:
    """With empty_text the first token has no text, and the whole text is the same."""
    _, *tokens, _, _ = payloads(CHAT, 5, faults="empty_text")
    texts = [event["choices"][0]["delta"]["content"] for event in tokens]
    _, *plain, _, _ = payloads(CHAT, 5)
    assert texts[0] == texts[2] == ""
    assert "".join(texts) == "".join(event["choices"][0]["delta"]["content"] for event in plain)


def test_usage_faults(payloads: Payloads) -> None:
    """Usage can be wrong, beside the finish reason, or left out."""
    wrong = payloads(CHAT, 3, faults="wrong_count:tokens=5")
    beside = payloads(CHAT, 3, faults="usage_in_finish")
    absent = payloads(CHAT, 3, faults="no_usage")
    assert wrong[-2]["usage"]["completion_tokens"] == 8
    assert beside[-2]["usage"]["completion_tokens"] == 3
    assert beside[-2]["choices"][0]["finish_reason"] == "length"
    assert not any("usage" in event for event in absent[:-1])


def test_role_faults(payloads: Payloads) -> None:
    """The role frame can come twice, or not at all."""

    def roles(faults: str) -> int:
        events = payloads(CHAT, 2, faults=faults)[:-2]
        return sum("role" in event["choices"][0]["delta"] for event in events)

    assert [roles(""), roles("double_role"), roles("no_role")] == [1, 2, 0]


def test_no_tokens(payloads: Payloads) -> None:
    """With zero_tokens there is a role, a finish without text, and a usage of 0."""
    _, finish, final, _ = payloads(CHAT, 1, faults="zero_tokens", finish_as="stop")
    assert finish["choices"][0]["delta"]["content"] == ""
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert final["usage"]["completion_tokens"] == 0


def test_huge_event(payloads: Payloads) -> None:
    """The event after `after` tokens is padded, and is still JSON."""
    _, *tokens, _, _ = payloads(CHAT, 4, faults="huge_event:after=1:bytes=50000")
    assert [len(json.dumps(event)) > 50_000 for event in tokens] == [False, True, False, False]
