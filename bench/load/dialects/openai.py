"""OpenAI chat and text completions: encoding a turn, reading an answer.

Sources: the OpenAI API reference; vLLM's and MindIE's extensions of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bench.model import Prompt, RequestStyle, TokenMethod, Turn

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


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """When tokens arrived and how they were counted (metric system §1).

    `arrival_ns`, `tokens`: one element for each event that carried tokens.  `first_read_shared`:
    other token events were completed by the read that completed the first.
    """

    arrival_ns: array[int]
    tokens: array[int]
    output_tokens: int | None
    method: TokenMethod | None
    rule: str | None
    first_low_ns: int | None
    first_read_shared: bool


class Answer:
    """What has been read of one answer so far; fed event by event, then accounted for."""

    __slots__ = (
        "_at",
        "_content",
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
        self.events += len(payloads)

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
            event = orjson.loads(payload)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            if self.malformed is None:
                self.malformed = payload[:512]
            return
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
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        position = len(self._at)
        if (ids := choice.get("token_ids")) is not None:
            self._ids[position] = len(ids)
        if usage and (total := usage.get("completion_tokens")) is not None:
            self._totals[position] = total
        self._at.append(at_ns)
        self._low.append(low_ns)
        self._content.append(1 if carried else 0)
        if text and self.text is not None:
            self.text.append(text)

    def read_usage(self, usage: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Keeps the last account of each kind; continuous usage has no prompt details."""
        self.prompt_tokens = usage.get("prompt_tokens", self.prompt_tokens)
        self.completion_tokens = usage.get("completion_tokens", self.completion_tokens)
        details = usage.get("prompt_tokens_details") or {}
        cached = details.get("cached_tokens")
        if cached is None:
            cached = usage.get("prompt_cache_hit_tokens")
        if cached is None:
            cached = (event.get("timings") or {}).get("cache_n")
        if cached is not None:
            self.cached_tokens = cached
        reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
        if reasoning is not None:
            self.reasoning_tokens = reasoning

    def read_body(self, body: bytes) -> None:
        """Takes a whole answer that was not streamed."""
        try:
            event = orjson.loads(body)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            self.malformed = body[:512]
            return
        self.events = 1
        self.error = event.get("error")
        self.read_usage(event.get("usage") or {}, event)
        for choice in event.get("choices") or ():
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            text = (choice.get("message") or {}).get("content", choice.get("text"))
            if text and self.text is not None:
                self.text.append(text)
        self.done = True

    def account(self) -> TokenAccount:
        """Decides which events carried tokens, and how many.

        The server's own account of each event decides where it gives one: token ids, else
        continuous usage.  Else events with content count, and the final usage is spread over them.
        """
        events = range(len(self._at))
        content = sum(self._content)
        if self._ids and len(self._ids) >= content:
            counts = [self._ids.get(event, 0) for event in events]
            method, rule = TokenMethod.TOKEN_IDS, "token_ids"
        elif len(self._totals) >= max(content, 2):
            counts = _increments([self._totals.get(event, 0) for event in events])
            method, rule = TokenMethod.CONTINUOUS_USAGE, "continuous_usage"
        else:
            total = self.completion_tokens
            counts = _spread(self._content, content, total)
            method = TokenMethod.EVENTS if total is None else TokenMethod.USAGE_SPREAD
            rule = "content"
        return self._assemble(counts, method, rule)

    def _assemble(self, counts: list[int], method: TokenMethod, rule: str) -> TokenAccount:
        arrival, tokens = array("q"), array("i")
        first_low: int | None = None
        first_at = -1
        shared = False
        for at, low, count in zip(self._at, self._low, counts, strict=True):
            if count <= 0:
                continue
            if not arrival:
                first_low, first_at = low, at
            elif at == first_at:
                shared = True
            arrival.append(at)
            tokens.append(count)
        counted = sum(tokens) if arrival else None
        reported = self.completion_tokens
        output = reported if reported is not None else counted
        known = bool(arrival)
        return TokenAccount(
            arrival,
            tokens,
            output,
            method if known else None,
            rule if known else None,
            first_low,
            shared,
        )


def _increments(totals: list[int]) -> list[int]:
    """Tokens of each event from the running totals beside them; 0 where none is told."""
    counts, before = [], 0
    for total in totals:
        counts.append(total - before if total > before else 0)
        before = max(before, total)
    return counts


def _spread(content: array[int], events: int, total: int | None) -> list[int]:
    """`total` tokens over `events` content events as evenly as whole numbers allow."""
    if not events or total is None or total == events:
        return list(content)
    counts, seen = [], 0
    for carries in content:
        if not carries:
            counts.append(0)
            continue
        before = -(-seen * total // events)
        seen += 1
        counts.append(-(-seen * total // events) - before)
    return counts
