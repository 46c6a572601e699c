"""Huawei MindIE: its OpenAI forms, its other interfaces, its three ports.  Names: `metrics_mindie`.

Sources: MindIE-LLM 3.0.0.beta.1 `single_req_vllm_openai_infer_interface.cpp`, `http_handler.cpp`,
and its interface documentation.  `max_completion_tokens` and `stream_options` are not heeded; an
answer is never longer than `maxIterTimes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from bench.sim.api import ApiError, Endpoint, Facts, Family, Reason, Reply, Rules, Usage
from bench.sim.dialect_native import (
    generate,
    infer,
    step_batches,
    steps_ms,
    tgi_stream,
    triton_stream,
    waits_us,
)
from bench.sim.metrics_mindie import METRICS

VERSION = "3.0.0+bench.sim"
MAX_ITER_TIMES = 512

_OPENAI_RULES = Rules(
    needs_model=True,
    newer_limit=False,
    min_tokens=False,
    cache_salt=False,
    usage_always=True,
    continuous_usage=False,
    token_ids=False,
    output_cap=MAX_ITER_TIMES,
)
_STATUS = {
    Reason.BAD_FIELD: (422, "Input Validation Error"),
    Reason.BAD_BODY: (422, "Input Validation Error"),
    Reason.UNKNOWN_MODEL: (422, "Input Validation Error"),
    Reason.TOO_LONG: (422, "Input Validation Error"),
}


class Chunks:
    """A role frame, then a role in each chunk; the usage beside the finish reason."""

    plain_head = plain_tail = b""

    def __init__(self, chat: bool, reply: Reply) -> None:
        self._chat = chat
        self._reply = reply

    def role(self) -> bytes | None:
        if not self._chat:
            return None
        delta = {"role": "assistant", "content": ""}
        return self._event({"delta": delta, "logprobs": None, "finish_reason": None}, None)

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
        said: dict[str, Any] = {"text": text.decode()}
        if self._chat:
            name = "reasoning_content" if field.startswith("reasoning") else "content"
            said = {"delta": {"role": "assistant", name: text.decode()}}
        return self._event({**said, "logprobs": None, "finish_reason": finish}, usage)

    def closing(self, finish: str, beside: Usage | None, own: Usage | None) -> list[bytes]:
        return []

    def _event(self, choice: dict[str, Any], usage: Usage | None) -> bytes:
        event = _head(self._reply, "chat.completion.chunk" if self._chat else "text_completion")
        if usage is not None:
            event["usage"] = _usage(self._reply, usage)
        event["choices"] = [{"index": 0, **choice}]
        return orjson.dumps(event)


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {
        "id": f"endpoint_common_{reply.request.id}",
        "object": kind,
        "created": reply.created_s,
        "model": reply.model,
    }


def _usage(reply: Reply, usage: Usage) -> dict[str, Any]:
    told: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
    }
    if reply.caching:  # told by the plug-in, which is the cache
        told["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if reply.request.steps is not None:
        told["batch_size"] = step_batches(reply.request)
        told["queue_wait_time"] = waits_us(reply.request)
    return told


def _whole(
    chat: bool, reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
) -> dict[str, Any]:
    said: dict[str, Any] = {"text": text}
    if chat:
        said = {"message": {"role": "assistant", "content": text, "tool_calls": []}}
    body = _head(reply, "chat.completion" if chat else "text_completion")
    body["choices"] = [{"index": 0, **said, "logprobs": None, "finish_reason": finish}]
    if usage is not None:
        body["usage"] = _usage(reply, usage)
    if reply.request.steps is not None:
        first, *rest = (round(time_ms) for time_ms in steps_ms(reply.request))
        body |= {"prefill_time": first, "decode_time_arr": rest}
    return body


def _error(refusal: ApiError) -> tuple[int, bytes]:
    status, kind = _STATUS.get(refusal.reason, (refusal.status, refusal.kind))
    return status, orjson.dumps({"error": str(refusal), "error_type": kind})


def _models(facts: Facts) -> bytes:
    model = {
        "id": facts.config.model,
        "object": "model",
        "created": facts.created_s,
        "owned_by": "MindIE Server",
    }
    return orjson.dumps({"object": "list", "data": [model]})


def _server(facts: Facts) -> bytes:
    config = facts.config
    extensions = {
        "max_iter_times": MAX_ITER_TIMES,
        "prefill_policy_type": 0,
        "decode_policy_type": 0,
        "max_prefill_batch_size": config.max_num_seqs,
        "max_prefill_tokens": config.max_num_batched_tokens,
    }
    return orjson.dumps({"name": "MindIE Server", "version": VERSION, "extensions": extensions})


def _endpoint(path: str, chat: bool) -> Endpoint:
    return Endpoint(
        path, chat, partial(Chunks, chat), partial(_whole, chat), _OPENAI_RULES, usage_beside=True
    )


MINDIE = Family(
    name="mindie",
    endpoints=(
        _endpoint("/v1/chat/completions", True),
        _endpoint("/v1/completions", False),
        tgi_stream(MAX_ITER_TIMES),
        infer(MAX_ITER_TIMES),
        triton_stream(MAX_ITER_TIMES),
        generate(MAX_ITER_TIMES),
    ),
    metrics=METRICS,
    error=_error,
    pages={"/v1/models": _models, "/v2": _server},
    management={
        "/v2/health/live": lambda _: b"",
        "/v2/health/ready": lambda _: b"",
        "/health": lambda _: b"",
    },
    unknown_path=b'{"error":"Not Found","error_type":"NotFoundError"}',
    metrics_off=(
        500,
        b'{"error":"Environment variable MIES_SERVICE_MONITOR_MODE is not set.",'
        b'"error_type":"Internal Server Error"}',
    ),
    server_header="MindIE",
)
