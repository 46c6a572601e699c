"""Whole runs in processes of their own, to be killed, stopped and looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.record.frame import open_run
from bench.sim.config import SimConfig
from bench.sim.process import SimProcess, running_sim

WAIT_S = 60.0
REQUESTS = 10_000

CONDUCT = """
import json, resource, signal, sys

if __name__ == "__main__":
    from pathlib import Path
    from bench.conduct.run import Order, conduct
    from bench.model import Target
    from bench.workload.recipe import Stop
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

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    url, folder, workers, options = sys.argv[1:]
    options = json.loads(options)
    file_bytes = options.pop("file_bytes", None)
    stop = Stop(**options.pop("stop", {}))
    headers = options.pop("headers", {})
    lengths = recipe_of_lengths(8, options.pop("output_tokens", 60))
    recipe = override(lengths, Overrides(**options)).model_copy(update={"stop": stop})
    target = Target(url, "", "completions", headers)
    done = conduct(Order(recipe, target, Path(folder), workers=int(workers)), Watch())
    print(json.dumps(done.end), flush=True)
"""


@pytest.fixture(scope="package")
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
        return [pid for pid in map(int, listed.split()) if is_worker(pid)]

    def wait_for_seconds(self, seconds: int) -> None:
        """Until so many reports of its workers have come."""
        assert self.process.stdout is not None
        for _ in range(seconds):
            assert self.process.stdout.readline(), "the run ended early"

    def wait_for_note(self, text: str) -> None:
        """Until it has said so on stderr."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return
        raise AssertionError(f"it never said {text!r}")

    def finish(self) -> dict[str, Any]:
        """The content of end.json, as the process told it."""
        out, errors = self.process.communicate(timeout=WAIT_S)
        assert self.process.returncode == 0, errors
        end: dict[str, Any] = json.loads(out.splitlines()[-1])
        return end


def is_worker(pid: int) -> bool:
    """Whether the process is a load process that is still there."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@contextmanager
def _conducting(
    url: str, base: Path, *, workers: int = 2, **overrides: Any
) -> Iterator[Conducting]:
    options = {
        "concurrency": 8,
        "requests": REQUESTS,
        "endpoint": "completions",
        "prompt_length": "token_ids",
    } | overrides
    options = {name: value for name, value in options.items() if value is not None}
    script = base / "conduct.py"
    base.mkdir(exist_ok=True)
    script.write_text(CONDUCT)
    process = subprocess.Popen(
        [sys.executable, str(script), url, str(base), str(workers), json.dumps(options)],
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


def _assert_accounted(folder: Path, end: dict[str, Any]) -> None:
    run = open_run(folder)
    rows = run.requests
    accounted = end["ok"] + sum(end["failed"].values()) + end["dropped"] + end["aborted"]
    stored = json.loads((folder / "end.json").read_text())
    assert (stored["unaccounted"], stored["planned"]) == (0, accounted)
    assert (rows["outcome"] == "ok").sum() == end["ok"]
    assert (rows["outcome"] == "failed").sum() == sum(end["failed"].values())
    assert rows["index"].is_unique
    assert set(run.defects) <= {"missing_rows", "temporary_files"}


@pytest.fixture(scope="session")
def conducting() -> Callable[..., Any]:
    """`with conducting(url, folder, workers=2, ...) as run`: the rest overrides the recipe.

    Beside its fields: `stop`, `headers`, `output_tokens`, and `file_bytes`, which no file that is
    written once the run has begun may exceed.
    """
    return _conducting


@pytest.fixture(scope="session")
def assert_accounted() -> Callable[[Path, dict[str, Any]], None]:
    """The balance of a finished run holds, and every count but the aborted has its rows."""
    return _assert_accounted


@pytest.fixture(scope="session")
def planned_requests() -> int:
    """How many requests a run has unless it is told otherwise."""
    return REQUESTS


@pytest.fixture(scope="session", name="is_worker")
def _is_worker() -> Callable[[int], bool]:
    """Whether a pid is a load process that is still there."""
    return is_worker
