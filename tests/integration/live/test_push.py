"""Pushing a run's metrics, to a gateway that keeps what it got."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli.nightly import command
from bench.conduct.tally import Totals
from bench.errors import UsageError
from bench.judge.compare import JudgedRun
from bench.judge.judgement import judge
from bench.live.metrics import LiveMetrics, push
from bench.nightly import rounds
from bench.record.frame import open_run


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
    push(metrics, url, recipe="chat")
    ((path, body),) = received
    assert path == "/metrics/job/bench/recipe/chat"
    assert 'bench_requests_total{outcome="ok"} 5.0' in body
    assert 'bench_result{metric="ttft_s",statistic="p50"} 0.1' in body
    assert 'bench_verdict{verdict="pass"} 1.0' in body


def test_a_gateway_that_refuses_is_told(gateway: Any, metrics: LiveMetrics) -> None:
    """Its answer is in the message."""
    url, _ = gateway(503)
    with pytest.raises(UsageError, match="answered 503"):
        push(metrics, url, recipe="chat")


def test_a_gateway_that_is_not_there_is_told(metrics: LiveMetrics) -> None:
    """A refused connection is a message and no traceback."""
    with pytest.raises(UsageError, match="can't be reached"):
        push(metrics, "http://127.0.0.1:1", recipe="chat")


@pytest.fixture
def nightly(
    synthetic_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Any]:
    """`bench nightly` with a gateway, its two rounds written and not made."""
    runs = []
    for k in range(2):
        path = synthetic_run(f"20260101T020{k}00Z-x-000{k}", requests=300, seed=k + 1)
        run = open_run(path)
        runs.append(JudgedRun(path.name, run.manifest, judge(run)))
    measured = rounds.Measured(tuple(runs))
    monkeypatch.setattr(rounds, "conduct_rounds", lambda *_: measured)
    config = tmp_path / "nightly.yaml"
    config.write_text("name: chat-h20\ntarget: {url: 'http://127.0.0.1:1'}\nworkload: smoke\n")

    def make(url: str) -> Any:
        return CliRunner().invoke(command, ["-c", str(config), "--pushgateway", url])

    return make


def test_a_night_replaces_the_group_of_its_name(gateway: Any, nightly: Any) -> None:
    """One PUT to the group of job and night: its verdict, its values, its rounds."""
    url, received = gateway(200)
    found = nightly(url)
    assert found.exit_code == 0, found.output
    ((path, body),) = received
    assert path == "/metrics/job/bench/night/chat-h20"
    assert 'bench_night_verdict{verdict="none"} 1.0' in body
    assert 'bench_night_value{metric="ttft_s",statistic="p50"} 0.0' in body
    assert "bench_night_valid_rounds 2.0" in body
    assert "bench_night_accepted 1.0" in body
    # There is no baseline, so nothing changed and nothing is known to be no worse.
    assert "bench_night_change{" not in body
    assert "bench_night_worse{" not in body


def test_a_push_of_a_night_that_fails_undoes_nothing(gateway: Any, nightly: Any) -> None:
    """The night is kept and keeps its exit code; the message says what happened."""
    url, _ = gateway(503)
    found = nightly(url)
    assert found.exit_code == 0
    assert "not pushed: Pushgateway answered 503" in found.output
    assert "night:  20260101T020000Z" in found.output


def test_a_wrong_gateway_is_told_before_the_night(nightly: Any) -> None:
    """Hours before it would matter."""
    found = nightly("ftp://x")
    assert isinstance(found.exception, UsageError)
    assert "--pushgateway" in found.exception.message
