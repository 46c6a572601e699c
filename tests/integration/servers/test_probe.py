"""The probe against servers on real sockets: the simulated one, and small ones that misbehave."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from bench.cli.probe import command
from bench.model import Target, TokenMethod
from bench.servers.client import ControlClient
from bench.servers.families import family_named
from bench.servers.family import allowed_names
from bench.servers.findings import scrape_target
from bench.servers.probe import probe
from bench.servers.scrape import ScrapeTarget
from bench.servers.telemetry import DCGM
from bench.servers.tokenizer import count_chat, tokenize
from bench.sim.process import SimProcess

Answer = Any
"""Status, content type and body; or a function of the request's JSON that gives one."""


def models(owned_by: str, *names: str) -> Answer:
    rows = [{"id": name, "object": "model", "owned_by": owned_by} for name in names]
    return 200, "application/json", json.dumps({"object": "list", "data": rows}).encode()


def events(*choices: dict[str, Any], usage_in_finish: bool = True, done: bool = True) -> bytes:
    """A stream of choices; the last one carries the finish reason and the usage."""
    usage = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}
    bodies: list[Any] = [{"choices": [{"index": 0, **choice}]} for choice in choices]
    bodies[-1]["choices"][0]["finish_reason"] = "length"
    if usage_in_finish:
        bodies[-1]["usage"] = usage
    text = "".join(f"data: {json.dumps(body)}\n\n" for body in bodies)
    return (text + ("data: [DONE]\n\n" if done else "")).encode()


CHAT = events({"delta": {"role": "assistant", "content": "a"}}, {"delta": {"content": "b"}})


def streamed(body: bytes = CHAT) -> Answer:
    return 200, "text/event-stream", body


def test_the_simulated_server_in_every_field(sim: SimProcess) -> None:
    """The simulated vLLM is seen as what it is set to be, with nothing missing."""
    result = asyncio.run(probe(Target(f"{sim.url}/v1/", ""), deep=True))
    config = sim.config
    assert (result.server.family, result.server.known_by) == ("vllm", "metric names")
    assert result.model == config.model
    assert result.max_model_len == config.max_model_len
    assert result.metrics.block_tokens == config.block_tokens
    assert result.metrics.prefix_caching is True
    assert result.metrics.missing == ()
    assert result.gaps == ()
    assert result.stream is not None
    assert (result.stream.role_frame, result.stream.usage_place) == ("once", "own_event")
    assert result.stream.output_tokens == 8
    assert result.abilities.token_method is TokenMethod.CONTINUOUS_USAGE
    assert result.abilities.ignore_eos in ("accepted", "honoured")
    assert result.abilities.tokenize
    assert result.style.continuous_usage
    assert not result.style.return_token_ids


def test_a_deep_look_finds_the_prefix_cache(sim: SimProcess) -> None:
    """A repeat hits whole blocks of the prompt, another cache salt hits none, ids count exactly."""
    closer = asyncio.run(probe(Target(sim.url, ""), deep=True)).closer
    assert closer is not None
    prompt, cached = closer.repeat_prompt_tokens, closer.repeat_cached_tokens
    assert prompt is not None
    assert cached == (prompt - 1) // sim.config.block_tokens * sim.config.block_tokens
    assert closer.salt_isolates is True
    assert (closer.token_ids_prompt, closer.token_ids_exact) == (True, True)


def test_completions_are_asked_with_token_ids(sim: SimProcess) -> None:
    """On /v1/completions the one request also shows that a prompt of ids is taken."""
    result = asyncio.run(probe(Target(sim.url, "", endpoint="completions")))
    assert result.abilities.token_ids_prompt is True
    assert result.stream is not None
    assert result.stream.role_frame is None


def test_the_servers_tokenizer_gives_ids_and_chat_lengths(sim: SimProcess) -> None:
    """Text becomes ids; a chat prompt is longer than its text by the template."""
    text, model, family = "one two three", sim.config.model, family_named("vllm")

    async def ask() -> tuple[list[int], int]:
        async with ControlClient(Target(sim.url, model)) as client:
            messages = [{"role": "user", "content": text}]
            return (
                await tokenize(client, family, model, text),
                await count_chat(client, family, model, messages),
            )

    ids, chat = asyncio.run(ask())
    assert len(ids) == 3
    assert chat > len(ids)


def test_a_tokenizer_that_takes_no_messages_is_given_the_templates_text(probed: Any) -> None:
    """llama.cpp turns messages into text on another path; the count then matches the usage."""

    def tokens(body: dict[str, Any]) -> Answer:
        count = len(body["content"].split()) + body["add_special"]
        return 200, "application/json", json.dumps({"tokens": list(range(count))}).encode()

    def template(body: dict[str, Any]) -> Answer:
        text = f"<user> {body['messages'][0]['content']}"
        return 200, "application/json", json.dumps({"prompt": text}).encode()

    answers: dict[str, Answer] = {
        "/v1/models": models("llamacpp", "m"),
        "/tokenize": tokens,
        "/apply-template": template,
        "/v1/chat/completions": streamed(),
    }
    result, _ = probed(answers)
    assert result.stream is not None
    assert result.stream.prompt_tokens == 9
    assert result.abilities.tokenize
    wrong, _ = probed({**answers, "/apply-template": (200, "application/json", b'{"prompt":"a"}')})
    assert not wrong.abilities.tokenize
    assert any("counts 2 prompt tokens, the usage 9" in note for note in wrong.notes)


