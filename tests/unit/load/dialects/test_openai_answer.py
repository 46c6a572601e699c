"""What an OpenAI answer says: which events are tokens, how many, and what is beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.model import Exchange, Outcome, TokenMethod

Received = Callable[..., Exchange]

READ_NS = 1_000_000


def event(delta: dict[str, Any] | None = None, /, **fields: Any) -> bytes:
    """One event with one choice; `fields` are the choice's, `usage` and others the event's."""
    outer = {name: fields.pop(name) for name in ("usage", "timings", "error") if name in fields}
    choice = {"index": 0, "finish_reason": None} | fields
    if delta is not None:
        choice["delta"] = delta
    body = {"id": "c-1", "choices": [choice]} | outer
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def usage(**fields: Any) -> bytes:
    """The event without choices that holds the usage."""
    return b"data: " + json.dumps({"choices": [], "usage": fields}).encode() + b"\n\n"


ROLE = event({"role": "assistant", "content": ""})
FINISH = event({}, finish_reason="length")
DONE = b"data: [DONE]\n\n"


def text(content: str, **fields: Any) -> bytes:
    return event({"content": content}, **fields)


def test_a_role_frame_is_no_token(received: Received) -> None:
    """The first token is the first event with content; the role frame's time is kept apart."""
    got = received([ROLE, text("a"), text("b"), FINISH, DONE])
    assert (got.role_ns, got.first_ns, got.last_ns) == (READ_NS, 2 * READ_NS, 3 * READ_NS)
    assert list(got.arrival_ns) == [2 * READ_NS, 3 * READ_NS]
    assert (got.events, got.finish_reason, got.outcome) == (5, "length", Outcome.OK)


def test_a_role_in_every_event_hides_nothing(received: Received) -> None:
    """MindIE repeats the role beside the content."""
    reads = [ROLE, *(event({"role": "assistant", "content": word}) for word in "ab"), FINISH]
    got = received(reads)
    assert (got.role_ns, list(got.tokens)) == (READ_NS, [1, 1])


def test_a_doubled_role_frame_is_still_no_token(received: Received) -> None:
    """The first of them is the role's time."""
    got = received([ROLE, ROLE, text("a"), FINISH])
    assert (got.role_ns, got.first_ns, got.output_tokens) == (READ_NS, 3 * READ_NS, 1)


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "x"},
        {"reasoning_content": "x", "content": None},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"function_call": {"arguments": "{"}},
        {"refusal": "no"},
    ],
)
def test_content_of_any_kind_is_a_token(received: Received, delta: dict[str, Any]) -> None:
    """A reply that is all reasoning or tool calls has its first token there."""
    got = received([ROLE, event(delta), event(delta), FINISH])
    assert (got.first_ns, got.output_tokens) == (2 * READ_NS, 2)
    assert (got.token_method, got.first_token_rule) == (TokenMethod.EVENTS, "content")


def test_text_completions_have_no_role_frame(received: Received) -> None:
    """The text stands in the choice itself."""
    got = received([event(text="a"), event(text="b", finish_reason="stop"), DONE])
    assert (got.role_ns, got.first_ns, list(got.tokens)) == (None, READ_NS, [1, 1])


def test_token_ids_decide_which_events_are_tokens(received: Received) -> None:
    """vLLM sends an empty text for a token that ends inside a character: it is the first token."""
    got = received(
        [
            ROLE,
            text("", token_ids=[7]),
            text("é", token_ids=[8]),
            text("ab", token_ids=[9, 10], finish_reason="stop"),
            usage(prompt_tokens=3, completion_tokens=4),
            DONE,
        ]
    )
    assert (got.token_method, got.first_token_rule) == (TokenMethod.TOKEN_IDS, "token_ids")
    assert (got.first_ns, list(got.tokens), got.output_tokens) == (2 * READ_NS, [1, 1, 2], 4)


def test_token_ids_that_are_null_account_for_nothing(received: Received) -> None:
    """vLLM puts `token_ids: null` into every event when they were not asked for."""
    got = received([ROLE, text("a", token_ids=None), text("b", token_ids=None), FINISH])
    assert got.token_method is TokenMethod.EVENTS


def test_continuous_usage_counts_tokens_without_text(received: Received) -> None:
    """The running total beside each event decides, and the first token may have no text."""
    totals = [0, 1, 2, 2, 5]
    words = ["", "", "é", "", "abc"]
    reads = [
        text(word, usage={"prompt_tokens": 9, "completion_tokens": total})
        for word, total in zip(words, totals, strict=True)
    ]
    got = received([*reads, FINISH, usage(prompt_tokens=9, completion_tokens=5), DONE])
    assert (got.token_method, got.first_token_rule) == (
        TokenMethod.CONTINUOUS_USAGE,
        "continuous_usage",
    )
    assert list(got.arrival_ns) == [2 * READ_NS, 3 * READ_NS, 5 * READ_NS]
    assert list(got.tokens) == [1, 1, 3]


def test_a_final_usage_is_spread_over_content_events(received: Received) -> None:
    """Five tokens in three events are as even as whole numbers allow, and all are there."""
    got = received(
        [ROLE, text("a"), text("b"), text("c"), FINISH, usage(completion_tokens=5), DONE]
    )
    assert (got.token_method, list(got.tokens)) == (TokenMethod.USAGE_SPREAD, [2, 2, 1])


def test_fewer_tokens_than_events_leave_the_first_token_first(received: Received) -> None:
    """A count below the number of events takes tokens from later events, never from the first."""
    got = received([text("a"), text("b"), text("c"), FINISH, usage(completion_tokens=2)])
    assert (list(got.tokens), got.first_ns, got.output_tokens) == ([1, 1], READ_NS, 2)


