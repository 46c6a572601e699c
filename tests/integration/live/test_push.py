"""Pushing a run's metrics, to a gateway that keeps what it got."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.conduct.tally import Totals
from bench.errors import UsageError
from bench.live.metrics import LiveMetrics, push


class Gateway(BaseHTTPRequestHandler):
    """Answers PUT with `status`; keeps path and body of each."""

    status = 200
    received: list[tuple[str, str]]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.received.append((self.path, body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def gateway() -> Iterator[Callable[[int], tuple[str, list[tuple[str, str]]]]]:
    """Starts a gateway that answers with a status: its URL, and what it received."""
    servers: list[tuple[HTTPServer, threading.Thread]] = []

    def start(status: int) -> tuple[str, list[tuple[str, str]]]:
        received: list[tuple[str, str]] = []
        kind = type("Answering", (Gateway,), {"status": status, "received": received})
        server = HTTPServer(("127.0.0.1", 0), kind)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}", received

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def metrics() -> LiveMetrics:
    """A run that is judged."""
    from types import SimpleNamespace as Made

    made = LiveMetrics()
    server = Made(family="vllm", title="vLLM", version="0.32.0")
    ready = Made(
        plan=Made(requests=5),
        pace=Made(duration_s=None, drain_s=60.0),
        target=Made(model="m"),
        probe=Made(server=server, gaps=()),
    )
    made.began(Path("reports/run"), ready)  # type: ignore[arg-type]
    made.second(Totals(ok=5, ttft_s=[0.1]), 1.0)
    made.conclude({"metrics": {"ttft_s": {"p50": 0.1}}}, {"verdict": "pass", "valid": True})
    return made


def test_a_run_replaces_the_group_of_its_recipe(gateway: Any, metrics: LiveMetrics) -> None:
    """One PUT to the group of job and recipe, with counts, values and verdict."""
    url, received = gateway(200)
    push(metrics, url, "chat")
    ((path, body),) = received
    assert path == "/metrics/job/bench/recipe/chat"
    assert 'bench_requests_total{outcome="ok"} 5.0' in body
    assert 'bench_result{metric="ttft_s",statistic="p50"} 0.1' in body
    assert 'bench_verdict{verdict="pass"} 1.0' in body


def test_a_gateway_that_refuses_is_told(gateway: Any, metrics: LiveMetrics) -> None:
    """Its answer is in the message."""
    url, _ = gateway(503)
    with pytest.raises(UsageError, match="answered 503"):
        push(metrics, url, "chat")


def test_a_gateway_that_is_not_there_is_told(metrics: LiveMetrics) -> None:
    """A refused connection is a message and no traceback."""
    with pytest.raises(UsageError, match="can't be reached"):
        push(metrics, "http://127.0.0.1:1", "chat")
