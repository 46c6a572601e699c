"""llama.cpp's llama-server: forms as captured, with its own order of keys.  Names:
`metrics_llamacpp`.

The finish reason has an event of its own; the usage comes after it in a chat, beside it in a
completion, with `timings` in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from bench.sim.api import ApiError, Endpoint, Facts, Family, Reason, Reply, Rules, Usage
from bench.sim.intake import chat_text
from bench.sim.metrics_llamacpp import METRICS
from bench.sim.tokens import VOCABULARY_TOKENS, tokenize

FINGERPRINT = "b0-bench.sim"

_RULES = Rules(checks_model=False, cache_salt=False, continuous_usage=False, token_ids=False)


class Chunks:
    plain_head = plain_tail = b""

    def __init__(self, chat: bool, reply: Reply) -> None:
        self._chat = chat
        self._reply = reply

    def role(self) -> bytes | None:
        return (
            self._event({"delta": {"role": "assistant", "content": None}}) if self._chat else None
        )

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
        if not self._chat:
            return self._event({"text": text.decode()})
        name = "reasoning_content" if field.startswith("reasoning") else "content"
        return self._event({"delta": {name: text.decode()}})

    def closing(self, finish: str, beside: Usage | None, own: Usage | None) -> list[bytes]:
        said: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        events = [self._event(said, finish, beside)]
        if own is not None:
            events.append(orjson.dumps({**self._envelope([]), **_account(self._reply, own)}))
        return events

    def _event(
        self, said: dict[str, Any], finish: str | None = None, usage: Usage | None = None
    ) -> bytes:
        if self._chat:
            choice = {"finish_reason": finish, "index": 0, **said}
        else:
            choice = {**said, "index": 0, "logprobs": None, "finish_reason": finish}
        event = self._envelope([choice])
        if not self._chat:
            account = {} if usage is None else _account(self._reply, usage)
            timings = {"timings": account.pop("timings")} if account else {}
            event = {**event, **account, "id": self._id, **timings}
        return orjson.dumps(event)

    @property
    def _id(self) -> str:
        return f"chatcmpl-{self._reply.request.id}"  # completions too

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {
            "choices": choices,
            "created": self._reply.created_s,
            **({"id": self._id} if self._chat else {}),
            "model": self._reply.model,
            "system_fingerprint": FINGERPRINT,
            "object": kind,
        }


def _account(reply: Reply, usage: Usage) -> dict[str, Any]:
    request = reply.request
    first_ns, last_ns = request.first_ns or 0, request.last_ns or 0
    prompt_ms = (first_ns - (request.scheduled_ns or first_ns)) / 1e6
    predicted_ms = (last_ns - first_ns) / 1e6
    computed = usage.prompt - usage.cached
    return {
        "usage": {
            "completion_tokens": usage.output,
            "prompt_tokens": usage.prompt,
            "total_tokens": usage.prompt + usage.output,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
        },
        "timings": {
            "cache_n": usage.cached,
            "prompt_n": computed,
            "prompt_ms": prompt_ms,
            "prompt_per_token_ms": prompt_ms / max(computed, 1),
            "prompt_per_second": computed * 1e3 / max(prompt_ms, 1e-3),
            "predicted_n": usage.output,
            "predicted_ms": predicted_ms,
            "predicted_per_token_ms": predicted_ms / max(usage.output, 1),
            "predicted_per_second": usage.output * 1e3 / max(predicted_ms, 1e-3),
        },
    }


def _whole(
    chat: bool, reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    choice: dict[str, Any] = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    if chat:
        message = {"role": "assistant", "content": text}
        choice = {"finish_reason": finish, "index": 0, "message": message}
    account = {} if usage is None else _account(reply, usage)
    timings = {"timings": account.pop("timings")} if account else {}
    return {
        "choices": [choice],
        "created": reply.created_s,
        "model": reply.model,
        "system_fingerprint": FINGERPRINT,
        "object": "chat.completion" if chat else "text_completion",
        **account,
        "id": f"chatcmpl-{reply.request.id}",
        **timings,
    }


def _error(refusal: ApiError) -> tuple[int, bytes]:
    fields: dict[str, Any] = {
        "code": refusal.status,
        "message": str(refusal),
        "type": "invalid_request_error" if refusal.status < 500 else "server_error",
    }
    if refusal.reason is Reason.TOO_LONG:
        asked, limit = refusal.prompt_tokens, refusal.context_tokens
        fields["message"] = (
            f"request ({asked} tokens) exceeds the available context size ({limit} tokens), "
            "try increasing it"
        )
        fields["type"] = "exceed_context_size_error"
        fields |= {"n_prompt_tokens": asked, "n_ctx": limit}
    return refusal.status, orjson.dumps({"error": fields})


def _models(facts: Facts) -> bytes:
    context = facts.config.context_tokens
    meta = {"vocab_type": 2, "n_vocab": VOCABULARY_TOKENS, "n_ctx": context, "n_ctx_train": context}
    model = {
        "id": facts.config.model,
        "aliases": [facts.config.model],
        "tags": [],
        "object": "model",
        "created": facts.created_s,
        "owned_by": "llamacpp",
        "meta": meta,
    }
    return orjson.dumps({"object": "list", "data": [model]})


def _tokenized(body: Mapping[str, Any], facts: Facts) -> bytes:
    return orjson.dumps({"tokens": tokenize(str(body.get("content", "")))})


def _templated(body: Mapping[str, Any], facts: Facts) -> bytes:
    return orjson.dumps({"prompt": chat_text(body)})


def _endpoint(path: str, chat: bool) -> Endpoint:
    return Endpoint(
        path,
        chat,
        partial(Chunks, chat),
        partial(_whole, chat),
        _RULES,
        finish_alone=True,
        usage_beside=not chat,
        stream_type="text/event-stream",
    )


LLAMACPP = Family(
    name="llamacpp",
    endpoints=(_endpoint("/v1/chat/completions", True), _endpoint("/v1/completions", False)),
    metrics=METRICS,
    error=_error,
    pages={"/v1/models": _models, "/health": lambda _: b'{"status":"ok"}'},
    unknown_path=b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}',
    unauthorized=b'{"error":{"code":401,"message":"Invalid API Key","type":"auth_error"}}',
    tokenize={"/tokenize": _tokenized, "/apply-template": _templated},
    server_header="llama.cpp",
)