def test_usage_beside_the_finish_reason_is_the_final_one(received: Received) -> None:
    """MindIE and transformers put it there: it is no running total."""
    finish = event({"content": ""}, finish_reason="stop", usage={"completion_tokens": 4})
    got = received([ROLE, text("a"), text("b"), finish])
    assert (got.token_method, list(got.tokens)) == (TokenMethod.USAGE_SPREAD, [2, 2])


def test_a_count_of_zero_beside_content_is_no_count(received: Received) -> None:
    """Text came, so that a usage of 0 is wrong; events are counted instead."""
    got = received([text("a"), text("b"), FINISH, usage(completion_tokens=0)])
    assert (got.token_method, list(got.tokens)) == (TokenMethod.EVENTS, [1, 1])


@pytest.mark.parametrize(
    ("fields", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 64}}, 64),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, 0),
        ({"prompt_tokens_details": None}, None),
        ({"prompt_tokens_details": {"cached_tokens": None}}, None),
        ({"prompt_cache_hit_tokens": 32}, 32),
        ({}, None),
    ],
)
def test_cached_tokens(received: Received, fields: dict[str, Any], cached: int | None) -> None:
    """OpenAI's and DeepSeek's spellings; absent is not 0."""
    got = received([text("a"), FINISH, usage(prompt_tokens=80, completion_tokens=1, **fields)])
    assert (got.cached_tokens, got.prompt_tokens) == (cached, 80)


def test_cached_tokens_of_llama_cpp(received: Received) -> None:
    """Older versions tell them only in `timings`."""
    finish = event(
        {}, finish_reason="stop", usage={"completion_tokens": 1}, timings={"cache_n": 24}
    )
    assert received([text("a"), finish]).cached_tokens == 24


def test_prompt_details_survive_a_later_usage_without_them(received: Received) -> None:
    """Each figure is the last one told, since continuous usage leaves some out."""
    details = {"cached_tokens": 5}
    got = received(
        [
            text("a", usage={"prompt_tokens": 9, "prompt_tokens_details": details}),
            text("b", usage={"completion_tokens": 2}),
            FINISH,
            usage(completion_tokens=2, completion_tokens_details={"reasoning_tokens": 1}),
        ]
    )
    assert (got.prompt_tokens, got.cached_tokens, got.reasoning_tokens) == (9, 5, 1)


@pytest.mark.parametrize("error", [{"message": "boom", "code": 500}, "boom"])
def test_an_error_object_wins_over_all_that_follows(received: Received, error: Any) -> None:
    """Status 200, tokens before and [DONE] behind it do not make the answer good."""
    reads = [text("a"), b"data: " + json.dumps({"error": error}).encode() + b"\n\n", FINISH, DONE]
    got = received(reads)
    assert (got.outcome, got.error_class) == (Outcome.FAILED, "error_in_answer")
    assert "boom" in str(got.error_text)
    assert got.first_ns == READ_NS


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_finish_reason_may_tell_of_a_failure(received: Received, reason: str) -> None:
    """vLLM and SGLang end an aborted request so."""
    got = received([text("a"), event({}, finish_reason=reason), DONE])
    assert (got.error_class, got.finish_reason) == ("error_in_answer", reason)


@pytest.mark.parametrize(
    "payload",
    [b"{", b"null", b"7", b"[]", b'{"choices":[7]}', b'{"choices":{"a":1}}', b'{"usage":[1]}',
     b'{"choices":[{"delta":"x"}]}', b'{"choices":[{"delta":{},"token_ids":5}]}'],
)  # fmt: skip
def test_an_event_of_another_form_is_malformed(received: Received, payload: bytes) -> None:
    """It fails its own request, and no more; what was good in the stream is kept."""
    got = received([text("a"), b"data: " + payload + b"\n\n", text("b"), FINISH, DONE])
    assert (got.outcome, got.error_class) == (Outcome.FAILED, "malformed_event")
    assert got.error_text == payload.decode()
    assert (got.first_ns, got.last_ns) == (READ_NS, 3 * READ_NS)


@pytest.mark.parametrize("count", ["12", 1.5, True, -1, 2**40, [1]])
def test_a_number_that_can_be_none_is_unknown(received: Received, count: Any) -> None:
    """An odd count is as good as none; the request itself is not judged by it."""
    got = received([text("a"), FINISH, usage(completion_tokens=count, prompt_tokens=count)])
    assert (got.outcome, got.token_method) == (Outcome.OK, TokenMethod.EVENTS)
    assert (got.completion_tokens, got.prompt_tokens, got.output_tokens) == (None, None, 1)


def test_events_of_several_choices_are_events_of_one_answer(received: Received) -> None:
    """n = 2 interleaves choices; the usage sums both."""
    both = [event({"content": word}, index=index) for word in "ab" for index in (0, 1)]
    got = received([*both, FINISH, usage(completion_tokens=4), DONE])
    assert (list(got.tokens), got.output_tokens) == ([1, 1, 1, 1], 4)


def test_a_whole_answer_has_counts_and_no_times(received: Received) -> None:
    """Without a stream there is no first token to time: that is unknown, not the end."""
    body = {
        "choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2},
    }
    got = received([json.dumps(body).encode()], headers={"Content-Type": "application/json"})
    assert (got.outcome, got.output_tokens, got.prompt_tokens) == (Outcome.OK, 2, 4)
    assert (got.first_ns, got.last_ns, got.token_method) == (None, None, None)
    assert (got.finish_reason, list(got.arrival_ns)) == ("stop", [])
