"""Run folders made without a server, with known distributions: for tests and benchmarks.

Rows are drawn and written in blocks of columns, so that 1,000,000 requests of 200 tokens take
minutes and not hours; the same `SyntheticRun` gives the same values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.model import Manifest, Outcome, ServerSample
from bench.record.folder import RunFolder
from bench.record.parts import write_part
from bench.record.synthetic_rows import NEVER, START_NS, Columns, Ints, SyntheticRun, blocks, table

__all__ = ["SyntheticRun", "write_synthetic_run"]

_NS_PER_S = 1_000_000_000
_START_UNIX_NS = 1_760_000_000_000_000_000
_LAG_MAX_S = 0.000_5
_STALL_MAX_S = 0.001
_CPU_SHARE = 0.1
_KV_TOKENS = 1_000_000
_TALLIED = (
    "outcome",
    "error_class",
    "intended_ns",
    "sent_ns",
    "first_ns",
    "done_ns",
    "cached_tokens",
    "output_tokens",
)


def write_synthetic_run(path: Path, spec: SyntheticRun = SyntheticRun()) -> Path:  # noqa: B008
    """Write a run folder at `path`, which must not exist or be empty, and return it."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder.begin(path, _manifest(path.name, spec))
    folder.journal("start", at_ns=START_NS, start_ns=START_NS, start_unix_ns=_START_UNIX_NS)
    tallied = []
    for number, block in enumerate(blocks(spec)):
        worker = number % spec.workers
        write_part(path, worker, table(spec, block, worker))
        tallied.append(
            {name: block[name] for name in _TALLIED}
            | {"worker": np.full(block["index"].size, worker)}
        )
    rows = {name: np.concatenate([some[name] for some in tallied]) for name in tallied[0]}
    end_ns = int(max(rows["done_ns"].max(), rows["intended_ns"].max()))
    for line in _seconds(rows, spec.workers, end_ns):
        folder.journal("second", **line)
    folder.journal("end", at_ns=end_ns, end_ns=end_ns)
    if spec.server_interval_s is not None:
        server = folder.server_parts()
        server.add(_samples(rows, spec, end_ns))
        server.close()
    if not spec.killed:
        folder.finish(_end(rows, spec, end_ns))
    return path


def _manifest(run_id: str, spec: SyntheticRun) -> Manifest:
    return Manifest(
        run_id=run_id,
        created_utc="2026-01-01T00:00:00+00:00",
        bench_version="synthetic",
        command=("bench", "run"),
        host={"name": "synthetic", "cpus": 2},
        clocks={"monotonic_ns": START_NS, "unix_ns": _START_UNIX_NS},
        target={"base_url": "http://127.0.0.1:8000", "model": "synthetic", "endpoint": "chat"},
        server={"family": "vllm", "version": "synthetic"},
        workload={
            "name": "synthetic",
            "requests": spec.requests,
            "rate_rps": spec.rate_rps,
            "ceiling": {"tokens_fraction": spec.cached_fraction},
        },
        load={"workers": spec.workers, "transport": "synthetic", "arrivals": "poisson"},
        profile=None,
        seeds={"content": spec.seed},
    )


def _end(rows: Columns, spec: SyntheticRun, end_ns: int) -> dict[str, Any]:
    outcome = rows["outcome"]
    classes, counts = np.unique(rows["error_class"][outcome == Outcome.FAILED], return_counts=True)
    wall_s = (end_ns - START_NS) / _NS_PER_S
    workers = [
        {
            "worker": worker,
            "cpu_s": _CPU_SHARE * wall_s,
            "wall_s": wall_s,
            "loop_stall_max_s": _STALL_MAX_S,
            "tokens": int(rows["output_tokens"][rows["worker"] == worker].sum()),
            "late_reads": 0,
            "clock_steps": 0,
        }
        for worker in range(spec.workers)
    ]
    return {
        "reason": "finished",
        "start_ns": START_NS,
        "end_ns": end_ns,
        "planned": spec.requests,
        "ok": int(np.count_nonzero(outcome == Outcome.OK)),
        "failed": {str(name): int(n) for name, n in zip(classes, counts, strict=True)},
        "dropped": int(np.count_nonzero(outcome == Outcome.DROPPED)),
        "aborted": int(np.count_nonzero(outcome == Outcome.ABORTED)),
        "client": {"workers": workers, "cpu_s": _CPU_SHARE * wall_s * spec.workers},
    }


def _seconds(rows: Columns, workers: int, end_ns: int) -> Iterator[dict[str, Any]]:
    """The journal's `second` lines: counts since the start, of each worker."""
    at_ns = np.arange(START_NS, end_ns + _NS_PER_S, _NS_PER_S)
    for worker in range(workers):
        mine = {name: values[rows["worker"] == worker] for name, values in rows.items()}
        sent = _count(mine["sent_ns"], at_ns)
        done = _count(mine["done_ns"], at_ns)
        failed = _count(mine["done_ns"][mine["outcome"] == Outcome.FAILED], at_ns)
        for second in range(at_ns.size):
            yield {
                "at_ns": int(at_ns[second]),
                "worker": worker,
                "sent": int(sent[second]),
                "done": int(done[second]),
                "failed": int(failed[second]),
                "running": int(sent[second] - done[second]),
                "lag_max_s": _LAG_MAX_S,
                "stall_max_s": _STALL_MAX_S,
                "cpu_s": _CPU_SHARE * second,
            }


def _samples(rows: Columns, spec: SyntheticRun, end_ns: int) -> list[ServerSample]:
    """Scrapes in vLLM's names; counters move when a prompt is done and when an answer is."""
    assert spec.server_interval_s is not None
    step_ns = int(spec.server_interval_s * _NS_PER_S)
    at_ns = np.arange(START_NS, end_ns + step_ns, step_ns)
    sent, first, done = rows["sent_ns"], rows["first_ns"], rows["done_ns"]
    ok = rows["outcome"] == Outcome.OK
    prompts = np.where(ok, spec.prompt_tokens, 0)
    running = _count(sent, at_ns) - _count(done, at_ns)
    series = {
        "vllm:num_requests_running": running,
        "vllm:num_requests_waiting": np.zeros(at_ns.size),
        "vllm:kv_cache_usage_perc": np.minimum(1, running * spec.prompt_tokens / _KV_TOKENS),
        "vllm:prompt_tokens_total": _count(first, at_ns, prompts),
        "vllm:generation_tokens_total": _count(done, at_ns, rows["output_tokens"]),
        "vllm:prefix_cache_queries_total": _count(first, at_ns, prompts),
        "vllm:prefix_cache_hits_total": _count(first, at_ns, rows["cached_tokens"]),
        "vllm:request_success_total": _count(done[ok], at_ns),
        "vllm:num_preemptions_total": np.zeros(at_ns.size),
    }
    labels = {"engine": "0", "model_name": "synthetic"}
    source = "http://127.0.0.1:8000/metrics"
    return [
        ServerSample(int(instant), source, name, labels, float(values[step]))
        for step, instant in enumerate(at_ns)
        for name, values in series.items()
    ]


def _count(instants: Ints, at_ns: Ints, weight: Ints | None = None) -> Ints:
    """How many of `instants`, or what weight of them, lie at or before each of `at_ns`."""
    came = instants != NEVER
    order = np.argsort(instants[came])
    weights = np.ones(order.size, np.int64) if weight is None else weight[came][order]
    total = np.concatenate(([0], np.cumsum(weights)))
    counted: Ints = total[np.searchsorted(instants[came][order], at_ns, side="right")]
    return counted
