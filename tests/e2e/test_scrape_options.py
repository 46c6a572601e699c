"""What `bench run --scrape` and `--prometheus` put into the run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.record.frame import open_run
from bench.sim.config import SimConfig
from bench.sim.process import running_sim

JOB = ("--input-tokens", "64", "--output-tokens", "4", "--rate", "20", "--requests", "10")


def run_of(bench: Any, *arguments: str) -> Any:
    done = bench("run", *arguments, *JOB, "--json", "--no-report")
    assert done.code in (0, 4), done.err
    path = Path(json.loads(done.out)["run"])
    return open_run(path if path.is_absolute() else Path(bench.folder) / path)


def test_replicas_are_sources_of_their_own(checkout_bench: Any) -> None:
    """The server is scraped once, however it is named; a replica beside it under its name."""
    with running_sim(SimConfig(port=0)) as server, running_sim(SimConfig(port=0)) as replica:
        run = run_of(
            checkout_bench, "-t", server.url, "--scrape", f"{server.url}/metrics",
            "--scrape", f"spare={replica.url}",
        )  # fmt: skip
    assert set(run.server["source"]) == {"server", "spare"}
    names = run.server[run.server["source"] == "spare"]["name"]
    assert "vllm:generation_tokens_total" in set(names)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scrape", "server=http://127.0.0.1:9"), "no metrics to scrape"),
        (("--prometheus-match", 'job="a"'), "--prometheus URL"),
    ],
)
def test_mistakes_are_told_before_the_run(
    checkout_bench: Any, arguments: tuple[str, ...], said: str
) -> None:
    """Nothing to scrape, or options that belong together: an error, and no run folder."""
    with running_sim(SimConfig(port=0)) as server:
        done = checkout_bench("run", "-t", server.url, *JOB, *arguments, "--json")
    assert done.code in (2, 5)
    assert said in done.err
    assert done.out == ""


def test_a_prometheus_that_says_nothing_loses_no_run(checkout_bench: Any) -> None:
    """The run is kept and what went wrong stands in its journal."""
    with running_sim(SimConfig(port=0)) as server:
        run = run_of(
            checkout_bench, "-t", server.url, "--prometheus", server.url,
            "--prometheus-query", "power=sum(x)",
        )  # fmt: skip
    assert (run.requests["outcome"] == "ok").all()
    (line,) = [line for line in run.journal if line["event"] == "prometheus"]
    assert line["samples"] == 0
    assert "query_range" in line["error"]
