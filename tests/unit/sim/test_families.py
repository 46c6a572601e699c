"""Streams, answers, errors and metric names of the families beside vLLM."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.servers.exposition import SampleReader, exposed_names
from bench.servers.families import family_named
from bench.servers.family import resolve
from bench.sim.api import ApiError, Endpoint, Family, Reply, Usage, Wants, bad_field, too_long
from bench.sim.api import unknown_model as no_such_model
from bench.sim.config import EngineConfig, SimConfig
from bench.sim.engine import Engine, simulate
from bench.sim.families import FAMILIES
from bench.sim.intake import chat_prompt, chat_text, read_ask
from bench.sim.metrics import MetricsPage
from bench.sim.request import EngineRequest
from bench.sim.stats import EngineStats
from bench.sim.tokens import tokenize

CAPTURES = Path(__file__).parents[3].parent / "shared" / "captures"
CAPTURED = pytest.mark.skipif(
    not CAPTURES.is_dir(), reason="no ../shared/captures beside the repository"
)
Payloads = Callable[..., list[Any]]


def endpoint(family: str, path: str) -> Endpoint:
    return next(each for each in FAMILIES[family].endpoints if each.path.endswith(path))


def form_of(value: object) -> object:
    """Keys in their order and types of values, a number being a number."""
    if isinstance(value, dict):
        return [(key, form_of(each)) for key, each in value.items()]
    if isinstance(value, list):
        return ["list", *(form_of(each) for each in value[:1])]
    return "number" if isinstance(value, int | float) else type(value).__name__


@CAPTURED
@pytest.mark.parametrize(
    ("capture", "path", "tokens", "wants"),
    [
        ("chat_stream", "/v1/chat/completions", 32, Wants(usage=True)),
        ("chat_stream_nousage", "/v1/chat/completions", 8, Wants()),
        ("completions_stream", "/v1/completions", 32, Wants(usage=True)),
    ],
)
def test_form_of_real_llamacpp_streams(
    payloads: Payloads, capture: str, path: str, tokens: int, wants: Wants
) -> None:
    """Every event has the keys, their order and the types of llama-server's event at that place."""
    body = (CAPTURES / f"llamacpp_{capture}.txt").read_text().partition("\n\n")[2]
    lines = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
    real = [line if line == "[DONE]" else json.loads(line) for line in lines]
    made = payloads(endpoint("llamacpp", path), tokens, wants)
    if capture == "chat_stream_nousage":  # its finish event tells the timings then
        real[-2].pop("timings", None)
    assert [form_of(event) for event in made] == [form_of(event) for event in real]


def worked(family: Family) -> Engine:
    """An engine that served a prompt of 300 tokens twice, 3 tokens each."""
    config = EngineConfig(kv_blocks=64, step_s=0.01, block_tokens=128)
    engine = Engine(config, EngineStats.with_bounds(family.metrics.bounds))
    for number in (0, 1):
        request = EngineRequest(str(number), list(range(300)), 3)
        list(simulate(engine, [(number * 10**9, request)], number * 10**9))
    return engine


def page_of(family: Family, *engines: Engine) -> str:
    return MetricsPage(family.metrics, engines, "m").render().decode()


@CAPTURED
def test_metrics_of_real_llamacpp() -> None:
    """The metrics have llama-server's names and types, in its order."""
    real = (CAPTURES / "llamacpp_metrics.txt").read_text().partition("\n\n")[2]
    made = page_of(FAMILIES["llamacpp"], worked(FAMILIES["llamacpp"]))

    def types(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith("# TYPE")]

    assert types(made) == types(real)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_metrics_resolve(family: Family) -> None:
    """The scraper's table finds in a family's metrics every series the simulator exposes."""
    text = page_of(family, worked(family))
    series = resolve(family_named(family.name), exposed_names(text))
    assert {"running", "waiting", "generation_tokens"} <= series.keys()
    if family.name != "llamacpp":
        assert {"prompt_tokens", "requests_finished", "e2e_s"} <= series.keys()
    if family.name not in ("llamacpp", "tgi"):
        assert {"cache_hit_tokens", "cache_queried_tokens", "ttft_s"} <= series.keys()


def values(text: str) -> Mapping[str, float]:
    """Values by name, and by name/mode where there is a `mode`."""
    readings, bad_lines = SampleReader().read(text)
    assert not bad_lines
    return {
        f"{name}/{labels['mode']}" if "mode" in labels else name: value
        for name, labels, value in readings
    }


