"""Whether memory stays flat while a run goes on.

    python benchmarks/soak.py                       30 minutes of 60 requests/s, 50 tokens each
    python benchmarks/soak.py --minutes 2 --settle 0.5

`bench run` replays against the simulated server, each in processes of their own.  Every 10 s the
resident memory (VmRSS) of the run's parent and of its workers is read.  Prints a line a minute, and
a Markdown row for each process: memory when it had settled and at the end, and the slope between,
by least squares.  Exits with 1 where a slope is above FLAT_MB_PER_H, or the run was not valid.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.sim.config import SimConfig
from bench.sim.process import running_sim

EVERY_S = 10.0
FLAT_MB_PER_H = 20.0
STEP_S = 0.02
"""Of the simulator: 50 tokens take a second, so that about as many streams are open as the rate."""


@dataclass(slots=True)
class Memory:
    """Resident memory of one process: minutes since the first sample, MB."""

    minutes: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)

    def settled(self, after: float) -> Memory:
        """The samples from minute `after` on."""
        at = next((i for i, minute in enumerate(self.minutes) if minute >= after), len(self.mb))
        return Memory(self.minutes[at:], self.mb[at:])

    @property
    def slope_mb_per_h(self) -> float:
        """By least squares; NaN below three samples."""
        if len(self.mb) < 3:
            return float("nan")
        return 60 * statistics.linear_regression(self.minutes, self.mb).slope


def resident_mb(pid: int) -> float | None:
    """VmRSS; None once the process is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmRSS:\s*(\d+) kB$", status, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024 / 1e6


def workers_of(pid: int) -> list[int]:
    """The load processes of a run, in the order they were started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    except OSError:
        return []
    return sorted(child for child, command in commands.items() if b"spawn_main" in command)


@contextmanager
def bench_run(url: str, folder: Path, asked: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    """`bench run` at the asked load; ended if it is left early."""
    words = [
        *("run", "-t", url, "--rate", str(asked.rate), "--duration", str(asked.minutes * 60)),
        *("--input-tokens", "128", "--output-tokens", "50", "--workers", str(asked.workers)),
        *("--no-report", "--json", "-o", str(folder)),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", "from bench.cli import main; main()", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def watch(process: subprocess.Popen[str], minutes: float) -> dict[str, Memory]:
    """Samples until the run sends no more; judging afterwards has needs of its own."""
    while not workers_of(process.pid):
        if process.poll() is not None:
            sys.exit(f"bench run ended early:\n{process.communicate()[1]}")
        time.sleep(0.1)
    begin_s, found = time.monotonic(), {"parent": Memory()}
    for tick in range(int(minutes * 60 / EVERY_S)):
        time.sleep(max(0.0, begin_s + tick * EVERY_S - time.monotonic()))
        pids = {"parent": process.pid}
        pids |= {f"worker {n}": pid for n, pid in enumerate(workers_of(process.pid))}
        for name, pid in pids.items():
            mb = resident_mb(pid)
            if mb is not None and len(pids) > 1:
                memory = found.setdefault(name, Memory())
                memory.minutes.append((time.monotonic() - begin_s) / 60)
                memory.mb.append(mb)
        if tick * EVERY_S % 60 == 0:
            shown = ", ".join(f"{name} {memory.mb[-1]:.1f} MB" for name, memory in found.items())
            print(f"minute {tick * EVERY_S / 60:.0f}: {shown}", flush=True)
    return found


def report(found: dict[str, Memory], settle: float) -> bool:
    """Prints the rows; whether every process is flat."""
    print(f"\n| process | minute {settle:g}, MB | end, MB | slope, MB/h | flat |")
    print("|---|---|---|---|---|")
    flat = True
    for name, memory in found.items():
        settled = memory.settled(settle)
        if not settled.mb:
            sys.exit(f"no sample of {name} after minute {settle:g}: let it run for longer")
        slope = settled.slope_mb_per_h
        good = slope <= FLAT_MB_PER_H
        flat &= good
        print(
            f"| {name} | {settled.mb[0]:.1f} | {settled.mb[-1]:.1f} | {slope:+.1f} "
            f"| {'yes' if good else 'no'} |"
        )
    return flat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--settle", type=float, default=3.0, help="minutes left out of the slope")
    parser.add_argument("--rate", type=float, default=60.0, help="requests/s")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    config = SimConfig(port=0, step_s=STEP_S, prefill_token_s=0, decode_seq_s=0)
    with tempfile.TemporaryDirectory() as scratch, running_sim(config) as sim:
        with bench_run(sim.url, Path(scratch), asked) as process:
            found = watch(process, asked.minutes)
            out, errors = process.communicate()
        flat = report(found, asked.settle)
        if process.returncode not in (0, 3, 4):
            sys.exit(f"bench run ended with {process.returncode}:\n{errors}")
        answer = json.loads(out)
        end = json.loads((Path(answer["run"]) / "end.json").read_text())
    counts = {name: end[name] for name in ("planned", "ok", "failed", "dropped", "aborted")}
    print(f"\n{counts}, valid: {answer['valid']}")
    sys.exit(0 if flat and answer["valid"] else 1)


if __name__ == "__main__":
    main()
