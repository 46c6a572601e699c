"""The same job of 200 requests with shared prefixes on three real servers: what each of them tells.

The figures of a run on the development machine stand in docs/servers.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.record.frame import Run, open_run

REQUESTS = 200
RECIPE = """
name: shared-prefixes
title: {zh: 共享前缀, en: Shared prefixes}
source:
  kind: synthetic
  shared_prefix: {tokens: 640, groups: 4}
  input_tokens: {kind: uniform, min: 100, max: 300}
  output_tokens: {kind: uniform, min: 16, max: 48}
  turns: {kind: uniform, min: 1, max: 3}
  think_s: {kind: fixed, value: 0.5}
arrivals: {kind: poisson, rate_rps: 3}
requests: 200
sampling: {temperature: 0}
"""
PATIENCE_S = 600

GetServer = Callable[[str], Any]


@dataclass(frozen=True)
class Measured:
    """A run of the job: its folder, read back, and its summary."""

    run: Run
    summary: dict[str, Any]

    def counted(self, name: str) -> dict[str, Any]:
        (row,) = [r for r in self.summary["reconciliation"]["counts"] if r["name"] == name]
        return dict(row)

    def timed(self, name: str) -> dict[str, Any]:
        (row,) = [r for r in self.summary["reconciliation"]["latencies"] if r["name"] == name]
        return dict(row)


def bench(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("bench"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def measured(
    real_server: GetServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Measured]:
    """`measured("vllm")`: the job run once on that server."""
    runs: dict[str, Measured] = {}

    def measure(name: str) -> Measured:
        if name not in runs:
            server, folder = real_server(name), tmp_path_factory.mktemp(name)
            (folder / "job.yaml").write_text(RECIPE)
            done = bench(
                "run", "-t", server.url, "-m", server.model, "-w", "job.yaml", "-o", ".", "--json",
                folder=folder,
            )  # fmt: skip
            assert done.returncode in (0, 4), done.stderr  # 4: this machine was too busy
            path = folder / json.loads(done.stdout)["run"]
            summary = json.loads((path / "summary.json").read_text())
            runs[name] = Measured(open_run(path), summary)
        return runs[name]

    return measure


@pytest.fixture(scope="module")
def probed(
    real_server: GetServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """`probed("vllm")`: what a deep probe says of that server."""

    def probe(name: str) -> dict[str, Any]:
        server, folder = real_server(name), tmp_path_factory.mktemp(name)
        done = bench("probe", server.url, "-m", server.model, "--deep", "--json", folder=folder)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return probe


@pytest.mark.parametrize("name", ["vllm", "llamacpp", "transformers"])
def test_the_job_completes(measured: Callable[[str], Measured], name: str) -> None:
    """Every request ends well, and every output token of it was seen to arrive."""
    run = measured(name).run
    assert len(run.requests) == REQUESTS
    assert (run.requests["outcome"] == "ok").all(), run.requests["error_text"].dropna().tolist()
    tokens = sum(int(part.tokens.sum()) for part in run.token_events())
    assert tokens == run.requests["output_tokens"].sum()
    assert (run.requests["output_tokens"] <= run.requests["planned_output_tokens"]).all()


@pytest.mark.parametrize("name", ["vllm", "llamacpp"])
def test_output_lengths_are_the_plans(measured: Callable[[str], Measured], name: str) -> None:
    """With ignore_eos each answer is exactly as long as planned."""
    requests = measured(name).run.requests
    assert (requests["output_tokens"] == requests["planned_output_tokens"]).all()


def test_vllm_is_probed_right(probed: Callable[[str], dict[str, Any]]) -> None:
    """vLLM 0.32 with a tiny model: each field as its server states it."""
    found = probed("vllm")
    assert found["server"]["family"] == "vllm"
    assert found["server"]["version"].startswith("0.32.0")
    assert (found["model"], found["max_model_len"]) == ("tiny", 8192)
    stream = found["stream"]
    assert (stream["role_frame"], stream["usage_place"], stream["done"]) == (
        "once", "own_event", True,
    )  # fmt: skip
    assert found["abilities"]["token_method"] == "continuous_usage"
    assert found["abilities"]["token_ids_prompt"] and found["abilities"]["tokenize"]
    assert found["metrics"]["block_tokens"] == 128
    assert found["metrics"]["prefix_caching"] is True
    assert found["closer"]["salt_isolates"] is True
    assert found["closer"]["repeat_cached_tokens"] % 128 == 0
    assert found["closer"]["token_ids_exact"] is True


def test_vllm_counts_what_we_count(measured: Callable[[str], Measured]) -> None:
    """Requests, prompt, output and cached tokens are the server's own, to the token."""
    found = measured("vllm")
    for name in ("requests", "prompt_tokens", "output_tokens", "cached_tokens"):
        assert found.counted(name)["equal"] is True, found.counted(name)


def test_vllms_cache_in_three_views(measured: Callable[[str], Measured]) -> None:
    """Client and server agree within a point, under the ceiling, which blocks of 128 lower."""
    cache = measured("vllm").summary["reconciliation"]["cache"]
    assert abs(cache["client_fraction"] - cache["server_fraction"]) < 0.01
    assert max(cache["client_fraction"], cache["server_fraction"]) <= cache["ceiling_fraction"]
    assert cache["block_tokens"] == 128
    assert cache["ceiling_fraction"] < cache["ceiling_unrounded_fraction"]


def test_vllms_ttft_is_within_ours(measured: Callable[[str], Measured]) -> None:
    """The client's mean TTFT is the larger one: the network, HTTP and the frontend lie between."""
    ttft = measured("vllm").timed("ttft")
    assert ttft["same_requests"] is True
    assert ttft["difference_s"] > 0
    assert ttft["client"]["n"] == ttft["server"]["n"] == REQUESTS


@pytest.mark.parametrize("name", ["vllm", "llamacpp"])
def test_nothing_was_in_the_cache_before(measured: Callable[[str], Measured], name: str) -> None:
    """A new salt finds a cold cache, whatever ran before."""
    assert measured(name).summary["reconciliation"]["contamination"]["result"] == "ok"


def test_llamacpp_counts_tokens_and_no_requests(measured: Callable[[str], Measured]) -> None:
    """Its token counters equal ours; requests and times it does not tell are absent, not 0."""
    found = measured("llamacpp")
    for name in ("prompt_tokens", "output_tokens", "cached_tokens"):
        assert found.counted(name)["equal"] is True, found.counted(name)
    assert found.counted("requests")["server"] is None
    assert found.timed("ttft")["server"] is None
    assert found.timed("prefill")["answers_mean_s"] > 0  # its answers have `timings`


def test_transformers_tells_nothing(measured: Callable[[str], Measured]) -> None:
    """No metrics and no cached tokens: absent everywhere, and the client's figures stand alone."""
    found = measured("transformers")
    assert found.summary["cache"]["client"] is None
    assert found.summary["cache"]["server"] is None
    assert all(row["server"] is None for row in found.summary["reconciliation"]["counts"])
    assert found.run.requests["cached_tokens"].isna().all()
    assert len(found.run.server) == 0
