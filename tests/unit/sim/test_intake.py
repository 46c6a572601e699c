"""What a request body is taken to ask for."""

from __future__ import annotations

from typing import Any

import pytest

from bench.sim.api import ApiError
from bench.sim.config import SimConfig
from bench.sim.dialect_vllm import CHAT, COMPLETIONS
from bench.sim.intake import Ask, read_ask, read_json

CONFIG = SimConfig(kv_blocks=8, block_tokens=16)  # a context of 128 tokens


def completion(**fields: Any) -> Ask:
    return read_ask({"prompt": [20, 21, 22], "ignore_eos": True} | fields, COMPLETIONS, CONFIG)


def chat(**fields: Any) -> Ask:
    body = {"messages": [{"role": "user", "content": "hello"}], "ignore_eos": True}
    return read_ask(body | fields, CHAT, CONFIG)


@pytest.mark.parametrize("prompt", [[20, 21], [[20, 21]], "hello there", ["hello there"]])
def test_prompt_forms(prompt: object) -> None:
    """A completion's prompt is ids or text, alone or as the only one of a list."""
    assert len(completion(prompt=prompt).prompt) == 2


def test_output_limits() -> None:
    """The limit is the field the endpoint takes, else 16 or the context's rest; never beyond it."""
    assert completion().max_tokens == 16
    assert completion(max_tokens=7).max_tokens == 7
    assert completion(max_tokens=128).max_tokens == 125
    assert chat().max_tokens == 128 - len(chat().prompt)
    assert chat(max_tokens=9, max_completion_tokens=5).max_tokens == 5
    assert chat(max_tokens=9).finish_as == "length"


def test_replies_end_by_themselves() -> None:
    """Without ignore_eos a reply has its own length, the same each time, at least min_tokens."""
    ask = completion(ignore_eos=False, max_tokens=120)
    config = CONFIG.model_copy(update={"natural_output_tokens": 1})
    body = {"prompt": [20, 21, 22], "max_tokens": 120}
    short = read_ask(body, COMPLETIONS, config)
    assert completion(ignore_eos=False, max_tokens=120) == ask
    assert (short.max_tokens, short.finish_as) == (1, "stop")
    assert read_ask(body | {"min_tokens": 40}, COMPLETIONS, config).max_tokens == 40
    assert read_ask(body | {"max_tokens": 1}, COMPLETIONS, config).finish_as == "length"


def test_natural_lengths_have_the_mean_asked_for() -> None:
    """Natural lengths are exponential around `natural_output_tokens`."""
    config = SimConfig(natural_output_tokens=100)
    body = {"max_tokens": 100_000}
    lengths = [
        read_ask(body | {"prompt": [20 + number]}, COMPLETIONS, config).max_tokens
        for number in range(4000)
    ]
    assert sum(lengths) / 4000 == pytest.approx(100, abs=5 * 100 / 4000**0.5)


def test_wants() -> None:
    """Continuous usage needs include_usage; a body that is not streamed always has usage."""
    continuous = {"continuous_usage_stats": True}
    both = continuous | {"include_usage": True}
    assert chat().wants.usage
    assert not chat(stream=True).wants.usage
    assert not chat(stream=True, stream_options=continuous).wants.continuous_usage
    assert chat(stream=True, stream_options=both).wants.continuous_usage
    assert chat(return_token_ids=True).wants.token_ids


def test_salts() -> None:
    """A cache salt separates, equal salts do not."""
    assert completion().salt == 0
    assert completion(cache_salt="a").salt == completion(cache_salt="a").salt
    assert completion(cache_salt="a").salt != completion(cache_salt="b").salt


@pytest.mark.parametrize(
    ("fields", "status", "kind", "param", "words"),
    [
        ({"model": "other"}, 404, "NotFoundError", "model", "Valid aliases: sim"),
        ({"prompt": list(range(20, 148))}, 400, "BadRequestError", "input_tokens", "128 tokens"),
        ({"prompt": "x " * 200}, 400, "BadRequestError", "input_tokens", "at least 129 input"),
        ({"prompt": ""}, 400, "BadRequestError", "prompt", "non-empty"),
        ({"prompt": []}, 400, "BadRequestError", "prompt", "non-empty"),
        ({"prompt": None}, 400, "BadRequestError", "prompt", "non-empty"),
        ({"prompt": [[20], [21]]}, 400, "BadRequestError", "prompt", "one prompt"),
        ({"prompt": [20, "x"]}, 400, "Bad Request", "body.prompt", "list of ints"),
        ({"prompt": [20, 99_999]}, 400, "BadRequestError", None, "99999 is out of vocabulary"),
        ({"max_tokens": 0}, 400, "BadRequestError", "max_tokens", "at least 1, got 0"),
        ({"max_tokens": 129}, 400, "BadRequestError", "max_tokens", "max_model_len=128"),
        ({"max_tokens": "9"}, 400, "Bad Request", "body.max_tokens", "int_type"),
        ({"temperature": -3.0}, 400, "BadRequestError", "temperature", "got -3.0"),
        ({"stream_options": [1]}, 400, "Bad Request", "body.stream_options", "stream_options"),
        ({"cache_salt": 3}, 400, "BadRequestError", "cache_salt", "non-empty string"),
        ({"n": 0}, 400, "BadRequestError", None, "at least 1"),
        ({"n": 2}, 501, "NotImplementedError", "n", "not simulated"),
        ({"stop": ["x"]}, 501, "NotImplementedError", "stop", "not simulated"),
    ],
)
def test_refused(
    fields: dict[str, Any], status: int, kind: str, param: str | None, words: str
) -> None:
    """A request that can't be served is refused as vLLM does; what is not simulated says so."""
    with pytest.raises(ApiError) as caught:
        completion(**fields)
    error = caught.value
    assert (error.status, error.kind, error.param) == (status, kind, param)
    assert words in str(error)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": None}, "body.messages"),
        ({"messages": []}, "empty conversation"),
        ({"messages": [{"content": "x"}]}, "not an object with a role"),
        ({"max_completion_tokens": 0}, "max_completion_tokens must be at least 1"),
    ],
)
def test_refused_chats(fields: dict[str, Any], words: str) -> None:
    """A conversation that can't be served is refused with the reason."""
    with pytest.raises(ApiError, match=words):
        chat(**fields)


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [(b"{", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain")],
)
def test_unreadable_bodies(raw: bytes, content_type: str) -> None:
    """A body that is no JSON object, or is not called one, is a bad request."""
    with pytest.raises(ApiError) as caught:
        read_json(raw, content_type)
    assert caught.value.status == 400


def test_config_says_what_does_not_fit() -> None:
    """A context longer than the KV blocks hold is refused with both numbers."""
    with pytest.raises(ValueError, match=r"1000 needs more than the 8 KV blocks × 16 tokens = 128"):
        SimConfig(kv_blocks=8, max_model_len=1000)
