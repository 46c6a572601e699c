"""Runs in processes of their own: killed, interrupted, and always accounted for."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.judge.judgement import judge
from bench.record.frame import open_run
from bench.sim.config import SimConfig
from bench.sim.process import SimProcess, running_sim

WAIT_S = 60.0
NOTICED_S = 2.0
LOST_S = 1.5
"""A worker writes once a second; the rest is what writing itself may take."""

REQUESTS = 10_000

KILLS = int(os.environ.get("BENCH_KILLS", "1"))
"""How often each kind of process is killed, at as many random instants."""

CONDUCT = """
import json, resource, sys

if __name__ == "__main__":
    from pathlib import Path
    from bench.conduct.run import Order, conduct
    from bench.model import Target
    from bench.workload.resolve import Overrides, override, recipe_of_lengths

    class Watch:
        def note(self, text):
            print(text, file=sys.stderr, flush=True)
        def began(self, folder, ready):
            print(folder, flush=True)
            if file_bytes:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        def second(self, totals, elapsed_s):
            print(totals.ok, flush=True)

    url, folder, workers, key, options = sys.argv[1:]
    options = json.loads(options)
    file_bytes = options.pop("file_bytes", None)
    lengths = recipe_of_lengths(8, options.pop("output_tokens", 60))
    recipe = override(lengths, Overrides(**options))
    headers = {"Authorization": "Bearer " + open(key).read()} if key else {}
    target = Target(url, "", "completions", headers)
    done = conduct(Order(recipe, target, Path(folder), workers=int(workers)), Watch())
    print(json.dumps(done.end), flush=True)
