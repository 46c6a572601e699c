"""`kill -9` at random instants: what is on disk reads back, and what is not is accounted for."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.cli.verdict_view import EXIT_CODES
from bench.errors import ExitCode
from bench.judge.judgement import judge
from bench.record.frame import Run, open_run
from bench.sim.config import SimConfig
from bench.sim.process import SimProcess, running_sim
from bench.sim.truth import read_truth

KILLS = 20
AT_ONCE = 4
SEED = 20261122
LOST_S = 1.0
NOTICED_S = 2.0
WAIT_S = 60.0

VICTIMS = ("worker", "parent", "both")


@dataclass(frozen=True)
class Killed:
    """A run of which one process, or all at one instant, were killed at `at_ns`."""

    victim: str
    folder: Path
    at_ns: int
    end: dict[str, Any] | None

    def lost(self, truth: dict[str, int]) -> list[float]:
        """Ages, at the kill, of the answers that had ended and are not on disk.

        `truth` has when the server sent the last token of each whole answer, by request id.
        """
        run = open_run(self.folder)
        tag = run.manifest["load"]["run_tag"]
        stored = {f"{tag}-{index}" for index in run.requests["index"]}
        return [
            (self.at_ns - last_ns) / 1e9
            for name, last_ns in truth.items()
            if name.startswith(f"{tag}-") and name not in stored and last_ns < self.at_ns
        ]


@pytest.fixture(scope="module")
def truth_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("truth") / "truth.jsonl"


@pytest.fixture(scope="module")
def sim(truth_file: Path) -> Iterator[SimProcess]:
    """Answers of 60 tokens take a tenth of a second; it writes down when each ended."""
    config = SimConfig(port=0, step_s=0.0015, prefill_token_s=0, decode_seq_s=0, truth=truth_file)
    with running_sim(config) as server:
        yield server


def kill(run: Any, victim: str) -> int:
    """Kills and says when."""
    workers = run.workers
    at_ns = time.monotonic_ns()
    if victim == "worker":
        os.kill(workers[-1], signal.SIGKILL)
    elif victim == "parent":
        run.process.kill()
    else:
        os.killpg(run.process.pid, signal.SIGKILL)
    return at_ns


def killed(
    conducting: Callable[..., Any], alive: Callable[[int], bool], url: str, base: Path, number: int
) -> Killed:
    """A run that was killed some time after its first report."""
    draw = random.Random(SEED + number)
    victim = VICTIMS[number % len(VICTIMS)]
    with conducting(url, base, workers=2 if victim == "worker" else 1, concurrency=4) as run:
        run.wait_for_seconds(1)
        time.sleep(draw.uniform(0.3, 2.3))  # an instant that nothing in the run is tied to
        workers = run.workers
        at_ns = kill(run, victim)
        if victim == "worker":
            return Killed(victim, run.folder, at_ns, run.finish())
        run.process.wait(WAIT_S)
        until = time.monotonic() + WAIT_S
        while any(map(alive, workers)):
            assert time.monotonic() < until, "a worker outlives its parent"
            time.sleep(0.01)
    return Killed(victim, run.folder, at_ns, None)


@pytest.fixture(scope="module")
def kills(
    sim: SimProcess,
    conducting: Callable[..., Any],
    is_worker: Callable[[int], bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Killed]:
    """KILLS runs, some at a time."""
    base = tmp_path_factory.mktemp("kills")

    def one(number: int) -> Killed:
        return killed(conducting, is_worker, sim.url, base / str(number), number)

    with ThreadPoolExecutor(AT_ONCE) as several:
        return list(several.map(one, range(KILLS)))


@pytest.fixture(scope="module")
def truth(kills: list[Killed], truth_file: Path) -> dict[str, int]:
    """When the server sent the last token of each whole answer, by request id."""
    rows = read_truth(truth_file)
    return {row.id: row.last_ns for row in rows if row.finish == "length" and row.last_ns}


def test_every_folder_reads_back(kills: list[Killed]) -> None:
    """Whatever was killed and when: rows are whole and unique, nothing is damaged."""
    for each in kills:
        run = open_run(each.folder)
        assert len(run.requests) > 0
        assert run.requests["index"].is_unique
        assert set(run.defects) <= {"temporary_files", "torn_journal_lines", "missing_rows"}
        assert sum(len(events.rows) for events in run.token_events()) == len(run.requests)


def test_at_most_a_second_is_lost(kills: list[Killed], truth: dict[str, int]) -> None:
    """No answer that had ended a second before the kill is missing, as the server knows them."""
    lost_s = dict.fromkeys(VICTIMS, 0.0)
    for each in kills:
        lost_s[each.victim] = max(lost_s[each.victim], *each.lost(truth), 0.0)
    assert max(lost_s.values()) <= LOST_S, lost_s
    assert lost_s["worker"] > 0 and lost_s["both"] > 0, "no kill hit anything: nothing is shown"


def test_a_killed_worker_is_noticed_and_accounted_for(
    kills: list[Killed], assert_accounted: Callable[..., None], planned_requests: int
) -> None:
    """Within 2 s; its other requests are aborted; the run is not valid and ends with 4."""
    ends = [each for each in kills if each.victim == "worker"]
    assert ends
    for each in ends:
        end = each.end
        assert end is not None
        assert end["reason"].endswith("died")
        assert len(end["dead_workers"]) == 1
        assert (end["planned"], end["aborted"] > 0) == (planned_requests, True)
        assert_accounted(each.folder, end)
        run = open_run(each.folder)
        noticed = [line["at_ns"] for line in run.journal if line["event"] == "worker_died"]
        assert noticed[0] - each.at_ns < NOTICED_S * 1e9
        assert_not_valid(run, "workers_alive")


def test_a_killed_run_says_what_is_missing(kills: list[Killed], planned_requests: int) -> None:
    """Without end.json: the plan's requests beside those on disk, not valid, exit code 4."""
    ends = [each for each in kills if each.victim != "worker"]
    assert ends
    for each in ends:
        run = open_run(each.folder)
        assert run.end is None
        counts = assert_not_valid(run, "ended")
        assert (counts["planned"], counts["ok"]) == (planned_requests, len(run.requests))


def assert_not_valid(run: Run, rule: str) -> dict[str, Any]:
    """The run is not valid by this rule; what it counts."""
    judgement = judge(run)
    verdict = judgement.verdict
    assert rule in [found["rule"] for found in verdict["reasons"]]
    assert EXIT_CODES[verdict["verdict"]] is ExitCode.UNDECIDED
    counts: dict[str, Any] = judgement.summary["counts"]
    return counts
