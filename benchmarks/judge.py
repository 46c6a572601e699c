"""Time and memory of judging and reporting a stored run.

    python benchmarks/judge.py                                  1,000,000 and 100,000 requests
    python benchmarks/judge.py --requests 100000 --repeat 5

Runs of 200 tokens per request are generated (bench.record.synthetic), judged under a shipped
profile and reported, each step in a process of its own.  Prints Markdown rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import instruments
from instruments import Cost

from bench.record.synthetic import SyntheticRun, write_synthetic_run

TOKENS = 200
PROFILE = "realtime-chat"


def measured(folder: Path, requests: int, repeat: int) -> list[str]:
    """Markdown rows for one length of run."""
    path = folder / f"run-{requests}"
    begin_s = time.monotonic()
    write_synthetic_run(path, SyntheticRun(requests=requests, tokens_per_request=TOKENS))
    print(f"{requests:,} requests generated in {time.monotonic() - begin_s:.0f} s", flush=True)
    page = folder / "report.html"
    steps = {
        "judge": ("judge", str(path), "-p", PROFILE, "--json"),
        "report": ("report", str(path), "-p", PROFILE, "-o", str(page)),
    }
    rows = []
    for name, words in steps.items():
        costs: list[Cost] = []
        for _ in range(repeat):
            costs.append(instruments.bench(*words))
            print(f"{name} {requests:,}: {costs[-1].wall_s:.1f} s", flush=True)
        size = f"{page.stat().st_size / 1e6:.2f}" if name == "report" else "–"
        rows.append(f"| {name} | {requests:,} | {_spread(costs)} | {size} |")
    return rows


def _spread(costs: list[Cost]) -> str:
    walls = sorted(cost.wall_s for cost in costs)
    peak = statistics.median(cost.peak_bytes for cost in costs) / 1e9
    return f"{statistics.median(walls):.1f} ({walls[0]:.1f} to {walls[-1]:.1f}) | {peak:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, action="append")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = [
            row
            for requests in asked.requests or [1_000_000, 100_000]
            for row in measured(Path(scratch), requests, asked.repeat)
        ]
    print("\n| step | requests | time, s | peak, GB | report, MB |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
