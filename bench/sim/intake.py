"""What a request body asks for, checked as vLLM 0.32 checks it, by the rules of its endpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from bench.sim.api import ApiError, Endpoint, Wants, bad_body, bad_field, too_long, unknown_model
from bench.sim.config import SimConfig
from bench.sim.tokens import VOCABULARY_TOKENS, apply_template, template_text, tokenize

_Made = TypeVar("_Made")

_NOT_SIMULATED = ("stop", "logprobs", "best_of", "echo", "response_format", "prompt_logprobs")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, understood.  It ends after `max_tokens`, for the reason `finish_as`."""

    endpoint: Endpoint
    prompt: list[int]
    max_tokens: int
    finish_as: str
    salt: int
    stream: bool
    wants: Wants


def read_json(raw: bytes, content_type: str) -> dict[str, Any]:
    """The body as an object.  Raises ApiError."""
    if content_type != "application/json":
        raise bad_body("Unsupported Media Type: Only 'application/json' is allowed")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        message = f"{{'type': 'json_invalid', 'msg': 'JSON decode error', 'ctx': '{error}'}}"
        raise bad_body(message, "body") from None
    if not isinstance(body, dict):
        raise bad_body("{'type': 'model_attributes_type', 'loc': 'body'}", "body")
    return body


def read_ask(body: Mapping[str, Any], endpoint: Endpoint, config: SimConfig) -> Ask:
    """Check a body of a generation endpoint.  Raises ApiError."""
    rules = endpoint.rules
    if rules.needs_model and not isinstance(body.get("model"), str):
        raise bad_body("{'type': 'missing', 'loc': 'body.model'}", "body.model")
    if rules.checks_model:
        check_model(body, config)
    body = endpoint.translate(body)
    prompt = chat_prompt(body) if endpoint.chat else completion_prompt(body)
    context = config.context_tokens
    if len(prompt) >= context:
        raise too_long(context, len(prompt))
    _check_fields(body)
    limit = _output_limit(body, endpoint, context, len(prompt))
    max_tokens, finish_as = limit, "length"
    if not (rules.ignore_eos and body.get("ignore_eos")):
        natural = _natural_tokens(prompt, config)
        if rules.min_tokens:
            natural = max(natural, _integer(body, "min_tokens", 0) or 0)
        if natural < limit:
            max_tokens, finish_as = natural, "stop"
    return Ask(
        endpoint=endpoint,
        prompt=prompt,
        max_tokens=max_tokens,
        finish_as=finish_as,
        salt=_salt(body) if rules.cache_salt else 0,
        stream=bool(body.get("stream")),
        wants=_wants(body, endpoint),
    )


def _wants(body: Mapping[str, Any], endpoint: Endpoint) -> Wants:
    rules, options = endpoint.rules, body.get("stream_options") or {}
    asked = bool(options.get("include_usage"))
    running = asked and bool(options.get("continuous_usage_stats"))
    return Wants(
        usage=asked or rules.usage_always or not body.get("stream"),
        continuous_usage=running and rules.continuous_usage,
        token_ids=bool(body.get("return_token_ids")) and rules.token_ids,
    )


def check_model(body: Mapping[str, Any], config: SimConfig) -> None:
    """Raises ApiError when the body names another model; naming none is allowed."""
    name = body.get("model")
    if name not in (None, config.model):
        raise unknown_model(name, config.model)


def chat_prompt(body: Mapping[str, Any]) -> list[int]:
    """Token ids of the body's conversation.  Raises ApiError."""
    return _templated(body, apply_template)


def chat_text(body: Mapping[str, Any]) -> str:
    """The body's conversation as one text.  Raises ApiError."""
    return _templated(body, template_text)


def _templated(body: Mapping[str, Any], template: Callable[[list[Any], Any], _Made]) -> _Made:
    messages = body.get("messages")
    if messages is None:
        raise bad_body(
            "{'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required'}", "body.messages"
        )
    if not isinstance(messages, list) or not messages:
        raise bad_field(
            "Cannot apply chat template to an empty conversation. Provide at least one message."
        )
    try:
        return template(messages, body.get("tools"))
    except ValueError as error:
        raise bad_body(str(error), "body.messages") from None


def completion_prompt(body: Mapping[str, Any]) -> list[int]:
    """Token ids of the body's prompt: text, ids, or a list of one of these.  Raises ApiError."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], list | str):
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return tokenize(prompt)
    if isinstance(prompt, list) and prompt:
        if isinstance(prompt[0], list | str):
            raise bad_field("The simulator takes one prompt in a request", "prompt")
        return _checked_ids(prompt)
    raise bad_field(
        "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)",
        "prompt",
    )


def _checked_ids(prompt: list[Any]) -> list[int]:
    if set(map(type, prompt)) != {int}:
        raise bad_body("{'loc': 'body.prompt', 'msg': 'not a list of ints'}", "body.prompt")
    for outlier in (min(prompt), max(prompt)):
        if not 0 <= outlier < VOCABULARY_TOKENS:
            raise bad_field(f"Token id {outlier} is out of vocabulary")
    return prompt


def _check_fields(body: Mapping[str, Any]) -> None:
    copies = _integer(body, "n", 1)
    if copies is not None and copies < 1:
        raise bad_field(f"n must be at least 1, got {copies}.")
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        raise bad_field(
            f"temperature must be non-negative, got {temperature}.", "temperature", temperature
        )
    if not isinstance(body.get("stream_options") or {}, Mapping):
        raise bad_body("{'loc': 'body.stream_options'}", "body.stream_options")
    asked = [name for name in _NOT_SIMULATED if body.get(name)]
    asked += ["n"] if copies != 1 else []
    if asked:  # the status and type that vLLM answers with for what it can't do
        raise ApiError(501, "NotImplementedError", f"{', '.join(asked)}: not simulated", asked[0])


def _output_limit(
    body: Mapping[str, Any], endpoint: Endpoint, context: int, prompt_tokens: int
) -> int:
    rules, room = endpoint.rules, context - prompt_tokens
    if rules.output_cap is not None:
        room = min(room, rules.output_cap)
    newer = rules.newer_limit and body.get("max_completion_tokens") is not None
    name = "max_completion_tokens" if newer else "max_tokens"
    limit = _integer(body, name, None)
    if limit is None:
        return min(rules.default_tokens or room, room)
    if limit < 1:
        raise bad_field(f"{name} must be at least 1, got {limit}.", name, limit)
    if limit > context and rules.output_cap is None:
        raise bad_field(
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
        raise bad_body(
            f"{{'type': 'int_type', 'loc': 'body.{name}', 'msg': 'Input should be an integer'}}",
            f"body.{name}",
        )
    return value


def _salt(body: Mapping[str, Any]) -> int:
    salt = body.get("cache_salt")
    if salt is None:
        return 0
    if not isinstance(salt, str) or not salt:
        raise bad_field("cache_salt must be a non-empty string", "cache_salt")
    return hash(tuple(salt.encode()))


def _natural_tokens(prompt: Sequence[int], config: SimConfig) -> int:
    """Where the reply would end by itself: exponential, the same for the same prompt and seed."""
    drawn = hash((config.seed, *prompt)) & ((1 << 53) - 1)
    return 1 + int(-math.log((drawn + 1) / (1 << 53)) * (config.natural_output_tokens - 1))
