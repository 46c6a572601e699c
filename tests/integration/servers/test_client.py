"""What is said when a server can't be used, and what the control client never does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from bench.errors import TargetError, UsageError
from bench.model import Target
from bench.servers.client import ANSWER_BYTES_MAX, ControlClient
from bench.servers.discover import discover
from bench.servers.probe import probe
from bench.servers.scrape import ScrapeTarget
from bench.sim.process import SimProcess

Answer = Any
"""Status, content type and body; or a function of the request that gives one."""

NOT_FOUND = (404, "application/json", b'{"detail":"Not Found"}')
METRICS = b"# TYPE x counter\nx_total 1\n"
MODELS = (200, "application/json", b'{"data":[{"id":"m","owned_by":"vllm"}]}')


def moved(location: str) -> web.Response:
    return web.Response(status=307, headers={"Location": location})


def test_https_to_a_plain_server_names_the_cause(sim: SimProcess) -> None:
    """A TLS handshake with a plain server says so instead of showing a stack of OpenSSL."""
    with pytest.raises(TargetError, match="no TLS connection") as caught:
        asyncio.run(probe(Target(sim.url.replace("http://", "https://"), "")))
    assert "plain http://" in caught.value.hint


@pytest.mark.parametrize(
    ("answers", "said", "hint"),
    [
        (
            {"/v1/models": (401, "application/json", b'{"error":"Unauthorized"}')},
            "status 401: Unauthorized",
            "--api-key-env",
        ),
        (
            {"/v1/models": (502, "text/html", b"<html>Bad Gateway</html>")},
            "an HTML page with status 502",
            "proxy",
        ),
        ({}, "status 404: Not Found", "/v1"),
        (
            {"/v1/models": lambda request: moved("http://other.invalid/")},
            "sent on to http://other.invalid/",
            "give that address",
        ),
        (
            {"/v1/models": (200, "text/plain", b"x" * (ANSWER_BYTES_MAX + 1))},
            "larger than 8 MiB",
            "",
        ),
        (
            {
                "/v1/models": MODELS,
                "/v1/chat/completions": (
                    200,
                    "text/event-stream",
                    b'data: {"error":{"message":"no slot"}}\n\n',
                ),
            },
            "status 200, but no slot",
            "model name",
        ),
        (
            {
                "/v1/models": MODELS,
                "/v1/chat/completions": (503, "application/json", b'{"error":"scaling"}'),
            },
            "status 503: scaling",
            "loading",
        ),
    ],
    ids=["401", "html", "404", "redirect", "huge", "error in stream", "503"],
)
def test_an_unusable_server_is_a_target_error(
    probed: Any, answers: dict[str, Answer], said: str, hint: str
) -> None:
    """What came back and what to do about it, in one or two lines."""
    with pytest.raises(TargetError) as caught:
        probed(answers)
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "connection refused by 127.0.0.1:1"),
        ("http://nowhere.invalid", "the host name nowhere.invalid is not known"),
    ],
)
def test_an_address_where_nothing_answers(url: str, said: str) -> None:
    """Refused connections and unknown names are told apart."""
    with pytest.raises(TargetError) as caught:
        asyncio.run(probe(Target(url, "")))
    assert said in caught.value.message


def test_the_key_goes_to_the_targets_host_only(serving: Any) -> None:
    """Metrics on another host are read without the API key."""

    async def run() -> list[dict[str, str]]:
        async with serving({"/metrics": (200, "text/plain", METRICS)}) as stub:
            target = Target(stub.url, "m", headers={"Authorization": "Bearer hunter2"})
            async with ControlClient(target) as client:
                await client.get("/metrics")
                await client.get(stub.url.replace("127.0.0.1", "localhost") + "/metrics")
            return stub.headers

    same, other = asyncio.run(run())
    assert same["Authorization"] == "Bearer hunter2"
    assert "Authorization" not in other


@pytest.mark.parametrize("path", ["/stopService", "/terminate", "/v1/health", "/flush_cache/"])
def test_forbidden_paths_are_never_asked_for(serving: Any, path: str) -> None:
    """The client itself refuses them, before any byte is sent."""

    async def run() -> list[str]:
        async with serving({}) as stub, ControlClient(Target(stub.url, "m")) as client:
            with pytest.raises(UsageError, match="never called"):
                await client.get(path)
            return stub.paths

    assert asyncio.run(run()) == []


def test_a_redirect_on_the_same_host_is_followed(serving: Any) -> None:
    """Old vLLM sends /metrics on to /metrics/."""

    async def run() -> bytes:
        answers: dict[str, Answer] = {
            "/metrics": lambda request: moved("/metrics/"),
            "/metrics/": (200, "text/plain", METRICS),
        }
        async with serving(answers) as stub, ControlClient(Target(stub.url, "m")) as client:
            return (await client.get("/metrics")).body

    assert asyncio.run(run()) == METRICS


def test_an_exporter_is_scraped_by_the_names_it_exposes(serving: Any) -> None:
    """An address without a path means /metrics of it; the source is named after the address."""

    async def run() -> tuple[str, ScrapeTarget]:
        text = b'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 310\nnode_load1 0.5\n'
        async with serving({"/metrics": (200, "text/plain", text)}) as stub:
            target = Target("http://elsewhere:8000", "m", headers={"Authorization": "hunter2"})
            return stub.url, await discover(target, stub.url)

    url, scrape = asyncio.run(run())
    assert scrape.url == f"{url}/metrics"
    assert scrape.source == url.removeprefix("http://")
    assert {"DCGM_FI_DEV_POWER_USAGE", "node_load1"} <= scrape.names
    assert scrape.headers == {}


@pytest.mark.parametrize(
    ("answer", "said"),
    [(NOT_FOUND, "status 404"), ((200, "text/plain", METRICS), "none of its 2 names is known")],
)
def test_a_scrape_address_without_known_metrics_is_refused(
    serving: Any, answer: Answer, said: str
) -> None:
    """Before the run it is said that nothing could be read there."""

    async def run() -> None:
        async with serving({"/metrics": answer}) as stub:
            await discover(Target(stub.url, "m"), stub.url)

    with pytest.raises(TargetError, match=said):
        asyncio.run(run())
