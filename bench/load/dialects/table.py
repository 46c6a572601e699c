"""The dialects, by the name of their endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from bench.errors import UsageError
from bench.load.dialects import native, openai, responses
from bench.load.dialects.answer import Dialect
from bench.load.framing import NUL

CHAT = Dialect(
    "chat", "/v1/chat/completions", openai.encode_chat, openai.read_event, openai.read_whole
)

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        CHAT,
        Dialect(
            "completions",
            "/v1/completions",
            openai.encode_completions,
            openai.read_event,
            openai.read_whole,
        ),
        Dialect(
            "responses",
            "/v1/responses",
            responses.encode,
            responses.read_event,
            responses.read_whole,
        ),
        Dialect(
            "tgi",
            "/generate_stream",
            native.encode_tgi,
            native.read_tgi,
            native.read_tgi_whole,
            ignore_eos=False,
        ),
        Dialect(
            "infer",
            "/infer",
            native.encode_infer,
            native.read_tgi,
            native.read_tgi_whole,
            ignore_eos=False,
        ),
        Dialect(
            "triton",
            "/v2/models/{model}/generate_stream",
            native.encode_triton,
            native.read_triton,
            native.read_triton_whole,
            ignore_eos=False,
        ),
        Dialect(
            "generate",
            "/generate",
            native.encode_generate,
            native.read_generate,
            native.read_generate_whole,
            framing=NUL,
            ends_unmarked=True,
        ),
    )
}


def path_of(dialect: Dialect, model: str) -> str:
    """The dialect's path, with the model's name where it belongs."""
    return dialect.path.replace("{model}", quote(model, safe=""))


def dialect_named(endpoint: str) -> Dialect:
    """Raises UsageError with the known names."""
    if endpoint not in DIALECTS:
        raise UsageError(f"no endpoint is named {endpoint!r}", f"one of: {', '.join(DIALECTS)}")
    return DIALECTS[endpoint]