def test_the_command_prints_one_json_object(sim: SimProcess) -> None:
    """stdout holds the object alone; what is sent is announced on stderr; no key is shown."""
    run = CliRunner(env={"OPENAI_API_KEY": "hunter2"}).invoke(
        command, [sim.url, "--json"], standalone_mode=False
    )
    assert run.exception is None
    found = json.loads(run.stdout)
    assert found["schema"] == 1
    assert found["server"]["family"] == "vllm"
    assert found["metrics"]["series"]["running"]["name"] == "vllm:num_requests_running"
    assert "one streamed chat request" in run.stderr
    assert "hunter2" not in run.stdout + run.stderr


def test_the_command_prints_a_table(sim: SimProcess) -> None:
    """A person reads the family, the model and the stream in words."""
    run = CliRunner().invoke(command, [sim.url], standalone_mode=False)
    assert run.exception is None
    assert "vLLM, 0.32.0" in run.stdout
    assert "role frame first, usage in its own event, [DONE]" in run.stdout


def test_refused_fields_are_left_out_and_recorded(probed: Any) -> None:
    """transformers serve answers 422 and names the fields: one more request suffices."""

    def strict(body: dict[str, Any]) -> Answer:
        unknown = {"ignore_eos", "return_token_ids"} & body.keys()
        if unknown:
            detail = {"detail": f"Unexpected fields in the request: {unknown}"}
            return 422, "application/json", json.dumps(detail).encode()
        return streamed(events({"delta": {"content": "a"}}, {"delta": {}}, done=False))

    result, stub = probed({"/v1/models": models("x"), "/v1/chat/completions": strict}, model="tiny")
    assert result.server.family == "openai"
    assert set(result.abilities.refused) == {"ignore_eos", "return_token_ids"}
    assert result.abilities.ignore_eos == "refused"
    assert not result.style.ignore_eos
    assert len(stub.bodies) == 2
    assert {gap.missing for gap in result.gaps} >= {"ignore_eos", "metrics", "token_account"}
    assert any("[DONE]" in note for note in result.notes)
    assert any("not in /v1/models" in note for note in result.notes)


def test_a_refusal_that_names_nothing_is_narrowed_down(probed: Any) -> None:
    """Fields go one by one; the one after which it works is refused, those before are unproven."""

    def strict(body: dict[str, Any]) -> Answer:
        if "continuous_usage_stats" in json.dumps(body):
            return 400, "application/json", b'{"error":{"message":"bad request"}}'
        return streamed()

    result, _ = probed({"/v1/models": models("x", "m"), "/v1/chat/completions": strict})
    assert result.abilities.refused == ("continuous_usage_stats",)
    assert result.abilities.left_out == ("return_token_ids",)
    assert result.style.ignore_eos


def test_another_name_for_the_output_limit_is_learnt(probed: Any) -> None:
    """OpenAI's newer models refuse max_tokens and name max_completion_tokens instead."""

    def strict(body: dict[str, Any]) -> Answer:
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return 400, "application/json", json.dumps({"error": {"message": said}}).encode()
        return streamed()

    result, stub = probed({"/v1/models": models("x", "m"), "/v1/chat/completions": strict})
    assert result.style.max_tokens_field == "max_completion_tokens"
    assert stub.bodies[-1]["max_completion_tokens"] == 8


def test_mindie_is_measured_from_its_own_answers(probed: Any) -> None:
    """MindIE: version from /v2, no metrics without its port, usage beside the finish reason."""
    result, stub = probed(
        {
            "/v1/models": models("MindIE Server", "qwen"),
            "/v2": (200, "application/json", b'{"name":"mindie","version":"3.0.0"}'),
            "/v1/chat/completions": streamed(
                events(
                    {"delta": {"role": "assistant", "content": ""}},
                    {"delta": {"role": "assistant", "content": "a"}},
                    {"delta": {"role": "assistant", "content": "b"}},
                )
            ),
        },
        metrics_url="http://127.0.0.1:1/metrics",
    )
    assert (result.server.family, result.server.version) == ("mindie", "3.0.0")
    assert result.stream is not None
    assert result.stream.role_frame == "every"
    remedies = {gap.missing: gap.remedy for gap in result.gaps}
    assert "MIES_SERVICE_MONITOR_MODE" in remedies["metrics"]
    assert any("maxIterTimes" in note for note in result.notes)
    assert not any("health" in path or "stop" in path for path in stub.paths)


