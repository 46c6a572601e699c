"""Range queries over a real socket, against a server that answers as Prometheus does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from bench.errors import TargetError
from bench.model import ServerSample
from bench.servers.client import ANSWER_BYTES_MAX
from bench.servers.prometheus import PrometheusSource, Span, read_range
from bench.servers.series import window_delta

SPAN = Span(start_ns=0, end_ns=3_000_000_000, unix_ns=1_000_000_000_000)
QUERIES = {"vllm:generation_tokens_total": 'vllm:generation_tokens_total{job="a"}'}


def read(answer: Callable[[dict[str, str]], tuple[int, Any]]) -> list[ServerSample]:
    """What `read_range` makes of a server that answers each query so."""

    async def respond(request: web.Request) -> web.Response:
        status, body = answer(dict(request.query))
        return web.json_response(body, status=status)

    async def run() -> list[ServerSample]:
        app = web.Application()
        app.router.add_get("/prom/api/v1/query_range", respond)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            url = f"http://127.0.0.1:{port}/prom"
            return await read_range(PrometheusSource(url, queries=QUERIES), SPAN)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def matrix(*series: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(series)}}


def test_a_counter_is_read_over_the_run() -> None:
    """The query covers the run at the step asked for, and what comes back adds up."""
    asked: list[dict[str, str]] = []

    def answer(query: dict[str, str]) -> tuple[int, Any]:
        asked.append(query)
        start = float(query["start"])
        values = [[start + k, str(100 + 10 * k)] for k in range(5)]
        return 200, matrix({"metric": {"instance": "gpu-1:8000"}, "values": values})

    samples = read(answer)
    assert asked == [
        {"query": QUERIES["vllm:generation_tokens_total"], "start": "999.000", "end": "1004.000",
         "step": "1.0"}
    ]  # fmt: skip
    assert {sample.source for sample in samples} == {"gpu-1:8000"}
    assert window_delta(samples, "vllm:generation_tokens_total").value == 40


def test_a_refused_query_is_told() -> None:
    """A query that Prometheus can't parse is an error with its own words."""
    body = {"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end"}
    with pytest.raises(TargetError, match="parse error"):
        read(lambda query: (400, body))


def test_no_series_is_told() -> None:
    """Labels that match nothing are an error, and not an empty run."""
    with pytest.raises(TargetError, match="no series") as caught:
        read(lambda query: (200, matrix()))
    assert "--prometheus-match" in caught.value.hint


def test_another_server_is_told() -> None:
    """A server that answers something else is no Prometheus."""
    with pytest.raises(TargetError, match="matrix"):
        read(lambda query: (200, json.loads('{"data": {"result": 1}}')))


def test_more_than_one_answer_holds_is_asked_in_parts() -> None:
    """An hour of hundreds of series is larger than the client takes at once: halves of it are not.

    Every step is asked for once.
    """
    steps: list[float] = []

    def answer(query: dict[str, str]) -> tuple[int, Any]:
        first, last = float(query["start"]), float(query["end"])
        if last - first > 2:
            return 200, {"status": "success", "filler": "x" * ANSWER_BYTES_MAX}
        values = [[first + k, "1"] for k in range(round(last - first) + 1)]
        steps.extend(at_s for at_s, _ in values)
        return 200, matrix({"metric": {"instance": "a"}, "values": values})

    samples = read(answer)
    assert steps == [999.0 + k for k in range(6)]
    assert len([sample for sample in samples if sample.name in QUERIES]) == len(steps)


@pytest.mark.parametrize("data", [[], {"result": [5]}, {"result": [{"metric": "x"}]}, "x"])
def test_an_answer_of_another_shape_is_told(data: Any) -> None:
    """A proxy's JSON in Prometheus' place is an error to tell, and costs no run."""
    with pytest.raises(TargetError, match="expected a matrix"):
        read(lambda query: (200, {"status": "success", "data": data}))
