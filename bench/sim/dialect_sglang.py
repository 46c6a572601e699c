"""SGLang 0.5's forms.  Names: `metrics_sglang`.

Source: SGLang 0.5.23 `entrypoints/openai/protocol.py` and `serving_chat.py`.  The finish reason and
the usage have events of their own; errors have no `error` around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from bench.sim.api import ApiError, Endpoint, Facts, Family, Reply, Rules, Usage
from bench.sim.dialect_vllm import models, tokenized
from bench.sim.metrics_sglang import METRICS

VERSION = "0.5.23+bench.sim"


class Chunks:
    plain_head = plain_tail = b""

    def __init__(self, chat: bool, reply: Reply) -> None:
        self._chat = chat
        self._reply = reply

    def role(self) -> bytes | None:
        return self._event(self._said("assistant", "content", ""), 0) if self._chat else None

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
        name = "reasoning_content" if field.startswith("reasoning") else "content"
        return self._event(self._said(None, name, text.decode()), output_tokens)

    def closing(self, finish: str, beside: Usage | None, own: Usage | None) -> list[bytes]:
        said = self._said(None, "content", None)
        events = [self._event(said, self._reply.request.output_tokens, finish)]
        if own is not None:
            events.append(orjson.dumps({**self._head(), "choices": [], "usage": _usage(own)}))
        return events

    def _said(self, role: str | None, field: str, text: str | None) -> dict[str, Any]:
        if not self._chat:
            return {"text": text or ""}
        delta = {"role": role, "content": None, "reasoning_content": None, "tool_calls": None}
        return {"delta": {**delta, field: text}}

    def _event(self, said: dict[str, Any], output_tokens: int, finish: str | None = None) -> bytes:
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        running = None
        if self._reply.wants.continuous_usage:
            prompt = self._reply.request.prompt_tokens
            running = _usage(Usage(prompt, output_tokens, 0, 0))
            running["prompt_tokens_details"] = None
        choices = [{**choice, "matched_stop": None}]
        return orjson.dumps({**self._head(), "choices": choices, "usage": running})

    def _head(self) -> dict[str, Any]:
        return {
            "id": self._reply.request.id,
            "object": "chat.completion.chunk" if self._chat else "text_completion",
            "created": self._reply.created_s,
            "model": self._reply.model,
        }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "total_tokens": usage.prompt + usage.output,
        "completion_tokens": usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "reasoning_tokens": 0,
    }


def _whole(
    chat: bool, reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "reasoning_content": None, "tool_calls": None}
    said: dict[str, Any] = {"message": message} if chat else {"text": text}
    choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish, "matched_stop": None}
    return {
        "id": reply.request.id,
        "object": "chat.completion" if chat else "text_completion",
        "created": reply.created_s,
        "model": reply.model,
        "choices": [choice],
        "usage": None if usage is None else _usage(usage),
    }


def _error(refusal: ApiError) -> tuple[int, bytes]:
    fields = {
        "object": "error",
        "message": str(refusal),
        "type": refusal.kind,
        "param": refusal.param,
        "code": refusal.status,
    }
    return refusal.status, orjson.dumps(fields)


def _server_info(facts: Facts) -> bytes:
    config = facts.config
    return orjson.dumps(
        {
            "model_path": config.model,
            "served_model_name": config.model,
            "page_size": config.block_tokens,
            "context_length": config.context_tokens,
            "version": VERSION,
        }
    )


def _endpoint(path: str, chat: bool) -> Endpoint:
    rules = Rules(newer_limit=chat, token_ids=False, default_tokens=None if chat else 16)
    return Endpoint(
        path, chat, partial(Chunks, chat), partial(_whole, chat), rules, finish_alone=True
    )


SGLANG = Family(
    name="sglang",
    endpoints=(_endpoint("/v1/chat/completions", True), _endpoint("/v1/completions", False)),
    metrics=METRICS,
    error=_error,
    pages={
        "/v1/models": partial(models, owner="sglang"),
        "/server_info": _server_info,
        "/model_info": _server_info,
        "/ready": lambda _: b"",
    },
    tokenize={"/tokenize": tokenized},
    resets=("/flush_cache",),
    server_header="uvicorn",
)
