"""`bench sweep` from options to page, against the simulated server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli.sweep import command
from bench.errors import BenchError
from bench.sim.config import SimConfig
from bench.sim.process import running_sim

PROFILE = """
name: lenient
title: {zh: 宽松, en: Lenient}
good: {limits: [{metric: ttft_s, bound: 60}]}
validity: {schedule_lag_p99_s: 60, schedule_lag_of_ttft_fraction: 60, loop_stall_s: 60,
           uncertain_first_fraction: 1, client_cpu_fraction: 100, sent_fraction: 0.1,
           request_count_fraction: 1}
"""
SENT = ("--input-tokens", "16", "--output-tokens", "3", "--requests", "40", "--cool-down", "0")


def sweep(url: str, folder: Path, *options: str) -> Result:
    profile = folder / "lenient.yaml"
    profile.write_text(PROFILE)
    arguments = ["-t", url, "-p", str(profile), "-o", str(folder / "s"), "--json", "--no-report"]
    return CliRunner().invoke(command, [*arguments, *SENT, *options])


def test_a_sweep_is_made_judged_and_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rates are two runs; --resume makes none again; no file holds the key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-sweep-0123456789")
    with running_sim(SimConfig(port=0)) as server:
        first = sweep(server.url, tmp_path, "--rates", "20,40")
        again = sweep(server.url, tmp_path, "--rates", "20,40", "--resume")
    found, same = json.loads(first.stdout), json.loads(again.stdout)
    assert (first.exit_code, found["verdict"]) == (0, "pass"), first.output
    assert found["metrics"]["max_goodput_rps"]["value"] == 40
    assert [step["load"] for step in found["steps"]] == [20, 40]
    assert same == found
    folder = tmp_path / "s"
    assert len(list((folder / "runs").iterdir())) == 2
    assert json.loads((folder / "sweep.json").read_text())["steps"] == found["steps"]
    assert all((folder / name).is_file() for name in ("summary.md", "sweep.html"))
    texts = [p.read_bytes() for p in folder.rglob("*") if p.is_file()]
    assert texts and not any(b"sk-sweep" in text for text in texts)


def test_another_sweep_is_no_resumption(tmp_path: Path) -> None:
    """What differs is named, before anything is sent."""
    with running_sim(SimConfig(port=0)) as server:
        sweep(server.url, tmp_path, "--concurrencies", "2")
        other = sweep(server.url, tmp_path, "--concurrencies", "4", "--resume")
    assert isinstance(other.exception, BenchError)
    assert "another concurrencies" in other.exception.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rates", "1,x"), "expected numbers with commas"),
        (("--concurrencies", "1.5"), "expected whole numbers"),
        ((), "expected one of --rates"),
        (("--rates", "1", "--baseline", "."), "--baseline needs --replicas"),
    ],
)
def test_wrong_options_are_told_before_the_server_is_asked(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """Nothing listens at the address, and the message is about the option."""
    found = sweep("http://127.0.0.1:1", tmp_path, *options)
    assert isinstance(found.exception, BenchError)
    assert message in found.exception.message