"""


@pytest.fixture(scope="module")
def slow_sim() -> Iterator[SimProcess]:
    """Answers of 60 tokens take about a tenth of a second."""
    config = SimConfig(port=0, step_s=0.0015, prefill_token_s=0, decode_seq_s=0)
    with running_sim(config) as server:
        yield server


@dataclass
class Conducting:
    """A run in progress: its process, its folder once it is made, what it says."""

    process: subprocess.Popen[str]
    folder: Path

    @property
    def workers(self) -> list[int]:
        """The pids of the load processes."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        children = [int(pid) for pid in listed.split()]
        return [pid for pid in children if b"spawn_main" in command_of(pid)]

    def wait_for_seconds(self, seconds: int) -> None:
        """Until so many reports of its workers have come."""
        assert self.process.stdout is not None
        for _ in range(seconds):
            assert self.process.stdout.readline(), "the run ended early"

    def finish(self) -> dict[str, Any]:
        """The content of end.json, as the process told it."""
        out, errors = self.process.communicate(timeout=WAIT_S)
        assert self.process.returncode == 0, errors
        end: dict[str, Any] = json.loads(out.splitlines()[-1])
        return end


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def conducting(
    url: str,
    base: Path,
    *,
    workers: int = 2,
    key: str = "",
    **overrides: Any,
) -> Iterator[Conducting]:
    options = {
        "concurrency": 8,
        "requests": REQUESTS,
        "endpoint": "completions",
        "prompt_length": "token_ids",
    } | overrides
    script = base / "conduct.py"
    base.mkdir(exist_ok=True)
    script.write_text(CONDUCT)
    command = [sys.executable, str(script), url, str(base), str(workers), key]
    process = subprocess.Popen(
        [*command, json.dumps(options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    folder = process.stdout.readline().strip()
    assert folder, process.stderr.read()
    try:
        yield Conducting(process, Path(folder))
    finally:
        process.kill()
        process.communicate()


def assert_accounted(folder: Path, end: dict[str, Any]) -> None:
    """The balance holds, and every count but the aborted has its rows."""
    run = open_run(folder)
    rows = run.requests
    accounted = end["ok"] + sum(end["failed"].values()) + end["dropped"] + end["aborted"]
    stored = json.loads((folder / "end.json").read_text())
    assert (stored["unaccounted"], stored["planned"]) == (0, accounted)
    assert (rows["outcome"] == "ok").sum() == end["ok"]
    assert (rows["outcome"] == "failed").sum() == sum(end["failed"].values())
    assert rows["index"].is_unique
    assert set(run.defects) <= {"missing_rows"}


def test_a_run_to_its_end(slow_sim: SimProcess, tmp_path: Path) -> None:
    """Two workers share the plan; every request is there once, from one start."""
    with conducting(slow_sim.url, tmp_path, requests=40) as run:
        end = run.finish()
    assert (end["planned"], end["ok"], end["reason"]) == (40, 40, "finished")
    assert_accounted(run.folder, end)
    rows = open_run(run.folder).requests
    assert rows["worker"].value_counts().to_dict() == {0: 20, 1: 20}
    assert rows["index"].tolist() == list(range(40))


def some_time_later(draw: random.Random) -> None:
    """An instant that nothing in the run is tied to."""
    for _ in range(draw.randint(0, 2_000_000)):
        pass


def lost(folder: Path, killed_ns: int) -> int:
    """Requests that were reported as ended long enough before the kill, and have no row."""
    stored = open_run(folder)
    told: dict[int, int] = {}
    for line in stored.journal:
        if line["event"] == "second" and line["at_ns"] < killed_ns - LOST_S * 1e9:
            told[line["worker"]] = line["done"]
    rows = stored.requests["worker"].value_counts()
    return sum(max(0, done - int(rows.get(worker, 0))) for worker, done in told.items())


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_worker_ends_the_run_as_not_valid(
    slow_sim: SimProcess, tmp_path: Path, number: int
) -> None:
    """Noticed within 2 s; the other stops; what it had planned is aborted; its rows are read."""
    draw = random.Random(number)
    with conducting(slow_sim.url, tmp_path) as run:
        run.wait_for_seconds(draw.randint(2, 4))
        some_time_later(draw)
        killed_ns = time.monotonic_ns()
        os.kill(draw.choice(run.workers), signal.SIGKILL)
        end = run.finish()
    assert end["reason"].endswith("died")
    assert len(end["dead_workers"]) == 1
    assert end["planned"] == REQUESTS
    assert_accounted(run.folder, end)
    assert lost(run.folder, killed_ns) == 0
    stored = open_run(run.folder)
    noticed = [line["at_ns"] for line in stored.journal if line["event"] == "worker_died"]
    assert noticed[0] - killed_ns < NOTICED_S * 1e9
    assert judge(stored).verdict["valid"] is False


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_parent_takes_its_workers_with_it(
    slow_sim: SimProcess, tmp_path: Path, number: int
) -> None:
    """They find the pipe closed, write what they have and end; the folder reads back."""
    draw = random.Random(number)
    with conducting(slow_sim.url, tmp_path) as run:
        run.wait_for_seconds(draw.randint(2, 4))
        some_time_later(draw)
        workers = run.workers
        run.process.kill()
        run.process.wait(WAIT_S)
        until = time.monotonic() + WAIT_S
        while any(b"spawn_main" in command_of(pid) for pid in workers):
            assert time.monotonic() < until, "a worker outlives its parent"
            os.sched_yield()
    stored = open_run(run.folder)
    assert stored.end is None
    assert set(stored.defects) <= {"temporary_files", "torn_journal_lines"}
    told = {line["worker"]: line["done"] for line in stored.journal if line["event"] == "second"}
    assert len(stored.requests) >= sum(told.values()) > 0
    assert stored.requests["index"].is_unique
    assert judge(stored).verdict["valid"] is False


def test_ctrl_c_once_waits_for_open_answers(slow_sim: SimProcess, tmp_path: Path) -> None:
    """Sent to the whole group, as a terminal does: nothing is cut, nothing is lost."""
    with conducting(slow_sim.url, tmp_path) as run:
        run.wait_for_seconds(2)
        os.killpg(run.process.pid, signal.SIGINT)
        end = run.finish()
    assert end["reason"] == "interrupted"
    assert (end["dead_workers"], end["failed"]) == ([], {})
    assert_accounted(run.folder, end)
    rows = open_run(run.folder).requests
    assert set(rows["outcome"]) == {"ok"}
    assert len(rows) == end["ok"] < REQUESTS


def test_ctrl_c_twice_cuts(tmp_path: Path) -> None:
    """Answers that would take minutes are cut; their tokens are kept."""
    config = SimConfig(port=0, step_s=0.02, prefill_token_s=0, decode_seq_s=0)
    with (
        running_sim(config) as sim,
        conducting(sim.url, tmp_path, requests=100, output_tokens=10_000) as run,
    ):
        run.wait_for_seconds(2)
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.process.stderr is not None
        while "once more to cut" not in run.process.stderr.readline():
            pass
        os.killpg(run.process.pid, signal.SIGINT)
        end = run.finish()
    assert end["reason"] == "interrupted"
    assert_accounted(run.folder, end)
    rows = open_run(run.folder).requests
    cut = rows[rows["outcome"] == "aborted"]
    assert 1 <= len(cut) <= 8
    assert set(cut["error_class"]) == {"cut"}


def test_no_secret_is_written_anywhere(tmp_path: Path, serving: Any, sound: bytes) -> None:
    """A server that echoes the key in its errors leaves it in no file and on no stream.

    The key stands in the answers behind `Bearer`, alone, and cut by the end of the text kept.
    """
    key = "k3y-" + "0123456789abcdef" * 3
    (tmp_path / "key").write_text(key)
    models = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    stream = b'data: {"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}\n\n' + (
        b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":1}}\n\n'
    )

    def script(peer: Any) -> None:
        while True:
            headers, body = peer.read_message()
            sent = headers["authorization"]
            echo = f"{sent} is wrong, {sent.split()[1]} too; ".ljust(500, "x") + sent.split()[1]
            if "x-request-id" in headers:
                status, kind, answer = b"401 Unauthorized", b"text/plain", echo.encode()
            elif body:  # the preflight's few requests have no id
                words = len(json.loads(body)["prompt"].split())
                status, kind, answer = b"200 OK", b"text/event-stream", stream % words
            else:
                status, kind, answer = b"200 OK", b"application/json", models
            peer.send(head % (status, kind, len(answer)), answer)

    runs = tmp_path / "runs"
    with (
        serving(script) as server,
        conducting(
            server.url, runs, workers=1, key=str(tmp_path / "key"), requests=20,
            prompt_length="estimate",
        ) as run,
    ):  # fmt: skip
        out, errors = run.process.communicate(timeout=WAIT_S)
    assert run.process.returncode == 0, errors
    rows = open_run(run.folder).requests
    assert set(rows["error_class"]) == {"http_401"}
    assert rows["error_text"].str.contains("is wrong").all()
    assert not rows["error_text"].str.contains(key[:6]).any()
    assert key not in out + errors
    for path in runs.rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes(), path


def test_a_full_disk_ends_the_run(slow_sim: SimProcess, tmp_path: Path) -> None:
    """The error says so at once, not when the run would have been over; what is written reads."""
    limit = 30_000  # bytes of one file: the first part fits
    with conducting(slow_sim.url, tmp_path, file_bytes=limit) as run:
        _, errors = run.process.communicate(timeout=WAIT_S)
    assert run.process.returncode == 1
    assert "NotValidError: no space left for" in errors
    stored = open_run(run.folder)
    assert stored.end is None
    assert len(stored.requests) > 0
    assert [line["event"] for line in stored.journal][-1] == "error"
