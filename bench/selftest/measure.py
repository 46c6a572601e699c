"""One load against the simulator: what the client says happened, held against what did.

Client and simulator read one clock, so that an arrival is compared with the instant at which the
simulator handed the same token to the kernel, and not a duration with a duration.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.conduct.preflight import Ready
from bench.conduct.run import Order, conduct_async
from bench.conduct.tally import Totals
from bench.judge.stats import finite_or_none, quantiles
from bench.load.worker import raise_file_limit
from bench.model import Target
from bench.record.frame import Run, open_run
from bench.selftest.load import Load
from bench.sim.process import running_sim
from bench.sim.truth import TruthRow, read_truth

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """Errors of one quantity, in seconds: measured − true.

    `p50`, `p99` and `max` are of their absolute values, `bias` is their signed mean; None where
    there are none.
    """

    n: int
    p50: float | None
    p99: float | None
    max: float | None
    bias: float | None

    @classmethod
    def of(cls, errors_s: Floats) -> Spread:
        p50, p99, most = quantiles(np.abs(errors_s), [0.5, 0.99, 1.0])
        bias = float(errors_s.mean()) if errors_s.size else math.nan
        return cls(errors_s.size, *(finite_or_none(value) for value in (p50, p99, most, bias)))


@dataclass(frozen=True, slots=True)
class Measured:
    """What the engine came to under one load.

    `ttft_s`: error of the first token's arrival, which is that of TTFT and of every latency that
    ends with a token.  `itl_s`: error of the gaps between tokens.  `lag_s`: sent − intended.
    `tokens_per_s`: tokens that arrived once answers had begun to end and while requests were sent;
    `cpu_fraction`: of a core, of the busiest worker.  `lost`: planned requests without an answer
    or without a truth.  Unknown is None.
    """

    load: Load
    requests: int
    lost: int
    ttft_s: Spread
    itl_s: Spread
    lag_s: Spread
    uncertain_first_fraction: float | None
    tokens_per_s: float
    cpu_us_per_token: float | None
    cpu_fraction: float | None
    loop_stall_max_s: float | None


async def measure(load: Load) -> Measured:
    """Runs the load in worker processes against a simulator in another.

    Raises what a run raises, and KeyboardInterrupt when a signal stopped it.
    """
    raise_file_limit()  # the simulator inherits it
    with tempfile.TemporaryDirectory(prefix="bench-selftest-") as scratch:
        truth = Path(scratch) / "truth.jsonl"
        with running_sim(load.simulator(truth=truth, truth_tokens=True)) as server:
            order = Order(
                recipe=load.recipe(),
                target=Target(base_url=server.url, model=server.config.model),
                folder=Path(scratch) / "runs",
                workers=load.workers,
            )
            done = await conduct_async(order, _Unwatched())
        if done.interrupted:
            raise KeyboardInterrupt
        return compared(open_run(done.path), read_truth(truth), load)


def compared(run: Run, truth: Sequence[TruthRow], load: Load) -> Measured:
    """A finished run held against the simulator's record of it."""
    end = run.end
    assert end is not None
    true_rows = _of_run(truth, run.manifest["load"]["run_tag"])
    frame = run.requests
    index, first_s = frame["index"].to_numpy(), frame["first_s"].to_numpy()
    matched = np.array([i in true_rows for i in index.tolist()], np.bool_) & ~np.isnan(first_s)
    matched &= (frame["outcome"] == "ok").to_numpy()
    true_first_s = np.full(len(frame), np.nan)
    for at in np.flatnonzero(matched).tolist():
        true_first_s[at] = _after_start(run, [true_rows[int(index[at])].first_ns])[0]
    itl_errors_s, arrivals_s = _against_tokens(run, index, matched, true_rows)
    workers = end["client"]["workers"]
    tokens = float(frame["output_tokens"].sum())
    uncertain = frame["uncertain_first"].to_numpy(np.bool_)[matched]
    lag_s = (frame["sent_s"] - frame["intended_s"]).to_numpy()
    return Measured(
        load=load,
        requests=int(matched.sum()),
        lost=int(end["planned"] or 0) - int(matched.sum()),
        ttft_s=Spread.of((first_s - true_first_s)[matched]),
        itl_s=Spread.of(itl_errors_s),
        lag_s=Spread.of(lag_s[~np.isnan(lag_s)]),
        uncertain_first_fraction=float(uncertain.mean()) if uncertain.size else None,
        tokens_per_s=_per_second(arrivals_s, load),
        cpu_us_per_token=1e6 * end["client"]["cpu_s"] / tokens if tokens else None,
        cpu_fraction=max(
            (w["cpu_s"] / w["wall_s"] for w in workers if w["cpu_s"] and w["wall_s"]), default=None
        ),
        loop_stall_max_s=max((w["loop_stall_max_s"] for w in workers), default=None),
    )


def _of_run(truth: Sequence[TruthRow], tag: str) -> dict[int, TruthRow]:
    """The run's own rows by index in the plan: not the probe's."""
    rows = {}
    for row in truth:
        found, _, index = row.id.rpartition("-")
        if found == tag and row.first_ns is not None:
            rows[int(index)] = row
    return rows


def _after_start(run: Run, instants_ns: Sequence[int | None]) -> Floats:
    """Absolute instants on the run's own scale, subtracted as integers to lose no nanosecond."""
    return np.array([(at or 0) - run.start_ns for at in instants_ns], np.int64) / 1e9


def _against_tokens(
    run: Run, index: NDArray[np.int64], matched: NDArray[np.bool_], truth: dict[int, TruthRow]
) -> tuple[Floats, Floats]:
    """Errors of the gaps between tokens, and when tokens arrived.

    An answer of which the client saw another number of token events than there were tokens has no
    gaps to compare.
    """
    errors_s: list[Floats] = []
    arrivals_s: list[Floats] = []
    for events in run.token_events():
        for n, at in enumerate(events.rows.tolist()):
            arrived_s = events.arrival_s[events.offsets[n] : events.offsets[n + 1]]
            arrivals_s.append(arrived_s)
            sent_ns = truth[int(index[at])].token_ns if matched[at] else None
            if sent_ns is not None and len(sent_ns) == len(arrived_s):
                errors_s.append(np.diff(arrived_s) - np.diff(_after_start(run, sent_ns)))
    return np.concatenate([np.empty(0), *errors_s]), np.concatenate([np.empty(0), *arrivals_s])


def _per_second(arrivals_s: Floats, load: Load) -> float:
    """Token arrivals per second, from when the first answers end (at most half way) to the end."""
    begin_s = min(load.answer_s, load.duration_s / 2)
    inside = (arrivals_s >= begin_s) & (arrivals_s < load.duration_s)
    return float(inside.sum()) / (load.duration_s - begin_s)


class _Unwatched:
    """A watch for runs that are part of something else."""

    def note(self, text: str) -> None: ...

    def began(self, folder: Path, ready: Ready) -> None: ...

    def second(self, totals: Totals, elapsed_s: float) -> None: ...
