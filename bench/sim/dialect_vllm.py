"""vLLM 0.32's forms: stream events, whole answers, errors.  Its metric names: `metrics_vllm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from bench.sim.api import ApiError, Endpoint, Facts, Family, Reply, Rules, Usage
from bench.sim.dialect_responses import RESPONSES
from bench.sim.intake import chat_prompt, check_model, completion_prompt
from bench.sim.metrics_vllm import METRICS
from bench.sim.tokens import pieces

VERSION = "0.32.0+bench.sim"
FINGERPRINT = "vllm-0.32.0-sim"
OWNER = "vllm"

_FINGERPRINT_FIELD = b',"system_fingerprint":"%b"' % FINGERPRINT.encode()


@dataclass(frozen=True, slots=True)
class Form:
    """An endpoint's words.  `before` and `after` enclose a token's text, by the delta's field."""

    chat: bool
    id_prefix: str
    chunk_object: str
    whole_object: str
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]


_CHAT = Form(
    chat=True,
    id_prefix="chatcmpl-",
    chunk_object="chat.completion.chunk",
    whole_object="chat.completion",
    before={
        "content": b'"delta":{"content":"',
        "reasoning": b'"delta":{"reasoning":"',
        "reasoning_content": b'"delta":{"reasoning_content":"',
        "tool_calls": b'"delta":{"tool_calls":[{"index":0,"function":{"arguments":"',
    },
    after={
        "content": b'"}',
        "reasoning": b'"}',
        "reasoning_content": b'"}',
        "tool_calls": b'"}}]}',
    },
)
_COMPLETIONS = Form(
    chat=False,
    id_prefix="cmpl-",
    chunk_object="text_completion",
    whole_object="text_completion",
    before={"content": b'"text":"'},
    after={"content": b'"'},
)


class Chunks:
    """The JSON of one stream's events, as bytes; what never changes is made once."""

    def __init__(self, form: Form, reply: Reply) -> None:
        self._form = form
        self._prompt = reply.request.prompt
        self._wants = reply.wants
        self._top = b'{"id":%b,"object":"%b","created":%d,"model":%b,"choices":[' % (
            orjson.dumps(form.id_prefix + reply.request.id),
            form.chunk_object.encode(),
            reply.created_s,
            orjson.dumps(reply.model),
        )
        self._head = self._top + b'{"index":0,'
        self.plain_head = self._head + form.before["content"]
        self.plain_tail = self.token(b"", 0)[len(self.plain_head) :]

    def role(self) -> bytes | None:
        if not self._form.chat:
            return None
        ids = orjson.dumps(list(self._prompt)) if self._wants.token_ids else b"null"
        return b"".join(
            (
                self._head,
                b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]',
                self._running_usage(0),
                b',"prompt_token_ids":%b,"prompt_text":null}' % ids,
            )
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
        form = self._form
        field = field if field in form.before else "content"
        parts = [self._head, self._before(field, output_tokens - len(ids)), text, form.after[field]]
        parts.append(b',"logprobs":null,"finish_reason":')
        parts.append(b'"%b"' % finish.encode() if finish else b"null")
        listed = orjson.dumps(list(ids)) if self._wants.token_ids else b"null"
        if not form.chat:
            parts.append(b',"stop_reason":null,"prompt_token_ids":')
            first = self._wants.token_ids and output_tokens == len(ids)
            parts.append(orjson.dumps(list(self._prompt)) if first else b"null")
        elif finish:
            parts.append(b',"stop_reason":null')
        parts.append(b',"token_ids":%b}]' % listed)
        if usage is not None:
            parts.append(b',"usage":%b' % self._final_usage(usage))
        else:
            parts.append(self._running_usage(output_tokens))
        if finish and not self._wants.usage:
            parts.append(_FINGERPRINT_FIELD)
        parts.append(b"}")
        return b"".join(parts)

    def closing(self, finish: str, beside: Usage | None, own: Usage | None) -> list[bytes]:
        if own is None:
            return []
        usage = self._final_usage(own)
        return [b'%b],"usage":%b%b}' % (self._top, usage, _FINGERPRINT_FIELD)]

    def _before(self, field: str, tokens_before: int) -> bytes:
        if field == "tool_calls" and not tokens_before:
            return (
                b'"delta":{"tool_calls":[{"id":"call_0","type":"function","index":0,'
                b'"function":{"name":"lookup","arguments":"'
            )
        return self._form.before[field]

    def _running_usage(self, output_tokens: int) -> bytes:
        if not self._wants.continuous_usage:
            return b""
        prompt_tokens = len(self._prompt)
        return b',"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d%b}' % (
            prompt_tokens,
            prompt_tokens + output_tokens,
            output_tokens,
            b',"completion_tokens_details":null' if self._form.chat else b"",
        )

    def _final_usage(self, usage: Usage) -> bytes:
        return orjson.dumps(_usage(self._form, usage))


