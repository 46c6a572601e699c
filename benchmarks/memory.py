"""Peak memory of a replay by the length of its trace.

    python benchmarks/memory.py                     5,000 and 50,000 requests, three times each

Traces of equal shape are replayed against `truthd` with short answers and many slots, so that a
long trace takes seconds.  The parent's peak holds the plan and the judging, the worker's the
replay.  Prints a line for each run and a Markdown row of medians; the differences are the result.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path

import instruments
from instruments import Timetable, Unavailable

from bench.record.frame import open_run

LENGTHS = (5_000, 50_000)
SLOTS = 256
_MB = 1e6
_BLOCK_TOKENS = 512


def write_trace(path: Path, requests: int) -> None:
    """Mooncake-like rows: 1 to 4 blocks, the first of them one of 200, 8 tokens out."""
    draw = random.Random(requests)
    with path.open("w") as rows:
        for index in range(requests):
            blocks = [
                draw.randrange(200),
                *(1000 + 4 * index + i for i in range(draw.randrange(4))),
            ]
            row = {
                "timestamp": index * 10,
                "input_length": _BLOCK_TOKENS * len(blocks),
                "output_length": 8,
                "hash_ids": blocks,
            }
            rows.write(json.dumps(row) + "\n")


def replay(folder: Path, requests: int, run: int) -> tuple[float, float]:
    """Peak of the parent and of the worker in MB."""
    trace = folder / f"trace-{requests}.jsonl"
    if not trace.exists():
        write_trace(trace, requests)
    output = folder / f"run-{requests}-{run}"
    with instruments.truthd(folder, Timetable(5, 2, 0.2), folder / "truth.txt") as port:
        cost = instruments.bench(
            *("run", "-t", f"http://127.0.0.1:{port}", "-w", str(trace)),
            *("--concurrency", str(SLOTS), "--workers", "1", "--json", "--no-report"),
            *("-o", str(output)),
        )
    (path,) = output.iterdir()
    end = open_run(path).end
    assert end is not None
    if end["ok"] != requests:
        raise RuntimeError(f"{path}: {end['ok']} of {requests} ok")
    return cost.peak_bytes / _MB, end["client"]["workers"][0]["peak_rss_bytes"] / _MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    medians = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            instruments.build(folder)
        except Unavailable as why:
            sys.exit(f"skipped: {why}")
        for requests in LENGTHS:
            peaks = []
            for run in range(asked.repeat):
                peaks.append(replay(folder, requests, run))
                print(f"{requests} requests: parent {peaks[-1][0]:.0f} MB, "
                      f"worker {peaks[-1][1]:.0f} MB", flush=True)  # fmt: skip
            medians.append([statistics.median(each) for each in zip(*peaks, strict=True)])
    short, long = medians
    print("\n| requests | parent, MB | worker, MB |\n|---|---|---|")
    for requests, (parent, worker) in zip(LENGTHS, medians, strict=True):
        print(f"| {requests:,} | {parent:.0f} | {worker:.0f} |")
    print(f"| difference | {long[0] - short[0]:.0f} | {long[1] - short[1]:.0f} |")


if __name__ == "__main__":
    main()