def test_mindie_counts_radix_matches() -> None:
    """Looked up and hit prompt tokens are gauges that only grow, summed over the engines."""
    family = FAMILIES["mindie"]
    told = values(page_of(family, worked(family), worked(family)))
    assert told["all_radix_match_num"] == 1200
    assert told["npu_radix_match_hit_num"] == 512  # 2 blocks of 128, once in each engine
    assert told["prompt_tokens_total"] == 1200
    assert told["npu_prefix_cache_hit_rate"] == pytest.approx(512 / 1200)
    assert not any(name.endswith("_created") for name in told)


def test_mindie_gathers_what_its_scheduler_knows_once_a_second() -> None:
    """Between two gatherings prompts are counted and lookups are not, as in its collect thread."""
    family = FAMILIES["mindie"]
    engine = worked(family)
    page = MetricsPage(family.metrics, [engine], "m")
    engine.stats.prefix_queries += 100
    engine.stats.prompt_tokens += 100
    told = values(page.render().decode())
    assert (told["all_radix_match_num"], told["prompt_tokens_total"]) == (600, 700)
    page.gather()
    assert values(page.render().decode())["all_radix_match_num"] == 700


def test_llamacpp_leaves_cached_tokens_out() -> None:
    """Its prompt tokens are the computed ones; the cached ones have a counter of their own."""
    family = FAMILIES["llamacpp"]
    told = values(page_of(family, worked(family)))
    assert told["llamacpp:prompt_tokens_total"] == 600 - 256
    assert told["llamacpp:prompt_tokens_cached_total"] == 256
    assert told["llamacpp:n_tokens_max"] == 303


def test_sglang_modes_add_up() -> None:
    """Prefill tokens by source add up to those looked up."""
    family = FAMILIES["sglang"]
    told = values(page_of(family, worked(family)))
    name = "sglang:prefill_effective_tokens_total"
    assert told[f"{name}/device_hit"] == 256
    assert told[f"{name}/input"] == 600 - 256