def test_litellm_is_known_by_the_headers_of_its_answers(probed: Any) -> None:
    """The proxy hides behind `owned_by: openai`; the engine's metrics stay the engine's."""

    def answer(body: dict[str, Any]) -> web.Response:
        headers = {"x-litellm-version": "1.109.1"}
        return web.Response(body=CHAT, content_type="text/event-stream", headers=headers)

    result, _ = probed(
        {
            "/v1/models": models("openai", "m"),
            "/metrics": (200, "text/plain", b"vllm:num_requests_running 3\n"),
            "/v1/chat/completions": answer,
        }
    )
    assert (result.server.family, result.server.version) == ("litellm", "1.109.1")
    assert result.server.layers == ("vllm",)
    assert result.metrics.series["running"].family == "vllm"
    assert any("retries" in note for note in result.notes)


def test_a_server_that_does_not_stream_is_told_so(probed: Any) -> None:
    """A JSON answer to a stream request leaves TTFT unmeasurable, and says it."""
    body = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'
    result, _ = probed(
        {
            "/v1/models": models("x", "m"),
            "/v1/chat/completions": (200, "application/json", body),
        }
    )
    assert result.stream is None
    assert "stream" in {gap.missing for gap in result.gaps}


def test_trtllm_metrics_are_found_on_their_own_path(probed: Any) -> None:
    """/metrics of trtllm-serve is JSON and drained on read: the Prometheus path is asked first."""
    result, stub = probed(
        {
            "/v1/models": models("tensorrt_llm", "m"),
            "/prometheus/metrics": (200, "text/plain", b"trtllm_prompt_tokens_total 3\n"),
            "/v1/chat/completions": streamed(),
        }
    )
    assert result.metrics.series["prompt_tokens"].name == "trtllm_prompt_tokens_total"
    assert "GET /metrics" not in stub.paths


def test_a_probed_server_can_be_scraped(sim: SimProcess) -> None:
    """The scrape keeps every series of the family, and holds the key back from other hosts."""
    target = Target(sim.url, "", headers={"Authorization": "Bearer hunter2"})
    result = asyncio.run(probe(target))
    scrape = scrape_target(result, target)
    assert scrape is not None
    assert "vllm:prefix_cache_hits_total" in scrape.names
    assert scrape.headers == target.headers
    assert "hunter2" not in repr(scrape) + json.dumps(result.as_json())


def test_sglang_tells_its_parallelism_on_its_version_page(probed: Any) -> None:
    """Degrees above 1 of /server_info stand beside the version."""
    page = {"version": "0.5.23", "tp_size": 8, "pp_size": 1, "dp_size": 2, "ep_size": None}
    result, _ = probed(
        {
            "/v1/models": models("sglang", "m"),
            "/server_info": (200, "application/json", json.dumps(page).encode()),
            "/v1/chat/completions": streamed(),
        }
    )
    assert (result.server.family, result.server.version) == ("sglang", "0.5.23")
    assert result.server.parallel == {"tp": 8, "dp": 2}


@pytest.mark.parametrize(
    ("name", "path", "text", "prompt_tokens"),
    [
        (
            "higress",
            "/stats/prometheus",
            b'route_upstream_model_consumer_metric_input_token{ai_model="m"} 24\n',
            "route_upstream_model_consumer_metric_input_token",
        ),
        (
            "envoy-ai-gateway",
            "/metrics",
            b'gen_ai_client_token_usage_token_sum{gen_ai_token_type="input"} 24\n',
            "gen_ai_client_token_usage_token_sum",
        ),
    ],
)
def test_a_gateway_is_known_by_its_metrics(
    serving: Any, name: str, path: str, text: bytes, prompt_tokens: str
) -> None:
    """It passes on the engine's `owned_by`; its own metrics stand on a port of their own."""
    answers = {"/v1/models": models("vllm", "m"), "/v1/chat/completions": streamed()}

    async def run() -> Any:
        metrics = {path: (200, "text/plain", text)}
        async with serving(answers) as gateway, serving(metrics) as beside:
            return await probe(Target(gateway.url, ""), metrics_url=beside.url + path)

    result = asyncio.run(run())
    assert (result.server.family, result.server.known_by) == (name, "metric names")
    assert result.metrics.series["prompt_tokens"].name == prompt_tokens


def test_a_routers_copies_are_left_out_where_the_engine_is_scraped(probed: Any) -> None:
    """Alone the router's copies are kept; beside the engine they would count everything twice."""
    text = b'vllm:healthy_pods_total 1\nvllm:num_requests_running{server="a"} 1\n'
    result, stub = probed(
        {
            "/v1/models": models("vllm", "m"),
            "/metrics": (200, "text/plain", text),
            "/v1/chat/completions": streamed(),
        }
    )
    assert result.server.family == "production-stack"
    target = Target(stub.url, "m")
    engine = ScrapeTarget("engine", "http://h/metrics", allowed_names([family_named("vllm")]))
    exporter = ScrapeTarget("gpu", "http://h:9400/metrics", allowed_names([DCGM]))
    alone, beside = (scrape_target(result, target, beside=[o]) for o in (exporter, engine))
    assert alone is not None
    assert beside is not None
    assert (alone.drop_labels, beside.drop_labels) == ((), ("server",))
