"""The simulated server over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from bench.errors import UsageError
from bench.sim.config import SimConfig
from bench.sim.http import SimServer
from bench.sim.truth import TruthRow, read_truth

Served = Callable[..., Any]


def metrics(page: bytes) -> Counter[str]:
    """Totals over all label sets, by sample name."""
    totals: Counter[str] = Counter()
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            totals[sample.name] += sample.value
    return totals


def test_a_stream_and_its_truth(served: Served) -> None:
    """A stream holds role, tokens, usage and [DONE]; the truth lies between sending and reading."""

    async def scenario(server: SimServer, client: Any) -> None:
        answer = await client.chat()
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert len(answer.events) == 1 + 6 + 1 + 1
        assert answer.events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert answer.usage["completion_tokens"] == 6
        (row,) = server.truth
        assert (row.prompt_tokens, row.output_tokens, row.finish) == (7, 6, "length")
        first_read = next(at for at, read in answer.reads if b'"content":" ' in read)
        assert answer.sent_ns <= row.received_ns <= row.first_ns <= first_read
        assert row.first_ns < row.last_ns <= answer.reads[-1][0]

    served(scenario)


def test_whole_answers_say_the_same(served: Served) -> None:
    """Streamed or not, the same prompt has the same text and usage."""

    async def scenario(server: SimServer, client: Any) -> None:
        stream = await client.chat(return_token_ids=True)
        whole = await client.chat(stream=False, stream_options=None, return_token_ids=True)
        body = json.loads(whole.body)
        ids = [token for event in stream.events[1:-2] for token in event["choices"][0]["token_ids"]]
        assert whole.text == stream.text
        assert body["choices"][0]["token_ids"] == ids
        assert body["usage"]["completion_tokens"] == stream.usage["completion_tokens"]
        assert body["object"] == "chat.completion"

    served(scenario)


def test_completions(served: Served) -> None:
    """A prompt of token ids has exactly that many prompt tokens, and no template."""

    async def scenario(server: SimServer, client: Any) -> None:
        body = {"prompt": list(range(100, 150)), "max_tokens": 4, "ignore_eos": True}
        answer = await client.request("POST", "/v1/completions", json.dumps(body).encode())
        assert answer.usage["prompt_tokens"] == 50
        assert json.loads(answer.body)["object"] == "text_completion"
        assert answer.text

    served(scenario)


def test_a_connection_is_kept(
    served: Served, connect: Callable[..., Any], chat_body: Callable[..., bytes]
) -> None:
    """Streams, whole answers and errors follow each other on one connection."""

    async def scenario(server: SimServer, client: Any) -> None:
        connection = await connect(server.url)
        bodies = [chat_body(), chat_body(stream=False, stream_options=None), b"{", chat_body()]
        statuses = [
            (await connection.request("POST", "/v1/chat/completions", body)).status
            for body in bodies
        ]
        await connection.close()
        assert statuses == [200, 200, 400, 200]

    served(scenario)


def test_many_at_once_and_the_counters(served: Served) -> None:
    """Fifty streams at once all get their tokens, and the counters are the sums of their usage."""

    async def scenario(server: SimServer, client: Any) -> None:
        asked = [client.chat(f"{'word ' * 40}{number}", max_tokens=20) for number in range(50)]
        answers = await asyncio.gather(*asked)
        usages = [answer.usage for answer in answers]
        assert all(usage["completion_tokens"] == 20 for usage in usages)
        cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
        totals = metrics((await client.get("/metrics")).body)
        assert cached > 0
        assert totals["vllm:generation_tokens_total"] == 1000
        assert totals["vllm:prompt_tokens_total"] == sum(each["prompt_tokens"] for each in usages)
        assert totals["vllm:prompt_tokens_cached_total"] == cached
        assert totals["vllm:prefix_cache_hits_total"] == cached
        assert totals["vllm:request_success_total"] == 50
        assert totals["vllm:time_to_first_token_seconds_count"] == 50
        assert sum(row.cached_tokens for row in server.truth) == cached

    served(scenario)


def test_a_conversation_hits_its_own_history(served: Served) -> None:
    """A second turn that sends the served reply back finds prompt and reply in the cache."""

    async def scenario(server: SimServer, client: Any) -> None:
        first = await client.chat("tell me", max_tokens=40)
        history = [
            {"role": "user", "content": "tell me"},
            {"role": "assistant", "content": first.text},
            {"role": "user", "content": "and then?"},
        ]
        second = await client.chat(messages=history)
        known = first.usage["prompt_tokens"] + 39  # the last token was never fed back
        assert second.usage["prompt_tokens_details"]["cached_tokens"] == known // 16 * 16

    served(scenario)


def test_cache_reset(served: Served) -> None:
    """POST /reset_prefix_cache makes the next repeat cold, and says whether it could."""

    async def scenario(server: SimServer, client: Any) -> None:
        cached = []
        for reset in (False, False, True):
            if reset:
                told = await client.request("POST", "/reset_prefix_cache")
                assert json.loads(told.body) == {"success": True}
            answer = await client.chat("word " * 40)
            cached.append(answer.usage["prompt_tokens_details"]["cached_tokens"])
        assert cached == [0, 32, 0]

    served(scenario)


def test_a_client_that_leaves(
    served: Served, connect: Callable[..., Any], chat_body: Callable[..., bytes]
) -> None:
    """A request whose client has gone is aborted, frees its blocks and is in the record."""

    async def scenario(server: SimServer, client: Any) -> None:
        connection = await connect(server.url)
        body = chat_body(max_tokens=50_000)
        asking = asyncio.create_task(connection.request("POST", "/v1/chat/completions", body))
        while not server.engines[0].stats.generation_tokens:
            await asyncio.sleep(0)
        await connection.close()
        assert (await asking).ended == "eof"
        while not server.truth:
            await asyncio.sleep(0)
        (row,) = server.truth
        assert row.finish == "abort"
        assert row.output_tokens < 50_000
        assert server.engines[0].blocks.used == 0
        assert not server.engines[0].busy

    served(scenario)


def test_leaving_a_busy_server(served: Served) -> None:
    """A server that is left while it streams ends every request, and records them."""

    async def scenario(server: SimServer, client: Any) -> tuple[SimServer, list[Any]]:
        fields = [{}, {"stream": False, "stream_options": None}]
        tasks = [asyncio.create_task(client.chat(max_tokens=50_000, **each)) for each in fields]
        while len(server.engines[0].running) < 2:
            await asyncio.sleep(0)
        return server, tasks

    server, _ = served(scenario)
    assert [row.finish for row in server.truth] == ["abort", "abort"]
    assert {row.status for row in server.truth} == {200, None}


def test_ids(served: Served) -> None:
    """X-Request-Id names the answer and the truth; without it ids differ."""

    async def scenario(server: SimServer, client: Any) -> None:
        body = json.dumps({"prompt": "x", "max_tokens": 1}).encode()
        named = await client.request("POST", "/v1/completions", body, X_Request_Id='a"b-1')
        others = [await client.request("POST", "/v1/completions", body) for _ in range(2)]
        assert json.loads(named.body)["id"] == 'cmpl-a"b-1'
        assert server.truth[0].id == 'a"b-1'
        assert len({json.loads(other.body)["id"] for other in others}) == 2

    served(scenario)


def test_small_endpoints(served: Served) -> None:
    """Models, health, version and unknown paths answer as vLLM's do."""

    async def scenario(server: SimServer, client: Any) -> None:
        models = json.loads((await client.get("/v1/models")).body)["data"]
        assert [(each["id"], each["owned_by"]) for each in models] == [("sim", "vllm")]
        assert models[0]["max_model_len"] == 4096 * 16
        health = await client.get("/health")
        assert (health.status, health.body) == (200, b"")
        assert json.loads((await client.get("/version")).body)["version"].startswith("0.32.0")
        unknown = await client.get("/nothing")
        assert (unknown.status, json.loads(unknown.body)) == (404, {"detail": "Not Found"})
        assert (await client.get("/v1/chat/completions")).status == 405

    served(scenario)