def _usage(form: Form, usage: Usage) -> dict[str, Any]:
    details = {"cached_tokens": usage.cached}
    if form.chat:
        details["created_cache_tokens"] = usage.created
    return {
        "prompt_tokens": usage.prompt,
        "total_tokens": usage.prompt + usage.output,
        "completion_tokens": usage.output,
        "prompt_tokens_details": details,
    }


def _whole(
    form: Form, reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    prompt = reply.request.prompt if reply.wants.token_ids else None
    choice: dict[str, Any] = {"index": 0}
    if form.chat:
        choice["message"] = {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "reasoning": None,
        }
    else:
        choice["text"] = text
        choice["prompt_token_ids"] = prompt
    choice |= {"logprobs": None, "finish_reason": finish, "stop_reason": None, "token_ids": ids}
    body = {
        "id": form.id_prefix + reply.request.id,
        "object": form.whole_object,
        "created": reply.created_s,
        "model": reply.model,
        "choices": [choice],
        "system_fingerprint": FINGERPRINT,
    }
    if usage is not None:
        body["usage"] = _usage(form, usage)
    if form.chat:
        body["prompt_token_ids"] = prompt
    return body


def error(refusal: ApiError) -> tuple[int, bytes]:
    """OpenAI's error object."""
    fields = {
        "message": str(refusal),
        "type": refusal.kind,
        "param": refusal.param,
        "code": refusal.status,
    }
    return refusal.status, orjson.dumps({"error": fields})


def models(facts: Facts, owner: str = OWNER) -> bytes:
    """GET /v1/models."""
    model = {
        "id": facts.config.model,
        "object": "model",
        "created": facts.created_s,
        "owned_by": owner,
        "root": facts.config.model,
        "parent": None,
        "max_model_len": facts.config.context_tokens,
    }
    return orjson.dumps({"object": "list", "data": [model]})


def tokenized(body: Mapping[str, Any], facts: Facts) -> bytes:
    """POST /tokenize."""
    check_model(body, facts.config)
    ids = chat_prompt(body) if "messages" in body else completion_prompt(body)
    texts = None
    if body.get("return_token_strs") and isinstance(body.get("prompt"), str):
        texts = pieces(body["prompt"])
    return orjson.dumps(
        {
            "count": len(ids),
            "max_model_len": facts.config.context_tokens,
            "tokens": ids,
            "token_strs": texts,
        }
    )


CHAT = Endpoint("/v1/chat/completions", True, partial(Chunks, _CHAT), partial(_whole, _CHAT))
COMPLETIONS = Endpoint(
    "/v1/completions", False, partial(Chunks, _COMPLETIONS), partial(_whole, _COMPLETIONS),
    Rules(newer_limit=False, default_tokens=16),
)  # fmt: skip

VLLM = Family(
    name="vllm",
    endpoints=(CHAT, COMPLETIONS, RESPONSES),
    metrics=METRICS,
    error=error,
    pages={
        "/v1/models": models,
        "/version": lambda _: orjson.dumps({"version": VERSION}),
        "/health": lambda _: b"",
        "/ping": lambda _: b"",
    },
    tokenize={"/tokenize": tokenized},
    resets=("/reset_prefix_cache",),
)
