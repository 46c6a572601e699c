"""A real Prometheus scrapes a real run, and the shipped dashboard draws it."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import pytest

from bench.live.metrics import TTFT_BOUNDS_S
from bench.sim.config import SimConfig
from bench.sim.process import running_sim

PROMETHEUS = shutil.which("prometheus")
DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "bench.json"
WAIT_S = 30.0
READY = "Server is ready to receive web requests"

pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="prometheus is not installed (Debian: apt-get install prometheus)"
)


@dataclass(frozen=True)
class Scraped:
    """A Prometheus that has seen a run from `begin_s` to `end_s`, and the run's summary."""

    url: str
    begin_s: float
    end_s: float
    summary: dict[str, Any]

    def series(self, expression: str) -> list[dict[float, float]]:
        """Each series that the expression draws, second by second: time to finite value."""
        query = {"query": expression, "start": self.begin_s, "end": self.end_s, "step": "1"}
        with urlopen(f"{self.url}/api/v1/query_range?{urlencode(query)}", timeout=30) as answer:
            result = json.load(answer)["data"]["result"]
        read = [{float(at): float(value) for at, value in each["values"]} for each in result]
        return [{at: value for at, value in each.items() if math.isfinite(value)} for each in read]

    def one(self, expression: str) -> dict[float, float]:
        (found,) = self.series(expression)
        return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def prometheus(folder: Path, scraped_port: int) -> Iterator[str]:
    """A Prometheus that scrapes this port twice a second, and its URL."""
    port = free_port()
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms}\n"
        "scrape_configs:\n"
        "  - job_name: bench\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{scraped_port}']}}]\n"
    )
    command = [
        str(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            if not any(READY in line for line in process.stderr):
                pytest.fail(f"prometheus ended with {process.wait()} before it was ready")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.stderr.close()


def wait_for(url: str, expression: str) -> None:
    """Until the expression has a value: a new Prometheus looks for its targets every 5 s."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with urlopen(f"{url}/api/v1/query?{urlencode({'query': expression})}") as answer:
            if json.load(answer)["data"]["result"]:
                return
        time.sleep(0.05)
    pytest.fail(f"{expression} never had a value")


@pytest.fixture(scope="module")
def scraped(checkout_bench: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """4 s of 30 requests per second, of which some fail, scraped twice a second."""
    folder = tmp_path_factory.mktemp("prometheus")
    metrics_port = free_port()
    with (
        running_sim(SimConfig(port=0, faults=("http_503:0.1",))) as server,
        prometheus(folder, metrics_port) as url,
    ):
        begin_s = time.time()
        done = checkout_bench(
            "run", "-t", server.url, "--input-tokens", "64", "--output-tokens", "20",
            "--rate", "30", "--duration", "4", "--no-report", "--json",
            "--metrics-port", str(metrics_port),
        )  # fmt: skip
        assert done.code in (0, 4), done.err
        run = checkout_bench.folder / done.json()["run"]
        summary = json.loads((run / "summary.json").read_text())
        yield Scraped(url, begin_s, time.time(), summary)


def test_prometheus_counts_what_the_run_counts(scraped: Scraped) -> None:
    """Counters only grow, and never beyond what the summary counts in the end."""
    counts = scraped.summary["counts"]
    for outcome, total in (("ok", counts["ok"]), ("failed", sum(counts["failed"].values()))):
        seen = list(scraped.one(f'bench_requests_total{{outcome="{outcome}"}}').values())
        assert seen == sorted(seen)
        assert 0 < seen[-1] <= total
    assert max(scraped.one("bench_requests_due_total").values()) <= counts["planned"]


def test_a_scrape_is_of_one_instant(scraped: Scraped) -> None:
    """In every scrape each answer that ended well is in every histogram."""
    ok = scraped.one('bench_requests_total{outcome="ok"}')
    for name in ("ttft", "tpot", "e2e"):
        assert scraped.one(f"bench_{name}_seconds_count") == ok
        assert scraped.one(f'bench_{name}_seconds_bucket{{le="+Inf"}}') == ok


def test_latencies_lie_where_the_summary_has_them(scraped: Scraped) -> None:
    """The summary's median TTFT lies in the bucket that Prometheus finds, give or take one."""
    bounds_s = (*TTFT_BOUNDS_S, math.inf)
    found = scraped.one("histogram_quantile(0.5, sum by (le) (bench_ttft_seconds_bucket))")
    told_s, exact_s = list(found.values())[-1], scraped.summary["metrics"]["ttft_s"]["p50"]
    places = [next(i for i, bound in enumerate(bounds_s) if v <= bound) for v in (told_s, exact_s)]
    assert abs(places[0] - places[1]) <= 1


@pytest.mark.parametrize(
    "expression",
    [
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
        for target in panel["targets"]
    ],
)
def test_the_dashboard_draws_this_run(scraped: Scraped, expression: str) -> None:
    """Every expression of docs/grafana/bench.json is valid and has values for the run."""
    asked = expression.replace("$__rate_interval", "4s").replace("$instance", ".*")
    assert any(scraped.series(asked)), asked


def test_a_run_takes_the_servers_counters_from_prometheus(
    checkout_bench: Any, tmp_path: Path
) -> None:
    """Two replicas' series, read by range query, count this run's requests and tokens exactly."""
    with running_sim(SimConfig(port=0, replicas=2)) as server:
        scraped_port = urlsplit(server.url).port
        assert scraped_port is not None
        with prometheus(tmp_path, scraped_port) as url:
            wait_for(url, "vllm:generation_tokens_total")
            done = checkout_bench(
                "run", "-t", server.url, "--input-tokens", "64", "--output-tokens", "20",
                "--rate", "30", "--duration", "2", "--no-report", "--json",
                "--prometheus", url, "--prometheus-match", 'job="bench"',
            )  # fmt: skip
    assert done.code in (0, 4), done.err
    run = checkout_bench.folder / done.json()["run"]
    summary = json.loads((run / "summary.json").read_text())
    counts = {row["name"]: row for row in summary["reconciliation"]["counts"]}
    assert all(row["equal"] for row in counts.values()), counts
    assert len(summary["cache"]["replicas"]) == 2
