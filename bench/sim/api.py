"""What a server family is to the simulator: endpoints, errors, pages, names.  No network.

One family is one module that fills these in (`dialect_*`), with a table of metric names beside it
(`metrics_*`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from bench.sim.request import EngineRequest

if TYPE_CHECKING:
    from bench.sim.config import SimConfig
    from bench.sim.engine import Engine
    from bench.sim.metrics import MetricsTable


class Reason(StrEnum):
    """Why a request is refused; a family has a status and words of its own for it."""

    BAD_FIELD = "bad_field"
    BAD_BODY = "bad_body"
    UNKNOWN_MODEL = "unknown_model"
    TOO_LONG = "too_long"
    OTHER = "other"


class ApiError(Exception):
    """A request that gets an error for an answer, in vLLM's status, type and words."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        param: str | None = None,
        *,
        reason: Reason = Reason.OTHER,
        prompt_tokens: int | None = None,
        context_tokens: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.reason = reason
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


def bad_field(message: str, param: str | None = None, value: object = None) -> ApiError:
    """A field whose value can't be served."""
    named = f" (parameter={param}, value={value})" if param and value is not None else ""
    return ApiError(400, "BadRequestError", message + named, param, reason=Reason.BAD_FIELD)


def bad_body(message: str, param: str | None = None) -> ApiError:
    """A body that is not what the endpoint takes."""
    message = f"1 validation error:\n  {message}"
    return ApiError(400, "Bad Request", message, param, reason=Reason.BAD_BODY)


def unknown_model(name: object, served: str) -> ApiError:
    message = f"The model `{name}` does not exist. Valid aliases: {served}."
    return ApiError(404, "NotFoundError", message, "model", reason=Reason.UNKNOWN_MODEL)


def too_long(context_tokens: int, prompt_tokens: int) -> ApiError:
    counted = min(prompt_tokens, context_tokens + 1)  # vLLM stops counting there
    return ApiError(
        400,
        "BadRequestError",
        f"This model's maximum context length is {context_tokens} tokens. However, your prompt "
        f"contains at least {counted} input tokens, which exceeds this limit even without any "
        "output tokens. Please reduce the length of the input prompt. "
        f"(parameter=input_tokens, value={counted})",
        "input_tokens",
        reason=Reason.TOO_LONG,
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
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


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer that is being made: whose, and what goes into each of its events.

    `caching`: the engine looks prompts up in its prefix cache.
    """

    request: EngineRequest
    model: str
    created_s: int
    wants: Wants
    caching: bool = True


class Chunks(Protocol):
    """The payloads of one stream's events.

    `plain_head` and `plain_tail` enclose the text of the commonest event, so that it can be made
    by joining bytes; empty where each event differs in more than its text.
    """

    plain_head: bytes
    plain_tail: bytes

    def role(self) -> bytes | None:
        """The first event, which holds no token; None where there is none."""

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
        """An event that carries tokens, `output_tokens` with those before; `text` needs no escapes.

        `finish` and `usage` are given where they stand in this event.
        """

    def closing(self, finish: str, beside: Usage | None, own: Usage | None) -> list[bytes]:
        """The events behind the last token's.

        The finish reason, where it stands alone, with `beside` in its event; then `own`, the
        account in an event of its own.
        """


class Whole(Protocol):
    def __call__(
        self, reply: Reply, text: str, finish: str, ids: Sequence[int] | None, usage: Usage | None
    ) -> dict[str, Any]:
        """The body of an answer that is not streamed.  `ids` is None unless wanted."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Which optional fields an endpoint heeds; what it does not heed it ignores.

    `output_cap` bounds every answer, and is its length where the request names none.
    """

    checks_model: bool = True
    needs_model: bool = False
    newer_limit: bool = True  # max_completion_tokens
    ignore_eos: bool = True
    min_tokens: bool = True
    cache_salt: bool = True
    usage_always: bool = False
    continuous_usage: bool = True
    token_ids: bool = True
    output_cap: int | None = None
    default_tokens: int | None = None


class Framing(StrEnum):
    """What stands around a payload in the body."""

    SSE = "sse"
    SSE_TIGHT = "sse_tight"  # `data:` without a space
    SSE_NAMED = "sse_named"  # an `event:` line with the payload's `type`
    NUL = "nul"  # JSON objects, each ended by a zero byte


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One generation endpoint.

    `translate` makes the fields of OpenAI's API of its body.  `finish_alone`: the finish reason has
    an event of its own; `usage_beside`: the usage stands in the event with the finish reason.
    `timed`: its events tell how long the engine's steps took.
    """

    path: str
    chat: bool
    chunks: Callable[[Reply], Chunks]
    whole: Whole
    rules: Rules = Rules()
    translate: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda body: body
    framing: Framing = Framing.SSE
    finish_alone: bool = False
    usage_beside: bool = False
    done: bytes | None = b"[DONE]"
    timed: bool = False
    stream_type: str = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the pages of a server are made from."""

    config: SimConfig
    engines: Sequence[Engine]
    created_s: int


Page = Callable[[Facts], bytes]
"""A page's JSON; empty for an answer without a body."""


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of server.

    `error` gives a refusal its status and body, `unknown_path` an address that is not served.
    `pages` and `management` are what a GET of its business and management port answers; a family
    with a metrics port of its own has `management` pages.  `tokenize` is the path and the function
    from a body to its answer; `resets` the paths that empty the prefix cache.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    metrics: MetricsTable
    error: Callable[[ApiError], tuple[int, bytes]]
    pages: Mapping[str, Page]
    unknown_path: bytes = b'{"detail":"Not Found"}'
    unauthorized: bytes = b'{"error":"Unauthorized"}'
    management: Mapping[str, Page] = field(default_factory=dict)
    tokenize: Mapping[str, Callable[[Mapping[str, Any], Facts], bytes]] = field(
        default_factory=dict
    )
    resets: tuple[str, ...] = ()
    metrics_off: tuple[int, bytes] | None = None
    server_header: str = "bench-sim"
