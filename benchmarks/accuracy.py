"""How exact the load engine is and what it costs, held against `truthd` and `limitc`.

    python benchmarks/accuracy.py                        every job, five times: about 25 minutes
    python benchmarks/accuracy.py --job streams-200 --repeat 1
    nice -n -20 python benchmarks/accuracy.py            on a machine that does other things too

Rows of a run are matched with rows of the truth by request id, on one clock.  Prints a line for
each repetition and, for each job, a Markdown row of medians with the spread (lowest to highest).
benchmarks/README.md explains the columns and keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import instruments
import numpy as np
from instruments import Timetable, TruthRow, Unavailable

from bench.record.frame import Run, open_run

_MS = 1e3
_WRK_SECONDS = 5
_WHOLE_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Job:
    """One job: `arguments` of `bench run`, the server's timetable, and what runs beside it.

    `beside`: connections, tokens and requests for `limitc`.  `whole`: answers are not streamed.
    """

    name: str
    arguments: tuple[str, ...]
    timetable: Timetable = field(default_factory=Timetable)
    beside: tuple[int, int, int] | None = None
    tls: bool = False
    whole: bool = False


def _closed(streams: int, requests: int, workers: int = 1) -> tuple[str, ...]:
    return (
        *("--input-tokens", "100", "--output-tokens", "100", "--workers", str(workers)),
        *("--concurrency", str(streams), "--requests", str(requests)),
    )


def _open(rate: int, arrivals: str, seconds: int, output_tokens: int) -> tuple[str, ...]:
    return (
        *("--input-tokens", "32", "--output-tokens", str(output_tokens), "--workers", "1"),
        *("--rate", str(rate), "--arrivals", arrivals, "--duration", str(seconds)),
    )


JOBS = (
    Job("streams-200", _closed(200, 2_000), beside=(200, 100, 2_000)),
    Job("streams-600", _closed(600, 6_000), beside=(600, 100, 6_000)),
    Job("streams-1200-2w", _closed(1_200, 12_000, 2), beside=(1_200, 100, 12_000)),
    Job("poisson-500", _open(500, "poisson", 20, 1)),
    Job("constant-200", _open(200, "constant", 30, 8)),
    Job("whole", ("--workers", "1"), whole=True),
    Job("streams-200-tls", _closed(200, 2_000), beside=(200, 100, 2_000), tls=True),
)


@dataclass(slots=True)
class Figures:
    """What one repetition came to; NaN where a figure does not apply.

    `ttft_p50_off_ms`, `ttft_p99_off_ms`: percentile of TTFT from the intended start minus that of
    the truth (received to first token).  `first_*_ms`: arrival of the first token minus its send
    by the server, request by request.  `itl_*_off_ms`: percentile of the gaps minus that of the
    timetable.  `cpu_us`: worker CPU per token, or per request where answers are not streamed.
    """

    ttft_p50_off_ms: float = np.nan
    ttft_p99_off_ms: float = np.nan
    first_p50_ms: float = np.nan
    first_p99_ms: float = np.nan
    itl_p50_off_ms: float = np.nan
    itl_p99_off_ms: float = np.nan
    lag_p50_ms: float = np.nan
    lag_p99_ms: float = np.nan
    uncertain_percent: float = np.nan
    cpu_us: float = np.nan
    of_limitc: float = np.nan
    requests_per_s: float = np.nan
    of_planned_percent: float = np.nan
    of_wrk: float = np.nan
    lost: float = 0.0


@dataclass(slots=True)
class Bench:
    """A folder with the built instruments and the runs."""

    folder: Path
    runs: int = field(default=0)

    def repetition(self, job: Job) -> Figures:
        """Run the job once and hold it against the truth.  Raises Unavailable."""
        self.runs += 1
        truth = self.folder / f"truth-{self.runs}.txt"
        output = self.folder / f"run-{self.runs}"
        limit = wrk_rps = None
        with instruments.truthd(self.folder, job.timetable, truth) as port:
            with self._target(job, port) as target:
                workload = self._whole_recipe() if job.whole else ()
                options = ("--json", "--no-report", "-o", str(output))
                instruments.bench("run", *target, *workload, *job.arguments, *options)
            if job.beside is not None:
                limit = instruments.limitc(self.folder, port, *job.beside)
            if job.whole:
                wrk_rps = self._wrk(port)
        (path,) = output.iterdir()
        run = open_run(path)
        figures = measured(run, instruments.read_truth(truth, run.manifest["load"]["run_tag"]), job)
        if limit is not None:
            figures.of_limitc = figures.cpu_us / limit.cpu_us_per_token
        if wrk_rps is not None:
            figures.of_wrk = figures.requests_per_s / wrk_rps
        return figures

    @contextmanager
    def _target(self, job: Job, port: int) -> Iterator[tuple[str, ...]]:
        if not job.tls:
            yield "-t", f"http://127.0.0.1:{port}"
            return
        with instruments.tls_in_front(self.folder, port) as (front, certificate):
            yield "-t", f"https://127.0.0.1:{front}", "--ca", str(certificate)

    def _whole_recipe(self) -> tuple[str, ...]:
        """A closed loop of short answers that are not streamed, as a recipe file."""
        recipe = {
            "name": "whole",
            "title": {"zh": "非流式短请求", "en": "Short requests, not streamed"},
            "source": {
                "kind": "synthetic",
                "input_tokens": {"kind": "fixed", "value": 32},
                "output_tokens": {"kind": "fixed", "value": 1},
            },
            "arrivals": {"kind": "closed", "concurrency": _WHOLE_CONNECTIONS},
            "requests": 60_000,
            "sampling": {"extra": {"stream": False}},
        }
        path = self.folder / "whole.yaml"
        path.write_text(json.dumps(recipe))
        return "-w", str(path)

    def _wrk(self, port: int) -> float | None:
        body = json.dumps(
            {"model": "truth", "messages": [{"role": "user", "content": "x" * 160}],
             "max_tokens": 1, "stream": False}
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        return instruments.wrk(self.folder, url, body, _WHOLE_CONNECTIONS, _WRK_SECONDS)


def measured(run: Run, truth: dict[int, TruthRow], job: Job) -> Figures:
    """One run held against the truth."""
    end = run.end
    assert end is not None, f"{run.path} has no end"
    requests = run.requests[(run.requests["outcome"] == "ok").to_numpy()]
    matched = requests["index"].isin(list(truth)).to_numpy()
    if not matched.any():
        raise RuntimeError(f"no request of {run.path} is in the truth: {end}")
    rows = [truth[index] for index in requests["index"][matched]]
    first_s = requests["first_s"].to_numpy()[matched]
    intended_s = requests["intended_s"].to_numpy()[matched]
    true_first_s = np.array([row.first_ns - run.start_ns for row in rows]) / 1e9
    true_ttft_s = np.array([row.first_ns - row.received_ns for row in rows]) / 1e9
    lag_s = (requests["sent_s"] - requests["intended_s"]).to_numpy()
    span_s = float(requests["done_s"].max() - requests["intended_s"].min())
    tokens = len(requests) if job.whole else float(requests["output_tokens"].sum())
    figures = Figures(
        lag_p50_ms=_MS * _rank(lag_s, 0.5),
        lag_p99_ms=_MS * _rank(lag_s, 0.99),
        uncertain_percent=100 * float(requests["uncertain_first"].mean()),
        cpu_us=1e6 * end["client"]["cpu_s"] / tokens,
        requests_per_s=len(requests) / span_s,
        lost=float(end["planned"] - int(matched.sum())),
    )
    if not job.whole:
        late_s = first_s - true_first_s
        figures.first_p50_ms = _MS * _rank(late_s, 0.5)
        figures.first_p99_ms = _MS * _rank(late_s, 0.99)
        ttft_s = first_s - intended_s
        figures.ttft_p50_off_ms = _MS * (_rank(ttft_s, 0.5) - _rank(true_ttft_s, 0.5))
        figures.ttft_p99_off_ms = _MS * (_rank(ttft_s, 0.99) - _rank(true_ttft_s, 0.99))
    gaps_s = _gaps(run)
    if len(gaps_s):
        timetable = job.timetable
        figures.itl_p50_off_ms = _MS * (_rank(gaps_s, 0.5) - timetable.itl_s(0.5))
        figures.itl_p99_off_ms = _MS * (_rank(gaps_s, 0.99) - timetable.itl_s(0.99))
    offered_rps = run.manifest["workload"]["offered_rps"]
    if offered_rps is not None:
        planned_s = float(requests["intended_s"].max() - requests["intended_s"].min())
        sent_s = float(requests["sent_s"].max() - requests["sent_s"].min())
        figures.of_planned_percent = 100 * (len(requests) / end["planned"]) * (planned_s / sent_s)
    return figures


def _gaps(run: Run) -> np.ndarray:
    """Gaps between consecutive token events of one request, in seconds."""
    found = []
    for events in run.token_events():
        gaps = np.diff(events.arrival_s)
        inside = np.ones(len(gaps), np.bool_)
        ends = events.offsets[1:-1]
        inside[ends[(ends > 0) & (ends < len(events.arrival_s))] - 1] = False
        found.append(gaps[inside])
    return np.concatenate(found) if found else np.array([])


def _rank(values: np.ndarray, q: float) -> float:
    """The exact nearest-rank quantile."""
    ranked = np.sort(values)
    return float(ranked[max(0, int(np.ceil(q * len(ranked))) - 1)])


COLUMNS = {
    "ttft_p50_off_ms": "TTFT P50 − truth, ms",
    "ttft_p99_off_ms": "TTFT P99 − truth, ms",
    "first_p50_ms": "first token late P50, ms",
    "first_p99_ms": "P99, ms",
    "itl_p50_off_ms": "ITL P50 − plan, ms",
    "itl_p99_off_ms": "ITL P99 − plan, ms",
    "lag_p50_ms": "lag P50, ms",
    "lag_p99_ms": "lag P99, ms",
    "uncertain_percent": "uncertain, %",
    "cpu_us": "CPU µs/token",
    "of_limitc": "× limitc",
    "requests_per_s": "requests/s",
    "of_planned_percent": "achieved of planned, %",
    "of_wrk": "of wrk",
    "lost": "lost",
}


def head() -> str:
    titles = ["job", *COLUMNS.values()]
    return f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"


def row(job: Job, repetitions: list[Figures]) -> str:
    """Median and spread of each figure as a Markdown row."""
    cells = [job.name]
    for name in COLUMNS:
        values = [getattr(each, name) for each in repetitions]
        known = sorted(value for value in values if not np.isnan(value))
        if not known:
            cells.append("–")
        elif len(known) == 1:
            cells.append(f"{known[0]:.4g}")
        else:
            middle = statistics.median(known)
            cells.append(f"{middle:.4g} ({known[0]:.4g} to {known[-1]:.4g})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", action="append", choices=[job.name for job in JOBS])
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    assert set(COLUMNS) == {each.name for each in fields(Figures)}
    table = [head()]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        try:
            instruments.build(bench.folder)
        except Unavailable as why:
            sys.exit(f"skipped: {why}")
        for job in JOBS:
            if asked.job and job.name not in asked.job:
                continue
            try:
                done = []
                for _ in range(asked.repeat):
                    done.append(bench.repetition(job))
                    print(row(job, done[-1:]), flush=True)
                table.append(row(job, done))
            except Unavailable as why:
                print(f"{job.name} skipped: {why}")
    print("\n" + "\n".join(table))


if __name__ == "__main__":
    main()