def test_mindie_chat(payloads: Payloads) -> None:
    """A role frame, a role in each chunk, usage before the choices of the finish chunk, [DONE]."""
    made = payloads(endpoint("mindie", "/chat/completions"), 3, Wants(usage=True))
    *chunks, done = made
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert len(chunks) == 4
    assert all(delta["role"] == "assistant" for delta in deltas)
    assert deltas[0]["content"] == ""
    assert ["usage" in chunk for chunk in chunks] == [False, False, False, True]
    assert list(chunks[-1]) == ["id", "object", "created", "model", "usage", "choices"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 3
    assert chunks[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert done == "[DONE]"


def test_mindie_benchmark_fields(payloads: Payloads) -> None:
    """With steps recorded, the usage has a batch size and a wait in µs for each token."""
    *_, finish, _ = payloads(endpoint("mindie", "/chat/completions"), 4, Wants(usage=True))
    assert finish["usage"]["batch_size"] == [1, 1, 1, 1]
    assert len(finish["usage"]["queue_wait_time"]) == 4
    assert all(isinstance(wait, int) for wait in finish["usage"]["queue_wait_time"])


@pytest.mark.parametrize(
    ("family", "path", "keys"),
    [
        ("mindie", "/generate_stream", ["token", "generated_text", "details"]),
        ("tgi", "/generate_stream", ["index", "token", "generated_text", "details"]),
        ("mindie", "/infer", ["prefill_time", "decode_time", "token"]),
        ("mindie", "/generate", ["text"]),
        (
            "mindie",
            "/{model}/generate_stream",
            ["id", "model_name", "model_version", "text_output", "details", "prefill_time",
             "decode_time"],
        ),
    ],
)  # fmt: skip
def test_native_streams(payloads: Payloads, family: str, path: str, keys: list[str]) -> None:
    """The other interfaces have their documented keys, one event for a token, and no [DONE]."""
    found = next(each for each in FAMILIES[family].endpoints if each.path.endswith(path))
    made = payloads(found, 3, Wants(usage=True))
    assert len(made) == 3
    assert [list(event) for event in made[:2]] == [keys, keys]
    if "details" in made[-1]:
        assert made[-1]["details"]["generated_tokens"] == 3
        assert made[-1]["details"]["finish_reason"] == "length"


def test_infer_tells_each_step(payloads: Payloads) -> None:
    """The first event has the prefill's time, the others a decode's, in ms."""
    made = payloads(endpoint("mindie", "/infer"), 3, Wants(usage=True))
    assert [event["prefill_time"] is not None for event in made] == [True, False, False]
    assert [event["decode_time"] is not None for event in made] == [False, True, True]


def test_responses(payloads: Payloads) -> None:
    """A response is created, told in deltas, and completed with its usage; there is no [DONE]."""
    made = payloads(endpoint("vllm", "/responses"), 3, Wants(usage=True))
    assert [event["type"] for event in made] == [
        "response.created",
        *["response.output_text.delta"] * 3,
        "response.incomplete",
    ]
    assert made[-1]["response"]["usage"]["output_tokens"] == 3
    text = "".join(event["delta"] for event in made[1:-1])
    assert made[-1]["response"]["output"][0]["content"][0]["text"] == text


@pytest.mark.parametrize(
    ("family", "refusal", "status", "body"),
    [
        ("mindie", bad_field("no"), 422, {"error": "no", "error_type": "Input Validation Error"}),
        ("mindie", no_such_model("x", "m"), 422, None),
        ("mindie", ApiError(503, "Service Unavailable", "no"), 503, None),
        ("tgi", bad_field("no"), 422, {"error": "no", "error_type": "validation"}),
        ("sglang", bad_field("no"), 400, None),
        ("llamacpp", too_long(8192, 9012), 400, None),
    ],
)
def test_errors(family: str, refusal: ApiError, status: int, body: dict[str, str] | None) -> None:
    """A refusal has the family's status and form."""
    told = FAMILIES[family].error(refusal)
    assert told[0] == status
    if body is not None:
        assert json.loads(told[1]) == body


@CAPTURED
def test_form_of_a_real_llamacpp_error() -> None:
    """A prompt that is too long is refused in llama-server's words."""
    real = (CAPTURES / "llamacpp_err_too_long.txt").read_text().partition("\n\n")[2]
    assert json.loads(FAMILIES["llamacpp"].error(too_long(8192, 9012))[1]) == json.loads(real)


def test_sglang_errors_are_flat() -> None:
    """SGLang's errors have no `error` around them."""
    told = json.loads(FAMILIES["sglang"].error(bad_field("no"))[1])
    assert told["object"] == "error"
    assert "error" not in told


CONFIG = SimConfig(kv_blocks=4096, block_tokens=16)


def test_mindie_heeds_max_tokens_only() -> None:
    """`max_completion_tokens` changes nothing; no answer is longer than maxIterTimes."""
    body = {"model": "sim", "messages": [{"role": "user", "content": "hi"}], "ignore_eos": True}
    chat = endpoint("mindie", "/chat/completions")
    assert read_ask(body | {"max_completion_tokens": 5}, chat, CONFIG).max_tokens == 512
    assert read_ask(body | {"max_tokens": 5}, chat, CONFIG).max_tokens == 5
    assert read_ask(body | {"max_tokens": 5000}, chat, CONFIG).max_tokens == 512
    assert read_ask(body | {"stream": True}, chat, CONFIG).wants.usage


def test_mindie_needs_the_model() -> None:
    """A body without a model is refused."""
    body = {"messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(ApiError):
        read_ask(body, endpoint("mindie", "/chat/completions"), CONFIG)


def test_block_tokens_are_the_familys() -> None:
    """A family has its own block size unless one is given."""
    assert SimConfig(family="mindie").block_tokens == 128
    assert SimConfig(family="mindie", block_tokens=32).block_tokens == 32
    assert SimConfig().block_tokens == 16


def test_the_template_as_text_has_as_many_tokens() -> None:
    """llama-server's /apply-template gives a text that tokenizes to the prompt's length."""
    body = {
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "x"}]
    }
    assert len(tokenize(chat_text(body))) == len(chat_prompt(body))


def test_whole_answers() -> None:
    """Every endpoint's answer that is not streamed tells the text."""
    for family in FAMILIES.values():
        for each in family.endpoints:
            request = EngineRequest("x", [20, 21], 2)
            request.steps = []
            list(simulate(Engine(EngineConfig(kv_blocks=64)), [(0, request)]))
            reply = Reply(request, "m", 1, Wants(usage=True))
            told = each.whole(reply, "hello", "length", None, Usage(2, 2, 0, 0))
            assert "hello" in json.dumps(told)


def test_mindie_without_its_cache_says_nothing_of_it(payloads: Payloads) -> None:
    """The plug-in tells cached tokens: without it the field is absent, which is not 0."""
    request = EngineRequest("x", [20, 21], 2)
    whole = endpoint("mindie", "/chat/completions").whole
    for caching in (True, False):
        reply = Reply(request, "m", 1, Wants(usage=True), caching)
        told = whole(reply, "hello", "length", None, Usage(2, 2, 0, 0))
        assert ("prompt_tokens_details" in told["usage"]) is caching
