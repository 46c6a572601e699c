"""OpenAI's Responses API as vLLM serves it: the events a client needs, in their order.

Source: the OpenAI API reference, "Streaming events".  Items are not stored and not retrievable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.sim.api import Endpoint, Framing, Reply, Rules, Usage


class Chunks:
    """Events of one response; each has its type first and a running sequence number."""

    plain_head = plain_tail = b""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._item = f"msg_{reply.request.id}"
        self._sequence = -1
        self._text: list[bytes] = []

    def role(self) -> bytes | None:
        return self._event("response.created", response=_response(self._reply, "in_progress"))

    def token(
        self,
        text: bytes,
        output_tokens: int,
        ids: Sequence[int] = (),
        *,
        field: str = "content",
        finish: str | None = None,
        usage: Usage | None = None,
    ) -> bytes:
        if field in ("reasoning", "reasoning_content"):
            kind = "response.reasoning_text.delta"
        else:
            kind = "response.output_text.delta"
            self._text.append(text)
        delta = text.decode()
        return self._event(
            kind, item_id=self._item, output_index=0, content_index=0, delta=delta, logprobs=[]
        )

    def closing(self, finish: str, beside: Usage | None, own: Usage | None) -> list[bytes]:
        status = "incomplete" if finish == "length" else "completed"
        response = _response(self._reply, status, b"".join(self._text).decode(), beside)
        return [self._event(f"response.{status}", response=response)]

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._sequence += 1
        return orjson.dumps({"type": kind, "sequence_number": self._sequence, **fields})


def _response(
    reply: Reply, status: str, text: str | None = None, usage: Usage | None = None
) -> dict[str, Any]:
    output = []
    if text is not None:
        part = {"type": "output_text", "text": text, "annotations": []}
        output = [{"type": "message", "role": "assistant", "status": status, "content": [part]}]
    return {
        "id": f"resp_{reply.request.id}",
        "object": "response",
        "created_at": reply.created_s,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "model": reply.model,
        "output": output,
        "usage": None if usage is None else _usage(usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.output,
    }


def _whole(
    reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    status = "incomplete" if finish == "length" else "completed"
    return _response(reply, status, text, usage)


def _translate(body: Mapping[str, Any]) -> Mapping[str, Any]:
    asked = body.get("input")
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    fields = {**body, "messages": messages, "max_tokens": body.get("max_output_tokens")}
    fields.pop("input", None)
    return fields


RESPONSES = Endpoint(
    path="/v1/responses",
    chat=True,
    chunks=Chunks,
    whole=_whole,
    rules=Rules(newer_limit=False, usage_always=True, continuous_usage=False, token_ids=False),
    translate=_translate,
    framing=Framing.SSE_NAMED,
    finish_alone=True,
    usage_beside=True,
    done=None,
)
