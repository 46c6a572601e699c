"""What a stream looks like: which frames there are, where usage stands, how tokens are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from bench.load.dialects.answer import Answer, Dialect
from bench.load.dialects.table import CHAT
from bench.load.sse import StrayText
from bench.model import TokenMethod

_REASONING_FIELDS = ("reasoning", "reasoning_content")


@dataclass(frozen=True, slots=True)
class StreamShape:
    """One streamed answer, described.

    `role_frame`: "once" (a first frame with a role and no text), "every" (a role in each frame) or
    None.  `finish_place`: the finish reason stands "with_text" or in its "own_event".
    `usage_place`, of the last usage: "own_event" (no choices), "finish_event", "text_event" or None
    (absent).  `continuous_usage`, `token_ids`: each event with text has the server's account.
    `token_method`: how the load engine would count this stream.
    `cached_tokens` None: the field is absent, which is not 0.  `error` is the server's, if any.
    """

    events: int
    role_frame: str | None
    reasoning_field: str | None
    finish_place: str | None
    finish_reason: str | None
    usage_place: str | None
    done: bool
    token_method: TokenMethod | None
    token_ids: bool
    continuous_usage: bool
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    fingerprint: str | None
    error: str | None


def read_stream(body: bytes, dialect: Dialect = CHAT) -> StreamShape:
    """Describes the body of a stream of this dialect."""
    payloads, error = _payloads(body, dialect)
    answer = Answer(dialect)
    order = range(len(payloads))
    answer.feed(payloads, order, order, order)  # the instants don't matter here
    events = [event for p in payloads if isinstance(event := _json(p), dict)]
    account = answer.account()
    choices = [choice for event in events for choice in event.get("choices") or ()]
    if answer.error is not None:
        error = _error_text(answer.error)
    elif answer.malformed is not None and error is None:
        error = f"an event that is no JSON object: {answer.malformed[:80]!r}"
    token_ids, continuous = _accounts(events, account.method)
    return StreamShape(
        events=len(events),
        role_frame=_role_frame(choices),
        reasoning_field=_reasoning_field(choices),
        finish_place=_finish_place(choices),
        finish_reason=answer.finish_reason,
        usage_place=_usage_place(events),
        done=answer.done,
        token_method=account.method,
        token_ids=token_ids,
        continuous_usage=continuous,
        prompt_tokens=answer.prompt_tokens,
        output_tokens=account.output_tokens,
        cached_tokens=answer.cached_tokens,
        reasoning_tokens=answer.reasoning_tokens,
        fingerprint=next((f for e in events if (f := e.get("system_fingerprint"))), None),
        error=error,
    )


def _payloads(body: bytes, dialect: Dialect) -> tuple[list[bytes], str | None]:
    framing = dialect.framing
    split = framing.split(body)
    stray, rest = split.stray, None
    if stray is None:
        try:
            rest = framing.last(body[split.consumed :])
        except StrayText as caught:
            stray = caught.text
    payloads = split.payloads if rest is None else [*split.payloads, rest]
    return payloads, None if stray is None else stray.decode("utf-8", "replace")[:200]


def _json(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None


def _error_text(error: Mapping[str, Any] | str) -> str:
    return str(error if isinstance(error, str) else error.get("message", error))


def _text(choice: Mapping[str, Any]) -> bool:
    delta = choice.get("delta")
    if delta is None:
        return bool(choice.get("text"))
    return bool(delta.get("content") or any(delta.get(name) for name in _REASONING_FIELDS))


def _role_frame(choices: list[dict[str, Any]]) -> str | None:
    roles = [bool((choice.get("delta") or {}).get("role")) for choice in choices]
    if len(roles) > 2 and all(roles):
        return "every"
    return "once" if roles and roles[0] and not _text(choices[0]) else None


def _reasoning_field(choices: list[dict[str, Any]]) -> str | None:
    for name in _REASONING_FIELDS:
        if any((choice.get("delta") or {}).get(name) for choice in choices):
            return name
    return None


def _finish_place(choices: list[dict[str, Any]]) -> str | None:
    for choice in choices:
        if choice.get("finish_reason"):
            return "with_text" if _text(choice) else "own_event"
    return None


def _usage_place(events: list[dict[str, Any]]) -> str | None:
    last = next((event for event in reversed(events) if event.get("usage")), None)
    if last is None:
        return None
    if not last.get("choices"):
        return "own_event"
    return "finish_event" if _finishes(last) else "text_event"


def _is_text_event(event: Mapping[str, Any]) -> bool:
    return any(_text(choice) for choice in event.get("choices") or ())


def _finishes(event: Mapping[str, Any]) -> bool:
    return any(choice.get("finish_reason") for choice in event.get("choices") or ())


def _accounts(events: list[dict[str, Any]], method: TokenMethod | None) -> tuple[bool, bool]:
    """Whether every event with text has token ids, and a running usage."""
    if not any("choices" in event for event in events):  # not OpenAI's events
        return method is TokenMethod.TOKEN_IDS, method is TokenMethod.CONTINUOUS_USAGE
    texts = [event for event in events if _is_text_event(event)]
    if not texts:
        return False, False
    token_ids = all(choice.get("token_ids") for event in texts for choice in event["choices"])
    running = len(texts) > 1 and all(
        (event.get("usage") or {}).get("completion_tokens") for event in texts
    )
    return token_ids, running