@pytest.mark.parametrize("content", ["hello there, 推理", "a  b\n\nc", "x" * 1000])
def test_tokenize_counts_what_usage_counts(served: Served, content: str) -> None:
    """/tokenize of text and of messages gives the prompt tokens that usage then tells."""

    async def scenario(server: SimServer, client: Any) -> None:
        async def tokens(fields: dict[str, Any]) -> list[int]:
            told = await client.request("POST", "/tokenize", json.dumps(fields).encode())
            body = json.loads(told.body)
            assert body["count"] == len(body["tokens"])
            return body["tokens"]

        messages = [{"role": "user", "content": content}]
        chatted = await client.chat(content)
        ids = await tokens({"prompt": content})
        body = json.dumps({"prompt": ids, "max_tokens": 1}).encode()
        completed = await client.request("POST", "/v1/completions", body)
        assert len(await tokens({"messages": messages})) == chatted.usage["prompt_tokens"]
        assert len(ids) == completed.usage["prompt_tokens"]

    served(scenario)


def test_key(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key, /v1 answers only to it; /metrics and /health answer to all, as vLLM's do."""
    monkeypatch.setenv("SIM_TEST_KEY", "open sesame")

    async def scenario(server: SimServer, client: Any) -> None:
        refused = await client.get("/v1/models")
        wrong = await client.get("/v1/models", Authorization="Bearer open")
        right = await client.get("/v1/models", Authorization="Bearer open sesame")
        assert (refused.status, wrong.status, right.status) == (401, 401, 200)
        assert json.loads(refused.body) == {"error": "Unauthorized"}
        assert (await client.get("/metrics")).status == 200

    served(scenario, api_key_env="SIM_TEST_KEY")
    monkeypatch.delenv("SIM_TEST_KEY")
    with pytest.raises(UsageError, match="SIM_TEST_KEY"):
        SimServer(SimConfig(api_key_env="SIM_TEST_KEY"))


def test_refusals_are_answers(served: Served) -> None:
    """An unknown model is 404 and an over-long prompt 400, in the record with their status."""

    async def scenario(server: SimServer, client: Any) -> None:
        unknown = await client.chat(model="other")
        long = await client.chat("x " * 70_000)
        assert (unknown.status, long.status) == (404, 400)
        assert json.loads(long.body)["error"]["param"] == "input_tokens"
        assert unknown.headers["content-type"] == "application/json"
        assert [row.status for row in server.truth] == [404, 400]

    served(scenario)


def test_old_http(served: Served, connect: Callable[..., Any]) -> None:
    """HTTP/1.0, which has no chunks, is refused instead of being sent chunks."""

    async def scenario(server: SimServer, client: Any) -> None:
        connection = await connect(server.url)
        answer = await connection.request("POST", "/v1/completions", b"{}", version="1.0")
        await connection.close()
        assert answer.status == 505

    served(scenario)


def test_replicas(served: Served) -> None:
    """Requests go to the least loaded engine, or to the one named, each with its own cache."""

    async def scenario(server: SimServer, client: Any) -> None:
        await asyncio.gather(*(client.chat(f"{number}", max_tokens=200) for number in range(6)))
        assert Counter(row.replica for row in server.truth) == {0: 2, 1: 2, 2: 2}
        body = json.dumps({"prompt": list(range(100, 150)), "max_tokens": 1}).encode()
        path = "/v1/completions"
        cached = []
        for rank in ("0", "1", "0"):
            answer = await client.request("POST", path, body, X_data_parallel_rank=rank)
            cached.append(answer.usage["prompt_tokens_details"]["cached_tokens"])
        assert cached == [0, 0, 48]
        wrong = await client.request("POST", path, body, X_data_parallel_rank="3")
        assert wrong.status == 400

    served(scenario, replicas=3)


@pytest.mark.parametrize("continuous", [False, True])
def test_truth_of_every_token(served: Served, continuous: bool) -> None:
    """With truth_tokens a row has one instant for each token, from the first to the last."""

    async def scenario(server: SimServer, client: Any) -> TruthRow:
        options = {"include_usage": True, "continuous_usage_stats": continuous}
        await client.chat(max_tokens=5, stream_options=options)
        while not server.truth:
            await asyncio.sleep(0)
        return server.truth[0]

    row = served(scenario, truth_tokens=True)
    assert row.token_ns is not None and len(row.token_ns) == row.output_tokens == 5
    assert (row.token_ns[0], row.token_ns[-1]) == (row.first_ns, row.last_ns)
    assert row.token_ns == sorted(row.token_ns)
    assert served(scenario).token_ns is None


def test_truth_file(served: Served, tmp_path: Path) -> None:
    """The truth file holds the rows that the server holds, one line for each request."""
    path = tmp_path / "truth.jsonl"

    async def scenario(server: SimServer, client: Any) -> list[Any]:
        await client.chat()
        await client.chat(model="other")
        assert read_truth(path) == list(server.truth)
        return list(server.truth)

    rows = served(scenario, truth=path)
    assert read_truth(path) == rows
    assert len(rows) == 2


def test_a_truth_file_that_cannot_be(served: Served, tmp_path: Path) -> None:
    """A truth file in a folder that does not exist is the user's mistake, not a traceback."""

    async def scenario(server: SimServer, client: Any) -> None:
        raise AssertionError("the server must not come up")

    with pytest.raises(UsageError, match="truth file"):
        served(scenario, truth=tmp_path / "none" / "truth.jsonl")


def test_a_client_that_left_before_its_answer_began(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The request is in the truth as broken off, and no traceback is logged."""
    prepare = web.StreamResponse.prepare

    async def gone(response: web.StreamResponse, request: web.BaseRequest) -> Any:
        if type(response) is web.StreamResponse:
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
        return await prepare(response, request)

    monkeypatch.setattr(web.StreamResponse, "prepare", gone)

    async def scenario(server: SimServer, client: Any) -> None:
        await client.chat()
        assert [row.finish for row in server.truth] == ["abort"]

    served(scenario)
    assert caplog.records == []
