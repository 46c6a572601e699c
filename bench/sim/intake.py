"""What a request body asks for, checked as vLLM 0.32 checks it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bench.sim import dialect_vllm as dialect
from bench.sim.config import SimConfig
from bench.sim.dialect_vllm import ApiError, Form, Wants
from bench.sim.tokens import VOCABULARY_TOKENS, apply_template, tokenize

_DEFAULT_COMPLETION_TOKENS = 16
_NOT_SIMULATED = ("stop", "logprobs", "best_of", "echo", "response_format", "prompt_logprobs")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, understood.  It ends after `max_tokens`, for the reason `finish_as`."""

    form: Form
    prompt: list[int]
    max_tokens: int
    finish_as: str
    salt: int
    stream: bool
    wants: Wants


def read_json(raw: bytes, content_type: str) -> dict[str, Any]:
    """The body as an object.  Raises ApiError."""
    if content_type != "application/json":
        raise dialect.bad_body("Unsupported Media Type: Only 'application/json' is allowed")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        message = f"{{'type': 'json_invalid', 'msg': 'JSON decode error', 'ctx': '{error}'}}"
        raise dialect.bad_body(message, "body") from None
    if not isinstance(body, dict):
        raise dialect.bad_body("{'type': 'model_attributes_type', 'loc': 'body'}", "body")
    return body


def read_ask(body: Mapping[str, Any], form: Form, config: SimConfig) -> Ask:
    """Check a body of `/v1/chat/completions` or `/v1/completions`.  Raises ApiError."""
    check_model(body, config)
    prompt = chat_prompt(body) if form.chat else completion_prompt(body)
    context = config.context_tokens
    if len(prompt) >= context:
        raise dialect.too_long(context, min(len(prompt), context + 1))
    _check_fields(body)
    limit = _output_limit(body, form, context, len(prompt))
    max_tokens, finish_as = limit, "length"
    if not body.get("ignore_eos"):
        natural = _natural_tokens(prompt, config)
        natural = max(natural, _integer(body, "min_tokens", 0) or 0)
        if natural < limit:
            max_tokens, finish_as = natural, "stop"
    options = body.get("stream_options") or {}
    stream = bool(body.get("stream"))
    usage = bool(options.get("include_usage"))
    return Ask(
        form=form,
        prompt=prompt,
        max_tokens=max_tokens,
        finish_as=finish_as,
        salt=_salt(body),
        stream=stream,
        wants=Wants(
            usage=usage or not stream,
            continuous_usage=usage and bool(options.get("continuous_usage_stats")),
            token_ids=bool(body.get("return_token_ids")),
        ),
    )


def check_model(body: Mapping[str, Any], config: SimConfig) -> None:
    """Raises ApiError when the body names another model; naming none is allowed."""
    name = body.get("model")
    if name not in (None, config.model):
        raise dialect.unknown_model(name, config.model)


def chat_prompt(body: Mapping[str, Any]) -> list[int]:
    """Token ids of the body's conversation.  Raises ApiError."""
    messages = body.get("messages")
    if messages is None:
        raise dialect.bad_body(
            "{'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required'}", "body.messages"
        )
    if not isinstance(messages, list) or not messages:
        raise dialect.bad_field(
            "Cannot apply chat template to an empty conversation. Provide at least one message."
        )
    try:
        return apply_template(messages, body.get("tools"))
    except ValueError as error:
        raise dialect.bad_body(str(error), "body.messages") from None


def completion_prompt(body: Mapping[str, Any]) -> list[int]:
    """Token ids of the body's prompt: text, ids, or a list of one of these.  Raises ApiError."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], list | str):
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return tokenize(prompt)
    if isinstance(prompt, list) and prompt:
        if isinstance(prompt[0], list | str):
            raise dialect.bad_field("The simulator takes one prompt in a request", "prompt")
        return _checked_ids(prompt)
    raise dialect.bad_field(
        "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)",
        "prompt",
    )


def _checked_ids(prompt: list[Any]) -> list[int]:
    if set(map(type, prompt)) != {int}:
        raise dialect.bad_body("{'loc': 'body.prompt', 'msg': 'not a list of ints'}", "body.prompt")
    for outlier in (min(prompt), max(prompt)):
        if not 0 <= outlier < VOCABULARY_TOKENS:
            raise dialect.bad_field(f"Token id {outlier} is out of vocabulary")
    return prompt


def _check_fields(body: Mapping[str, Any]) -> None:
    copies = _integer(body, "n", 1)
    if copies is not None and copies < 1:
        raise dialect.bad_field(f"n must be at least 1, got {copies}.")
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        raise dialect.bad_field(
            f"temperature must be non-negative, got {temperature}.", "temperature", temperature
        )
    if not isinstance(body.get("stream_options") or {}, Mapping):
        raise dialect.bad_body("{'loc': 'body.stream_options'}", "body.stream_options")
    asked = [name for name in _NOT_SIMULATED if body.get(name)]
    asked += ["n"] if copies != 1 else []
    if asked:
        raise ApiError(501, "NotImplementedError", f"{', '.join(asked)}: not simulated", asked[0])


def _output_limit(body: Mapping[str, Any], form: Form, context: int, prompt_tokens: int) -> int:
    room = context - prompt_tokens
    newer = form.chat and body.get("max_completion_tokens") is not None
    name = "max_completion_tokens" if newer else "max_tokens"
    limit = _integer(body, name, None)
    if limit is None:
        return room if form.chat else min(_DEFAULT_COMPLETION_TOKENS, room)
    if limit < 1:
        raise dialect.bad_field(f"{name} must be at least 1, got {limit}.", name, limit)
    if limit > context:
        raise dialect.bad_field(
            f"{name}={limit} cannot be greater than max_model_len={context}. "
            "Please request fewer output tokens.",
            name,
            limit,
        )
    return min(limit, room)


def _integer(body: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise dialect.bad_body(
            f"{{'type': 'int_type', 'loc': 'body.{name}', 'msg': 'Input should be an integer'}}",
            f"body.{name}",
        )
    return value


def _salt(body: Mapping[str, Any]) -> int:
    salt = body.get("cache_salt")
    if salt is None:
        return 0
    if not isinstance(salt, str) or not salt:
        raise dialect.bad_field("cache_salt must be a non-empty string", "cache_salt")
    return hash(tuple(salt.encode()))


def _natural_tokens(prompt: Sequence[int], config: SimConfig) -> int:
    """Where the reply would end by itself: exponential, the same for the same prompt and seed."""
    drawn = hash((config.seed, *prompt)) & ((1 << 53) - 1)
    return 1 + int(-math.log((drawn + 1) / (1 << 53)) * (config.natural_output_tokens - 1))
