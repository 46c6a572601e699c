"""OpenAI chat and text completions: encoding a turn, reading an answer.

Sources: the OpenAI API reference; vLLM's and MindIE's extensions of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.load.dialects.account import TokenAccount, account_of
from bench.model import Prompt, RequestStyle, Turn

_COUNT_MAX = 2**31 - 1
_SHOWN_BYTES = 512

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


def encode(
    endpoint: str,
    model: str,
    prompt: Prompt,
    turn: Turn,
    style: RequestStyle,
    sampling: Mapping[str, Any],
) -> bytes:
    """The JSON body of one request.

    `endpoint` is "chat" or "completions".  Text becomes one user message for chat.
    """
    body: dict[str, Any] = {"model": model}
    if endpoint == "chat":
        body["messages"] = (
            prompt if not isinstance(prompt, str) else [{"role": "user", "content": prompt}]
        )
    else:
        body["prompt"] = prompt
    if turn.output_tokens is not None:
        body[style.max_tokens_field] = turn.output_tokens
        if style.min_tokens:
            body["min_tokens"] = turn.output_tokens
        if style.ignore_eos:
            body["ignore_eos"] = True
    body["stream"] = style.stream
    if style.stream and style.include_usage:
        options: dict[str, bool] = {"include_usage": True}
        if style.continuous_usage:
            options["continuous_usage_stats"] = True
        body["stream_options"] = options
    if style.return_token_ids:
        body["return_token_ids"] = True
    if style.cache_salt is not None:
        body["cache_salt"] = style.cache_salt
    body.update(sampling)
    body.update(style.extra)
    return orjson.dumps(body)


class Answer:
    """What has been read of one answer so far; fed event by event, then accounted for."""

    __slots__ = (
        "_at",
        "_content",
        "_heard_ns",
        "_ids",
        "_low",
        "_totals",
        "cached_tokens",
        "completion_tokens",
        "done",
        "error",
        "events",
        "finish_reason",
        "malformed",
        "prefix",
        "prompt_tokens",
        "reasoning_tokens",
        "role_ns",
        "suffix",
        "text",
    )

    def __init__(self) -> None:
        self._at = array("q")
        self._low = array("q")
        self._content = array("b")
        self._heard_ns = 0
        self._totals: dict[int, int] = {}
        self._ids: dict[int, int] = {}
        self.prefix = b""
        self.suffix = b""
        self.text: list[str] | None = None
        self.events = 0
        self.role_ns: int | None = None
        self.finish_reason: str | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.reasoning_tokens: int | None = None
        self.error: Mapping[str, Any] | str | None = None
        self.malformed: bytes | None = None
        self.done = False

    def feed(
        self,
        payloads: Sequence[bytes],
        reads: Sequence[int],
        times_ns: Sequence[int],
        lows_ns: Sequence[int],
    ) -> None:
        """Takes events; event i was complete at `times_ns[reads[i]]`, not yet at `lows_ns[...]`."""
        for payload, read in zip(payloads, reads, strict=True):
            self._parse(payload, times_ns[read], lows_ns[read])
        if reads:
            self.events += len(payloads)
            self._heard_ns = times_ns[reads[-1]]

    def feed_like(self, event: bytes, at_ns: int, low_ns: int) -> bool:
        """Takes one whole event if it differs from the one learnt in nothing but its text.

        `event` is as it stands in the stream, from `data:` to the blank line.  With no quote and
        no backslash between the two known ends, JSON leaves no other reading of it.
        """
        prefix, suffix = self.prefix, self.suffix
        if not prefix or not event.startswith(prefix) or not event.endswith(suffix):
            return False
        text = event[len(prefix) : -len(suffix)]
        if not text or b'"' in text or b"\\" in text:
            return False
        self._at.append(at_ns)
        self._low.append(low_ns)
        self._content.append(1)
        self.events += 1
        if self.text is not None:
            self.text.append(text.decode("utf-8", "replace"))
        return True

    def _parse(self, payload: bytes, at_ns: int, low_ns: int) -> None:
        if payload == b"[DONE]":
            self.done = True
            return
        try:
            self._read_event(orjson.loads(payload), payload, at_ns, low_ns)
        except (ValueError, AttributeError, TypeError):  # no JSON, or other types than the API's
            if self.malformed is None:
                self.malformed = payload[:_SHOWN_BYTES]

    def _read_event(self, event: dict[str, Any], payload: bytes, at_ns: int, low_ns: int) -> None:
        if (error := event.get("error")) is not None and self.error is None:
            self.error = error
        usage = event.get("usage")
        if usage:
            self.read_usage(usage, event)
        choices: list[dict[str, Any]] = event.get("choices") or []
        for choice in choices:
            self._choice(choice, at_ns, low_ns, usage)
        if len(choices) == 1 and not usage and not choices[0].get("finish_reason"):
            self._learn(payload, choices[0])

    def _learn(self, payload: bytes, choice: Mapping[str, Any]) -> None:
        """Keeps what stands before and behind the text of a plain content event."""
        delta = choice.get("delta")
        text, key = (
            (choice.get("text"), b'"text":"')
            if delta is None
            else (delta.get("content"), b'"content":"')
        )
        if not text or choice.get("token_ids") or payload.count(key) != 1:
            return
        start = payload.index(key) + len(key)
        end = payload.find(b'"', start)
        if payload[start:end] == text.encode():
            self.prefix = b"data: " + payload[:start]
            self.suffix = payload[end:] + b"\n\n"

    def _choice(
        self, choice: Mapping[str, Any], at_ns: int, low_ns: int, usage: Mapping[str, Any] | None
    ) -> None:
        delta = choice.get("delta")
        if delta is None:
            carried = text = choice.get("text")
        else:
            text = delta.get("content")
            carried = (
                text
                or delta.get("reasoning")
                or delta.get("reasoning_content")
                or delta.get("tool_calls")
                or delta.get("function_call")
                or delta.get("refusal")
            )
            if not carried and "role" in delta and self.role_ns is None:
                self.role_ns = at_ns
        self._take_finish(choice)
        position = len(self._at)
        if (ids := choice.get("token_ids")) is not None:
            self._ids[position] = len(ids)
        if usage and (total := _count(usage.get("completion_tokens"))) is not None:
            self._totals[position] = total
        self._at.append(at_ns)
        self._low.append(low_ns)
        self._content.append(1 if carried else 0)
        self._take_text(text)

    def _take_finish(self, choice: Mapping[str, Any]) -> None:
        if (reason := choice.get("finish_reason")) and isinstance(reason, str):
            self.finish_reason = reason

    def _take_text(self, text: Any) -> None:
        if self.text is not None and isinstance(text, str):
            self.text.append(text)

    def read_usage(self, usage: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Keeps the last account of each kind; continuous usage has no prompt details.

        Cached tokens: OpenAI's `prompt_tokens_details`, DeepSeek's `prompt_cache_hit_tokens`,
        llama.cpp's `timings`.
        """
        details = usage.get("prompt_tokens_details") or {}
        cached = (
            details.get("cached_tokens"),
            usage.get("prompt_cache_hit_tokens"),
            (event.get("timings") or {}).get("cache_n"),
        )
        reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
        self.prompt_tokens = _known(usage.get("prompt_tokens"), self.prompt_tokens)
        self.completion_tokens = _known(usage.get("completion_tokens"), self.completion_tokens)
        self.cached_tokens = _known(*cached, self.cached_tokens)
        self.reasoning_tokens = _known(reasoning, self.reasoning_tokens)

    @property
    def latest_ns(self) -> int | None:
        """When the newest event was complete; comments are no events."""
        latest = max(self._heard_ns, self._at[-1] if self._at else 0)
        return latest or None

    def read_body(self, body: bytes) -> None:
        """Takes a whole answer that was not streamed; it has no token times."""
        try:
            self._read_whole(orjson.loads(body))
        except (ValueError, AttributeError, TypeError):
            self.malformed = body[:_SHOWN_BYTES]

    def _read_whole(self, event: dict[str, Any]) -> None:
        self.events = 1
        self.error = event.get("error")
        self.read_usage(event.get("usage") or {}, event)
        for choice in event.get("choices") or ():
            self._take_finish(choice)
            self._take_text((choice.get("message") or {}).get("content", choice.get("text")))
        self.done = True

    def account(self) -> TokenAccount:
        """Which events carried tokens, and how many."""
        return account_of(
            self._at, self._low, self._content, self._ids, self._totals, self.completion_tokens
        )


def _count(value: Any) -> int | None:
    """A number of tokens; None for what can't be one, so that one odd field spoils no more."""
    return value if type(value) is int and 0 <= value <= _COUNT_MAX else None


def _known(*values: Any) -> int | None:
    """The first that is a number of tokens."""
    return next((count for value in values if (count := _count(value)) is not None), None)
