"""How a run ends: by itself, by its stop conditions, by Ctrl-C, by a full disk."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.cli.verdict_view import EXIT_CODES
from bench.errors import ExitCode
from bench.judge.judgement import judge
from bench.load.wire import BEAT_NS
from bench.record.frame import open_run
from bench.sim.config import SimConfig
from bench.sim.process import SimProcess, running_sim

Conduct = Callable[..., Any]
Accounted = Callable[[Path, dict[str, Any]], None]


def test_a_run_to_its_end(
    slow_sim: SimProcess, tmp_path: Path, conducting: Conduct, assert_accounted: Accounted
) -> None:
    """Two workers share the plan; every request is there once, from one start."""
    with conducting(slow_sim.url, tmp_path, requests=40) as run:
        end = run.finish()
    assert (end["planned"], end["ok"], end["reason"]) == (40, 40, "finished")
    assert_accounted(run.folder, end)
    rows = open_run(run.folder).requests
    assert rows["worker"].value_counts().to_dict() == {0: 20, 1: 20}
    assert rows["index"].tolist() == list(range(40))
    assert all(10e6 < each["peak_rss_bytes"] < 1e9 for each in end["client"]["workers"])


# -- stop conditions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ({"max_errors": 20}, r"stopped: \d+ errors reached max_errors 20"),
        (
            {"error_rate_above": 0.3, "error_rate_for_s": 1},
            r"stopped: error rate \d+\.\d% over 1 s exceeded 30\.0%",
        ),
    ],
    ids=["max_errors", "error_rate"],
)
def test_a_stop_condition_ends_the_run_and_says_why(
    tmp_path: Path,
    conducting: Conduct,
    assert_accounted: Accounted,
    stop: dict[str, Any],
    reason: str,
) -> None:
    """The reason stands in end.json and in the journal; what was not sent is aborted."""
    config = SimConfig(port=0, step_s=0.001, faults=("http_503:every=2",))
    with (
        running_sim(config) as sim,
        conducting(sim.url, tmp_path, workers=1, requests=30_000, stop=stop) as run,
    ):
        end = run.finish()
    assert re.fullmatch(reason, end["reason"])
    assert set(end["failed"]) == {"http_503"}
    assert end["aborted"] > 0
    assert_accounted(run.folder, end)
    told = [line["why"] for line in open_run(run.folder).journal if line["event"] == "stop"]
    assert [f"stopped: {why}" for why in told] == [end["reason"]]


# -- the server goes away ----------------------------------------------------------------------


def test_a_server_that_restarts_in_the_middle(
    tmp_path: Path, conducting: Conduct, assert_accounted: Accounted
) -> None:
    """What was open or fell due meanwhile failed, the rest is good, and the run is not valid."""
    config = SimConfig(port=0, step_s=0.002)
    with ExitStack() as servers:
        sim = servers.enter_context(running_sim(config))
        again = config.model_copy(update={"port": urlsplit(sim.url).port})
        load = {"concurrency": None, "requests": None, "rate_rps": 40.0, "duration_s": 8.0}
        with conducting(sim.url, tmp_path, workers=1, **load) as run:
            run.wait_for_seconds(2)
            servers.pop_all().close()
            servers.enter_context(running_sim(again))
            end = run.finish()
    assert set(end["failed"]) <= {"connect_refused", "disconnected", "disconnected_mid_body"}
    assert "connect_refused" in end["failed"]
    assert_accounted(run.folder, end)
    rows = open_run(run.folder).requests
    failed = rows["outcome"] == "failed"
    assert (rows["intended_s"][~failed] > rows["intended_s"][failed].max()).any(), "none came back"
    verdict = judge(open_run(run.folder)).verdict
    assert "server_restarts" in [rule["rule"] for rule in verdict["reasons"]]
    assert EXIT_CODES[verdict["verdict"]] is ExitCode.UNDECIDED


def test_a_closed_loop_does_not_send_a_dead_server_its_plan(
    tmp_path: Path, conducting: Conduct, assert_accounted: Accounted
) -> None:
    """Without any stop condition of the recipe's, it ends at 20 errors in a row for each slot."""
    with ExitStack() as servers:
        sim = servers.enter_context(running_sim(SimConfig(port=0, step_s=0.002)))
        with conducting(sim.url, tmp_path, workers=1, concurrency=8, requests=20_000) as run:
            run.wait_for_seconds(1)
            servers.close()
            end = run.finish()
    assert re.search(r"in a row reached max_errors_in_a_row 160 .*connect_refused", end["reason"])
    assert end["aborted"] > 0
    assert_accounted(run.folder, end)


