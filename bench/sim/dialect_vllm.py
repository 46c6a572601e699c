"""vLLM 0.32's forms: stream events, whole answers, errors.  Its metric names: `metrics_vllm`.

A second family is a second module with the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

VERSION = "0.32.0+bench.sim"
FINGERPRINT = "vllm-0.32.0-sim"
OWNER = "vllm"
STREAM_TYPE = "text/event-stream; charset=utf-8"
DONE = b"[DONE]"

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


CHAT = Form(
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
COMPLETIONS = Form(
    chat=False,
    id_prefix="cmpl-",
    chunk_object="text_completion",
    whole_object="text_completion",
    before={"content": b'"text":"'},
    after={"content": b'"'},
)


@dataclass(frozen=True, slots=True)
class Wants:
    """What a request asks its answer to hold beside the text."""

    usage: bool = False
    continuous_usage: bool = False
    token_ids: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What the final account says; `created` are the prompt tokens newly put into the cache."""

    prompt: int
    output: int
    cached: int
    created: int


class Chunks:
    """The JSON of one stream's events, as bytes; what never changes is made once."""

    def __init__(
        self,
        form: Form,
        *,
        request_id: str,
        created_s: int,
        model: str,
        prompt: Sequence[int],
        wants: Wants,
    ) -> None:
        self._form = form
        self._prompt = prompt
        self._wants = wants
        self._top = b'{"id":%b,"object":"%b","created":%d,"model":%b,"choices":[' % (
            orjson.dumps(form.id_prefix + request_id),
            form.chunk_object.encode(),
            created_s,
            orjson.dumps(model),
        )
        self._head = self._top + b'{"index":0,'
        self.plain_head = self._head + form.before["content"]
        self.plain_tail = self.token(b"", 0)[len(self.plain_head) :]

    def role(self) -> bytes:
        """The chat stream's first event, which holds no token."""
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
        """An event that carries tokens; `text` needs no escapes.  `usage` goes beside `choices`."""
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

    def usage(self, usage: Usage) -> bytes:
        """The event after the last token's."""
        return b'%b],"usage":%b%b}' % (self._top, self._final_usage(usage), _FINGERPRINT_FIELD)

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


def whole(
    form: Form,
    *,
    request_id: str,
    created_s: int,
    model: str,
    text: str,
    finish: str,
    ids: Sequence[int] | None,
    prompt: Sequence[int] | None,
    usage: Usage | None,
) -> bytes:
    """The body of an answer that is not streamed.  `ids` and `prompt` are None unless wanted."""
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
        "id": form.id_prefix + request_id,
        "object": form.whole_object,
        "created": created_s,
        "model": model,
        "choices": [choice],
        "system_fingerprint": FINGERPRINT,
    }
    if usage is not None:
        body["usage"] = _usage(form, usage)
    if form.chat:
        body["prompt_token_ids"] = prompt
    return orjson.dumps(body)


class ApiError(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param

    def body(self) -> bytes:
        return orjson.dumps({"error": self.fields()})

    def fields(self) -> dict[str, Any]:
        return {
            "message": str(self),
            "type": self.kind,
            "param": self.param,
            "code": self.status,
        }


UNAUTHORIZED = b'{"error":"Unauthorized"}'
NOT_FOUND = b'{"detail":"Not Found"}'


def bad_field(message: str, param: str | None = None, value: object = None) -> ApiError:
    """A field whose value can't be served."""
    named = f" (parameter={param}, value={value})" if param and value is not None else ""
    return ApiError(400, "BadRequestError", message + named, param)


def bad_body(message: str, param: str | None = None) -> ApiError:
    """A body that is not what the endpoint takes."""
    return ApiError(400, "Bad Request", f"1 validation error:\n  {message}", param)


def unknown_model(name: object, served: str) -> ApiError:
    message = f"The model `{name}` does not exist. Valid aliases: {served}."
    return ApiError(404, "NotFoundError", message, "model")


def too_long(context_tokens: int, prompt_tokens: int) -> ApiError:
    return bad_field(
        f"This model's maximum context length is {context_tokens} tokens. However, your prompt "
        f"contains at least {prompt_tokens} input tokens, which exceeds this limit even without "
        "any output tokens. Please reduce the length of the input prompt.",
        "input_tokens",
        prompt_tokens,
    )
