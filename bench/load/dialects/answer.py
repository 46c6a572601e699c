"""One answer, fed event by event, then accounted for.

What an event means is the dialect's; this gathers what the dialect's reader finds in it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bench.load.dialects.account import TokenAccount, account_of
from bench.load.dialects.form import Form, as_said
from bench.load.framing import SSE, Framing
from bench.model import Prompt, RequestStyle, Turn

_COUNT_MAX = 2**31 - 1
_SHOWN_BYTES = 512
_ONE = array("b", [1])

Encode = Callable[[str, Prompt, Turn, RequestStyle, Mapping[str, Any]], bytes]
"""Model, prompt, turn, style and sampling fields to a request's body."""

ReadEvent = Callable[["Answer", dict[str, Any], bytes, int, int], None]
"""Reads an event, decoded and as it came, into the answer; it was complete at the first instant,
and known not to be at the second."""

ReadWhole = Callable[["Answer", dict[str, Any]], None]
"""Reads an answer that was not streamed."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of endpoint is asked and what its answers mean; pure functions over bytes.

    `path` holds `{model}` where the model's name belongs into it.  `ends_unmarked`: nothing in a
    stream says that it is whole, so the end of the body is taken for it.  `ignore_eos`: it has a
    field to go on past the end of text.
    """

    name: str
    path: str
    encode: Encode
    read_event: ReadEvent
    read_whole: ReadWhole
    framing: Framing = SSE
    ends_unmarked: bool = False
    ignore_eos: bool = True


class Answer:
    """What has been read of one answer so far.

    The server's own account of the request, where it gives one: `queue_s` (before its first step),
    `prefill_s`, `decode_s`, and `batch_sizes`, one for each step.
    """

    __slots__ = (
        "_at",
        "_content",
        "_dialect",
        "_heard_ns",
        "_ids",
        "_low",
        "_totals",
        "batch_sizes",
        "cached_tokens",
        "completion_tokens",
        "decode_s",
        "done",
        "error",
        "events",
        "finish_reason",
        "form",
        "malformed",
        "prefill_s",
        "prompt_tokens",
        "queue_s",
        "reasoning_tokens",
        "role_ns",
        "text",
        "whole_text",
    )

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._at = array("q")
        self._low = array("q")
        self._content = array("b")
        self._heard_ns = 0
        self._totals: dict[int, int] = {}
        self._ids: dict[int, int] = {}
        self.form: Form | None = None
        self.text: list[str] | None = None
        self.whole_text = ""
        self.events = 0
        self.role_ns: int | None = None
        self.finish_reason: str | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.reasoning_tokens: int | None = None
        self.queue_s: float | None = None
        self.prefill_s: float | None = None
        self.decode_s: float | None = None
        self.batch_sizes: list[int] = []
        self.error: Mapping[str, Any] | str | None = None
        self.malformed: bytes | None = None
        self.done = dialect.ends_unmarked

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

    def feed_alike(self, events: Sequence[bytes], times_ns: array[int], lows_ns: array[int]) -> int:
        """Takes those events that come first and have the form learnt; says how many.

        Each is as it stands in the stream, from `data:` to the blank line.
        """
        if self.form is None:
            return 0
        texts, totals = self.form.leading(events)
        count, position = len(texts), len(self._at)
        if totals:
            self._totals.update(zip(range(position, position + count), totals, strict=True))
            self.completion_tokens = totals[-1]
        self._at.extend(times_ns[:count])
        self._low.extend(lows_ns[:count])
        self._content.extend(_ONE * count)
        self.events += count
        if self.text is not None and self.form.visible:
            self.text.append(as_said(texts))
        return count

    def _parse(self, payload: bytes, at_ns: int, low_ns: int) -> None:
        if payload == b"[DONE]":
            self.done = True
            return
        try:
            event = orjson.loads(payload)
            if (error := event.get("error")) is not None and self.error is None:
                self.error = error
            self._dialect.read_event(self, event, payload, at_ns, low_ns)
        except (ValueError, AttributeError, TypeError):  # no JSON, or other types than the API's
            if self.malformed is None:
                self.malformed = payload[:_SHOWN_BYTES]

    def read_body(self, body: bytes) -> None:
        """Takes a whole answer that was not streamed; it has no token times."""
        try:
            event = orjson.loads(body)
            self.events = 1
            self.error = event.get("error")
            self._dialect.read_whole(self, event)
            self.done = True
        except (ValueError, AttributeError, TypeError):
            self.malformed = body[:_SHOWN_BYTES]

    # -- what readers say ------------------------------------------------------------------

    def put(
        self,
        at_ns: int,
        low_ns: int,
        carries: bool,
        ids: int | None = None,
        total: int | None = None,
    ) -> None:
        """Notes one event that may carry tokens; `carries`: it has content of some kind.

        `ids` and `total` are the server's own accounts: how many token ids the event holds, how
        many output tokens there are up to it.
        """
        position = len(self._at)
        if ids is not None:
            self._ids[position] = ids
        if total is not None:
            self._totals[position] = total
        self._at.append(at_ns)
        self._low.append(low_ns)
        self._content.append(carries)

    def say(self, text: Any) -> None:
        """Keeps visible text, where a later turn quotes it."""
        if self.text is not None and isinstance(text, str):
            self.text.append(text)

    def finish(self, reason: Any) -> None:
        """Keeps why the answer ended; later events may not say it again."""
        if reason and isinstance(reason, str):
            self.finish_reason = reason

    # -- what is known ---------------------------------------------------------------------

    @property
    def latest_ns(self) -> int | None:
        """When the newest event was complete; comments are no events."""
        latest = max(self._heard_ns, self._at[-1] if self._at else 0)
        return latest or None

    def account(self) -> TokenAccount:
        """Which events carried tokens, and how many."""
        return account_of(
            self._at, self._low, self._content, self._ids, self._totals, self.completion_tokens
        )


def count_of(value: Any) -> int | None:
    """A number of tokens; None for what can't be one, so that one odd field spoils no more."""
    return value if type(value) is int and 0 <= value <= _COUNT_MAX else None


def known(*values: Any) -> int | None:
    """The first that is a number of tokens."""
    return next((count for value in values if (count := count_of(value)) is not None), None)


def seconds(value: Any, unit_s: float) -> float | None:
    """A time in a unit of `unit_s` seconds; None for what can't be one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value * unit_s if number and value >= 0 else None


def as_text(prompt: Prompt) -> str | list[int]:
    """What a text endpoint takes: messages are joined, text and token ids stay."""
    if isinstance(prompt, str):
        return prompt
    texts: list[str] = []
    for part in prompt:
        if isinstance(part, int):
            return [token for token in prompt if isinstance(token, int)]
        texts.append(str(part.get("content") or ""))
    return "\n\n".join(texts)
