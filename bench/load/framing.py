"""How payloads stand in a response's body: server-sent events, or objects ended by a zero byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.load.sse import Split, last_payload, split_events


@dataclass(frozen=True, slots=True)
class Framing:
    """One way.

    `split` takes apart what is complete; nothing becomes complete without one of `ends`.  `last`
    gives what stands behind the last end when the body is over; it raises StrayText.  `streamed`
    says by its content type whether a body is a stream.
    """

    split: Callable[[bytes], Split]
    ends: tuple[bytes, ...]
    last: Callable[[bytes], bytes | None]
    streamed: Callable[[bytes], bool]


def split_objects(buffer: bytes) -> Split:
    """Takes apart objects that a zero byte ends, as vLLM's `/generate` sends them."""
    *payloads, rest = buffer.split(b"\0")
    ends, end = [], 0
    for payload in payloads:
        end += len(payload) + 1
        ends.append(end)
    return Split(payloads, ends, len(buffer) - len(rest))


def _last_object(tail: bytes) -> bytes | None:
    return tail.strip() or None


SSE = Framing(
    split=split_events,
    ends=(b"\n", b"\r"),
    last=last_payload,
    streamed=lambda content_type: content_type.startswith(b"text/event-stream"),
)
NUL = Framing(
    split=split_objects,
    ends=(b"\0",),
    last=_last_object,
    streamed=lambda content_type: b"json" not in content_type,
)
