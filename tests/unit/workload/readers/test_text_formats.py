"""Formats with text: MLPerf agentic, OpenAI bodies, ShareGPT."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.errors import TraceError
from bench.workload.readers import TraceReading

Reader = Callable[..., TraceReading]


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def message(conversation: str, role: str, **fields: Any) -> dict[str, Any]:
    return {"conversation_id": conversation, "turn": 1, "role": role, **fields}


CALL = [{"id": "c1", "type": "function", "function": {"name": "ls", "arguments": "{}"}}]
AGENTIC = lines(
    message("a", "user", content="fix it", system="be brief", tools=[{"type": "function"}]),
    message("a", "assistant", reasoning_content="hm", tool_calls=CALL),
    message(
        "a",
        "tool",
        tool_results=[{"tool_call_id": "c1", "content": "x"}, {"tool_call_id": "c2"}],
        delay_seconds=0.5,
    ),
    message("a", "assistant", content="done", max_new_tokens=9),
    message("b", "user", content="hello", delay_seconds=2),
    message("b", "assistant", content="hi"),
)


def test_agentic_messages_become_requests(reading: Reader) -> None:
    """Each assistant message is one request of all messages before it, in its conversation."""
    opened = reading(AGENTIC)
    rows = list(opened)
    assert opened.format == "mlperf_agentic"
    assert [row.session for row in rows] == ["a", "a", "b"]
    assert [[m["role"] for m in row.messages or ()] for row in rows] == [
        ["system", "user"],
        ["system", "user", "assistant", "tool", "tool"],
        ["user"],
    ]
    second = rows[1].messages or ()
    assert second[2] == {
        "role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": CALL,
    }  # fmt: skip
    assert second[3] == {"role": "tool", "tool_call_id": "c1", "content": "x"}
    assert second[4] == {"role": "tool", "tool_call_id": "c2", "content": ""}


def test_agentic_delays_are_think_times_of_later_turns(reading: Reader) -> None:
    """A delay before a session's first request is not a think time; unknown is None, not 0."""
    opened = reading(AGENTIC)
    rows = list(opened)
    assert [row.think_s for row in rows] == [None, 0.5, None]
    assert [row.output_tokens for row in rows] == [None, 9, None]
    assert all(row.at_s is None and row.input_tokens is None for row in rows)
    assert opened.counts["tools_left_out"] == 1


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([message("a", "robot")], "role must be one of .*, got 'robot'"),
        ([message("a", "assistant", content="x")], "no message before it"),
        ([message("a", "user", content="x", delay_seconds=-1)], "delay_seconds must be 0 or more"),
        (
            [message(name, "user", content="x") for name in "aba"],
            "line 3: conversation 'a' goes on after another began",
        ),
    ],
)
def test_agentic_rows_are_checked(
    reading: Reader, records: list[dict[str, Any]], problem: str
) -> None:
    """Unknown roles, answers to nothing, negative delays and torn conversations are bad rows."""
    with pytest.raises(TraceError, match=problem):
        list(reading(lines(*records)))


def test_openai_bodies_keep_messages_and_ask_for_their_length(reading: Reader) -> None:
    """Messages are untouched; lengths, sessions, delays and times are read where they are."""
    talk = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    rows = list(
        reading(
            lines(
                {"messages": talk, "model": "m", "max_completion_tokens": 7, "max_tokens": 9},
                {"messages": talk, "max_tokens": 8, "session_id": 4, "delay_s": 1.5},
                {"messages": talk},
            )
        )
    )
    assert [row.messages for row in rows] == [tuple(talk)] * 3
    assert [row.output_tokens for row in rows] == [7, 8, None]
    assert [row.session for row in rows] == [None, "4", None]
    assert [row.think_s for row in rows] == [None, 1.5, None]
    assert [row.at_s for row in rows] == [None, None, None]


@pytest.mark.parametrize(
    "times",
    [[1700000000, 1700000000.25], ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.25+00:00"]],
    ids=["seconds", "iso"],
)
def test_openai_times_are_seconds_or_iso(reading: Reader, times: list[Any]) -> None:
    """Epoch seconds and ISO 8601 give the same offsets, without losing the fraction."""
    talk = [{"role": "user", "content": "hi"}]
    rows = reading(lines(*({"messages": talk, "timestamp": time} for time in times)))
    assert [row.at_s for row in rows] == [0.0, 0.25]


@pytest.mark.parametrize("messages", [[], "hi", [{"content": "hi"}], ["hi"]])
def test_openai_messages_are_checked(reading: Reader, messages: Any) -> None:
    """No messages, no list, or a message without a role is a bad row."""
    with pytest.raises(TraceError, match="messages must"):
        list(reading(lines({"messages": messages})))


def share(*parts: tuple[str, str]) -> dict[str, Any]:
    return {"id": "x_0", "conversations": [{"from": who, "value": text} for who, text in parts]}


THREE = share(("system", "S"), ("human", "A"), ("gpt", "B"), ("human", "C"), ("gpt", "D"))


def test_sharegpt_turns_append_to_the_live_conversation(reading: Reader) -> None:
    """A turn holds only its new messages and says so; the first holds the beginning."""
    rows = list(reading(json.dumps([THREE], indent=2)))
    assert [[m["content"] for m in row.messages or ()] for row in rows] == [["S", "A"], ["C"]]
    assert [row.appends for row in rows] == [False, True]
    assert [row.session for row in rows] == ["1", "1"]


def test_sharegpt_can_replay_the_recorded_answers(reading: Reader) -> None:
    """With the option each turn is the whole conversation as recorded, and appends nothing."""
    rows = list(reading(json.dumps([THREE]), recorded_answers=True))
    assert [[m["content"] for m in row.messages or ()] for row in rows] == [
        ["S", "A"], ["S", "A", "B", "C"],
    ]  # fmt: skip
    assert not any(row.appends for row in rows)


def test_sharegpt_answers_without_a_question_are_counted(reading: Reader) -> None:
    """Conversations cut so that they begin with an answer lose it, and the loss is told."""
    opened = reading(json.dumps([share(("gpt", "B"), ("human", "C")), share(("gpt", "B"))]))
    rows = list(opened)
    assert [[m["content"] for m in row.messages or ()] for row in rows] == [["C"]]
    assert rows[0].session is None
    assert opened.counts["answers_without_question"] == 2
    assert opened.counts["conversations_without_question"] == 1


def test_lmbenchmark_elements_have_output_lengths(reading: Reader) -> None:
    """The layout with `input` and a length as text gives single requests."""
    rows = list(reading('[{"input": "hi", "output_length": "275"}]'))
    assert rows[0].messages == ({"role": "user", "content": "hi"},)
    assert rows[0].output_tokens == 275


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ("hi", "element 1: expected an object"),
        ({"conversations": "hi"}, "conversations must be a list"),
        ({"conversations": [{"from": "dog", "value": "woof"}]}, "'from' must be one of"),
        ({"conversations": [{"from": "human", "value": 3}]}, "value must be text, got 3"),
        ({"input": "x", "output_length": "many"}, "output_length must be a whole number"),
    ],
)
def test_sharegpt_elements_are_checked(reading: Reader, element: Any, problem: str) -> None:
    """Elements of another shape are bad rows, named by their number."""
    with pytest.raises(TraceError, match=problem):
        list(reading(json.dumps([element]), format_name="sharegpt"))