# -- Ctrl-C ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_once_waits_for_open_answers(
    slow_sim: SimProcess,
    tmp_path: Path,
    conducting: Conduct,
    assert_accounted: Accounted,
    planned_requests: int,
    number: signal.Signals,
) -> None:
    """Sent to the whole group, as a terminal does, also one that hangs up: nothing is lost."""
    with conducting(slow_sim.url, tmp_path) as run:
        run.wait_for_seconds(2)
        os.killpg(run.process.pid, number)
        end = run.finish()
    assert end["reason"] == "interrupted"
    assert (end["dead_workers"], end["failed"]) == ([], {})
    assert_accounted(run.folder, end)
    rows = open_run(run.folder).requests
    assert set(rows["outcome"]) == {"ok"}
    assert len(rows) == end["ok"] < planned_requests


def test_ctrl_c_twice_cuts(
    tmp_path: Path, conducting: Conduct, assert_accounted: Accounted
) -> None:
    """Answers that would take minutes are cut; their tokens are kept."""
    config = SimConfig(port=0, step_s=0.02, prefill_token_s=0, decode_seq_s=0)
    with (
        running_sim(config) as sim,
        conducting(sim.url, tmp_path, requests=100, output_tokens=10_000) as run,
    ):
        run.wait_for_seconds(2)
        os.killpg(run.process.pid, signal.SIGINT)
        run.wait_for_note("once more to cut")
        os.killpg(run.process.pid, signal.SIGINT)
        end = run.finish()
    assert end["reason"] == "interrupted"
    assert_accounted(run.folder, end)
    rows = open_run(run.folder).requests
    cut = rows[rows["outcome"] == "aborted"]
    assert 1 <= len(cut) <= 8
    assert set(cut["error_class"]) == {"cut"}


def test_ctrl_c_twice_ends_a_run_whose_worker_does_not_answer(
    slow_sim: SimProcess, tmp_path: Path, conducting: Conduct, assert_accounted: Accounted
) -> None:
    """A load process that is suspended is killed after a while, and accounted for as dead."""
    with conducting(slow_sim.url, tmp_path, workers=1) as run:
        run.wait_for_seconds(2)
        os.kill(*run.workers, signal.SIGSTOP)
        os.kill(run.process.pid, signal.SIGINT)
        run.wait_for_note("once more to cut")
        os.kill(run.process.pid, signal.SIGINT)
        end = run.finish()
    assert end["dead_workers"] == [0]
    assert end["aborted"] > 0
    assert_accounted(run.folder, end)


# -- a worker that is held ---------------------------------------------------------------------


def test_a_suspended_worker_is_a_stall(
    slow_sim: SimProcess, tmp_path: Path, conducting: Conduct, assert_accounted: Accounted
) -> None:
    """Stopped for a second while it mostly waits, it finds out, and the run is not valid.

    It can't know when it was stopped, only when it was to look again, at most one sweep later.
    """
    least_s = 1.0 - BEAT_NS / 1e9 - 0.01
    load = {"concurrency": 1, "requests": None, "duration_s": 5.0}
    with conducting(slow_sim.url, tmp_path, workers=1, **load) as run:
        run.wait_for_seconds(2)
        os.kill(*run.workers, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(*run.workers, signal.SIGCONT)
        end = run.finish()
    assert_accounted(run.folder, end)
    assert end["client"]["workers"][0]["loop_stall_max_s"] >= least_s
    verdict = judge(open_run(run.folder)).verdict
    stalls = [rule["value"] for rule in verdict["reasons"] if rule["rule"] == "loop_stall"]
    assert len(stalls) == 1 and stalls[0] >= least_s
    assert EXIT_CODES[verdict["verdict"]] is ExitCode.UNDECIDED


# -- a full disk -------------------------------------------------------------------------------


def test_a_full_disk_ends_the_run(
    slow_sim: SimProcess, tmp_path: Path, conducting: Conduct
) -> None:
    """The error says so at once, not when the run would have been over; what is written reads."""
    limit = 30_000  # bytes of one file: the first part fits
    with conducting(slow_sim.url, tmp_path, file_bytes=limit) as run:
        _, errors = run.process.communicate(timeout=60)
    assert run.process.returncode == 1
    assert "NotValidError: no space left for" in errors
    stored = open_run(run.folder)
    assert stored.end is None
    assert len(stored.requests) > 0
    assert [line["event"] for line in stored.journal][-1] == "error"
