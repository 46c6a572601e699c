"""Text Generation Inference: its own stream and its OpenAI chat.  Names: `metrics_tgi`.

Source: TGI `router/src/lib.rs`, `router/src/server.rs`, `router/src/chat.rs`.  It can't be told to
ignore the end of text, and tells no cached tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from bench.sim.api import ApiError, Endpoint, Facts, Family, Framing, Reason, Reply, Rules, Usage
from bench.sim.dialect_native import TgiChunks, tgi_stream
from bench.sim.intake import completion_prompt
from bench.sim.metrics_tgi import METRICS
from bench.sim.tokens import pieces

VERSION = "3.3.6+bench.sim"
FINGERPRINT = "3.3.6-bench.sim"
_KIND = {
    Reason.BAD_FIELD: (422, "validation"),
    Reason.BAD_BODY: (422, "validation"),
    Reason.TOO_LONG: (422, "validation"),
    Reason.UNKNOWN_MODEL: (404, "validation"),
}


class StreamChunks(TgiChunks):
    """TGI's own events: numbered, and an id is a number."""

    def event(
        self, text: str, count: int, ids: list[int], finish: str | None, usage: Usage | None
    ) -> dict[str, Any]:
        event = super().event(text, count, ids, finish, None)
        event["token"] |= {"id": ids[-1], "logprob": 0.0, "special": not text}
        if finish:
            event["details"]["input_length"] = self.reply.request.prompt_tokens
        return {"index": count, **event}


class ChatChunks:
    """A role in each chunk and no frame before them; the usage in an event of its own."""

    plain_head = plain_tail = b""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def role(self) -> bytes | None:
        return None

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
        delta = {"role": "assistant", "content": text.decode()}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._event([choice], None)

    def closing(self, finish: str, beside: Usage | None, own: Usage | None) -> list[bytes]:
        return [] if own is None else [self._event([], _usage(own))]

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        return orjson.dumps(
            {
                "object": "chat.completion.chunk",
                "id": "",
                "created": self._reply.created_s,
                "model": self._reply.model,
                "system_fingerprint": FINGERPRINT,
                "choices": choices,
                "usage": usage,
            }
        )


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
    }


def _whole(
    reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "object": "chat.completion",
        "id": "",
        "created": reply.created_s,
        "model": reply.model,
        "system_fingerprint": FINGERPRINT,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": None if usage is None else _usage(usage),
    }


def _error(refusal: ApiError) -> tuple[int, bytes]:
    status, kind = _KIND.get(refusal.reason, (refusal.status, "generation"))
    return status, orjson.dumps({"error": str(refusal), "error_type": kind})


def _info(facts: Facts) -> bytes:
    config = facts.config
    return orjson.dumps(
        {
            "model_id": config.model,
            "max_concurrent_requests": config.max_num_seqs,
            "max_total_tokens": config.context_tokens,
            "router": "text-generation-router",
            "version": VERSION,
        }
    )


def _models(facts: Facts) -> bytes:
    model = {
        "id": facts.config.model,
        "object": "model",
        "created": 0,
        "owned_by": facts.config.model,
    }
    return orjson.dumps({"object": "list", "data": [model]})


def _tokenized(body: Any, facts: Facts) -> bytes:
    text = str(body.get("inputs", ""))
    found = zip(completion_prompt({"prompt": text}), pieces(text), strict=True)
    return orjson.dumps([{"id": token, "text": piece} for token, piece in found])


TGI = Family(
    name="tgi",
    endpoints=(
        replace(tgi_stream(), chunks=StreamChunks, framing=Framing.SSE_TIGHT),
        Endpoint(
            "/v1/chat/completions",
            True,
            ChatChunks,
            _whole,
            Rules(
                checks_model=False, newer_limit=False, ignore_eos=False, min_tokens=False,
                cache_salt=False, continuous_usage=False, token_ids=False,
            ),
        ),
    ),
    metrics=METRICS,
    error=_error,
    pages={"/v1/models": _models, "/info": _info, "/health": lambda _: b""},
    tokenize={"/tokenize": _tokenized},
    unknown_path=b"",
)  # fmt: skip
