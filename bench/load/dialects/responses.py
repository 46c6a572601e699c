"""OpenAI's Responses API, streamed.

Source: the OpenAI API reference, "Streaming events"; vLLM 0.32 serves the same.  Each event names
its type in its data too, so the `event:` lines are not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bench.load.dialects.answer import Answer, known
from bench.model import Prompt, RequestStyle, Turn

_CONTENT_DELTAS = (
    "response.output_text.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
    "response.function_call_arguments.delta",
    "response.mcp_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.code_interpreter_call_code.delta",
    "response.refusal.delta",
)
_ENDS = {
    "response.completed": "stop",
    "response.incomplete": "length",
    "response.failed": "error",
}


def encode(
    model: str, prompt: Prompt, turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]
) -> bytes:
    """A body of `/v1/responses`, whose answer the server is not to keep."""
    body: dict[str, Any] = {"model": model, "input": prompt, "store": False}
    if turn.output_tokens is not None:
        body["max_output_tokens"] = turn.output_tokens
        if style.ignore_eos:
            body["ignore_eos"] = True
    body["stream"] = style.stream
    if style.cache_salt is not None:
        body["cache_salt"] = style.cache_salt
    return orjson.dumps(body | dict(sampling) | dict(style.extra))


def read_event(
    answer: Answer, event: dict[str, Any], payload: bytes, at_ns: int, low_ns: int
) -> None:
    """An event by its type; those that carry no content and end nothing are passed over."""
    kind = event.get("type")
    if kind in _CONTENT_DELTAS:
        delta = event.get("delta")
        answer.put(at_ns, low_ns, bool(delta))
        if kind == "response.output_text.delta":
            answer.say(delta)
    elif kind in _ENDS:
        _account(answer, event.get("response") or {})
        answer.finish(_ENDS[str(kind)])
        answer.done = True
    elif kind == "error" and answer.error is None:
        answer.error = {"message": event.get("message"), "code": event.get("code")}


def read_whole(answer: Answer, response: dict[str, Any]) -> None:
    """A response that was not streamed."""
    _account(answer, response)
    answer.finish(_ENDS.get(f"response.{response.get('status')}"))
    for item in response.get("output") or ():
        for part in item.get("content") or ():
            if part.get("type") == "output_text":
                answer.say(part.get("text"))


def _account(answer: Answer, response: Mapping[str, Any]) -> None:
    """The counts of a response object; it also stands in a stream's last event."""
    usage = response.get("usage") or {}
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens")
    reasoning = (usage.get("output_tokens_details") or {}).get("reasoning_tokens")
    answer.prompt_tokens = known(usage.get("input_tokens"), answer.prompt_tokens)
    answer.completion_tokens = known(usage.get("output_tokens"), answer.completion_tokens)
    answer.cached_tokens = known(cached, answer.cached_tokens)
    answer.reasoning_tokens = known(reasoning, answer.reasoning_tokens)
    if (error := response.get("error")) is not None and answer.error is None:
        answer.error = error
