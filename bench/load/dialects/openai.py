"""OpenAI chat and text completions: encoding a turn, reading an answer.

Sources: the OpenAI API reference; vLLM's, MindIE's and llama.cpp's extensions of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bench.load.dialects.answer import Answer, as_text, count_of, known, seconds
from bench.load.dialects.form import form_of
from bench.model import Prompt, RequestStyle, Turn

_MS = 1e-3
_US = 1e-6
_TEXTS = {"content": True, "text": True, "reasoning": False, "reasoning_content": False}
"""Where a token's text stands in an event, and whether it is part of the visible answer."""

_CARRIERS = (*_TEXTS, "tool_calls", "function_call", "refusal")
"""What is not empty where an event carries tokens."""

_SERVER_TIMES = frozenset({"batch_size", "timings", "metrics", "prefill_time"})


def encode_chat(
    model: str, prompt: Prompt, turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]
) -> bytes:
    """A body of `/v1/chat/completions`; text becomes one user message."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return _encode({"model": model, "messages": messages}, turn, style, sampling)


def encode_completions(
    model: str, prompt: Prompt, turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]
) -> bytes:
    """A body of `/v1/completions`: text, or token ids."""
    return _encode({"model": model, "prompt": as_text(prompt)}, turn, style, sampling)


def _encode(
    body: dict[str, Any], turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]
) -> bytes:
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


def read_event(
    answer: Answer, event: dict[str, Any], payload: bytes, at_ns: int, low_ns: int
) -> None:
    """An event of a stream: choices, an account of tokens, or both."""
    usage = event.get("usage")
    if usage:
        _read_usage(answer, usage, event)
    choices: list[dict[str, Any]] = event.get("choices") or []
    for choice in choices:
        _read_choice(answer, choice, at_ns, low_ns, usage)
    if len(choices) == 1 and not choices[0].get("finish_reason"):
        _learn(answer, payload, choices[0], counted=bool(usage))


def read_whole(answer: Answer, body: dict[str, Any]) -> None:
    """An answer that was not streamed."""
    _read_usage(answer, body.get("usage") or {}, body)
    for choice in body.get("choices") or ():
        answer.finish(choice.get("finish_reason"))
        answer.say((choice.get("message") or {}).get("content", choice.get("text")))


def _learn(answer: Answer, payload: bytes, choice: Mapping[str, Any], *, counted: bool) -> None:
    """Keeps the form of an event that carries a text and nothing else."""
    delta = choice.get("delta")
    said: Mapping[str, Any] = {"text": choice.get("text")} if delta is None else delta
    carried = [name for name in _CARRIERS if said.get(name)]
    if len(carried) != 1 or carried[0] not in _TEXTS or choice.get("token_ids"):
        return
    name, key = carried[0], b'"%b":"' % carried[0].encode()
    if payload.count(key) != 1:
        return
    start = payload.index(key) + len(key)
    end = payload.find(b'"', start)
    if payload[start:end] == said[name].encode():
        form = form_of(payload, start, end, counted=counted, visible=_TEXTS[name])
        answer.form = form or answer.form


def _read_choice(
    answer: Answer,
    choice: Mapping[str, Any],
    at_ns: int,
    low_ns: int,
    usage: Mapping[str, Any] | None,
) -> None:
    delta = choice.get("delta")
    if delta is None:
        carried = text = choice.get("text")
    else:
        text = delta.get("content")
        carried = any(map(delta.get, _CARRIERS))
        if not carried and "role" in delta and answer.role_ns is None:
            answer.role_ns = at_ns
    answer.finish(choice.get("finish_reason"))
    ids = choice.get("token_ids")
    answer.put(
        at_ns,
        low_ns,
        bool(carried),
        None if ids is None else len(ids),
        count_of(usage.get("completion_tokens")) if usage else None,
    )
    answer.say(text)


def _read_usage(answer: Answer, usage: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    """Keeps the last account of each kind; continuous usage has no prompt details.

    Cached tokens: OpenAI's `prompt_tokens_details`, DeepSeek's `prompt_cache_hit_tokens`,
    llama.cpp's `timings`.
    """
    details = usage.get("prompt_tokens_details") or {}
    cached = (
        details.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        (event.get("timings") or {}).get("cache_n"),
    )
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    answer.prompt_tokens = known(usage.get("prompt_tokens"), answer.prompt_tokens)
    answer.completion_tokens = known(usage.get("completion_tokens"), answer.completion_tokens)
    answer.cached_tokens = known(*cached, answer.cached_tokens)
    answer.reasoning_tokens = known(reasoning, answer.reasoning_tokens)
    if not (_SERVER_TIMES.isdisjoint(usage) and _SERVER_TIMES.isdisjoint(event)):
        _read_server_times(answer, usage, event)


def _read_server_times(answer: Answer, usage: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    """What the server says of its own steps.

    MindIE with MINDIE_LLM_BENCHMARK_ENABLE: `batch_size[]` and `queue_wait_time[]` (µs) in the
    usage, one for each token; `prefill_time` and `decode_time_arr` (ms) in a whole answer.
    llama.cpp: `timings`.  vLLM with --enable-per-request-metrics: `metrics`.
    """
    waits = usage.get("queue_wait_time") or [None]
    sizes = usage.get("batch_size") or []
    decodes = event.get("decode_time_arr")
    timings, metrics = event.get("timings") or {}, event.get("metrics") or {}
    answer.batch_sizes = [size for size in sizes if count_of(size)]
    queue = (seconds(waits[0], _US), seconds(metrics.get("queue_time_ms"), _MS))
    prefill = (
        seconds(event.get("prefill_time"), _MS),
        seconds(timings.get("prompt_ms"), _MS),
        seconds(metrics.get("time_to_first_token_ms"), _MS),
    )
    decode = (
        seconds(sum(decodes), _MS) if decodes else None,
        seconds(timings.get("predicted_ms"), _MS),
        seconds(metrics.get("generation_time_ms"), _MS),
    )
    answer.queue_s = next((s for s in queue if s is not None), None)
    answer.prefill_s = next((s for s in prefill if s is not None), None)
    answer.decode_s = next((s for s in decode if s is not None), None)
