"""The parent's view of a run in progress: totals over workers, and when to stop early."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.load.fleet import FleetEnd, WorkerEnd
from bench.workload.recipe import Stop

_SUMMED = ("due", "sent", "ok", "failed", "dropped", "aborted", "running", "output_tokens")


@dataclass(slots=True)
class Totals:
    """What all workers have done so far.

    `lag_max_s`: of about the last second.  `ttft_s`, `tpot_s`, `e2e_s`: of the answers that the
    report which made these totals has brought, so that whoever adds them up counts each once.
    """

    due: int = 0
    sent: int = 0
    ok: int = 0
    failed: int = 0
    dropped: int = 0
    aborted: int = 0
    running: int = 0
    output_tokens: int = 0
    lag_max_s: float = 0.0
    failed_by_class: dict[str, int] = field(default_factory=dict)
    ttft_s: Sequence[float] = ()
    tpot_s: Sequence[float] = ()
    e2e_s: Sequence[float] = ()


class Tally:
    """Keeps each worker's last counters; adds them up; applies the recipe's stop conditions."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._last: dict[int, dict[str, Any]] = {}
        self._history: deque[tuple[int, int, int]] = deque()
        self._at_last_ok = Totals()
        self.totals = Totals()

    def take(self, worker: int, counters: dict[str, Any]) -> str | None:
        """Takes a worker's second; returns why the run must stop now, or None."""
        self._last[worker] = counters
        latencies = {name: counters[name] for name in ("ttft_s", "tpot_s", "e2e_s")}
        totals = Totals(**latencies)
        for name in _SUMMED:
            setattr(totals, name, sum(each[name] for each in self._last.values()))
        for each in self._last.values():
            totals.lag_max_s = max(totals.lag_max_s, each["lag_max_ns"] / 1e9)
            for name, count in each["failed_by_class"].items():
                totals.failed_by_class[name] = totals.failed_by_class.get(name, 0) + count
        self.totals = totals
        return self._reason_to_stop(counters["at_ns"])

    def _reason_to_stop(self, at_ns: int) -> str | None:
        stop, totals = self._stop, self.totals
        if stop.max_errors is not None and totals.failed >= stop.max_errors:
            return f"{totals.failed} errors reached max_errors {stop.max_errors}"
        return self._errors_in_a_row() or self._error_rate(at_ns)

    def _errors_in_a_row(self) -> str | None:
        """Counts from the last report with a good answer: the row may have begun before it."""
        totals, before, most = self.totals, self._at_last_ok, self._stop.max_errors_in_a_row
        if totals.ok != before.ok:
            self._at_last_ok = totals
            return None
        in_a_row = totals.failed - before.failed
        if most is None or in_a_row < most:
            return None
        by_class = Counter(totals.failed_by_class)
        by_class.subtract(before.failed_by_class)
        (common, _), *_ = by_class.most_common(1)
        return (
            f"{in_a_row} errors in a row reached max_errors_in_a_row {most} (most often {common})"
        )

    def _error_rate(self, at_ns: int) -> str | None:
        stop, totals, history = self._stop, self.totals, self._history
        if stop.error_rate_above is None:
            return None
        history.append((at_ns, totals.failed, totals.ok + totals.failed))
        since_ns = at_ns - round(stop.error_rate_for_s * 1e9)
        while len(history) > 1 and history[1][0] <= since_ns:
            history.popleft()
        first_ns, failed, ended = history[0]
        in_time = totals.ok + totals.failed - ended
        if first_ns > since_ns or not in_time:
            return None
        rate = (totals.failed - failed) / in_time
        if rate <= stop.error_rate_above:
            return None
        return (
            f"error rate {rate:.1%} over {stop.error_rate_for_s:g} s exceeded "
            f"{stop.error_rate_above:.1%}"
        )


def second_of(counters: dict[str, Any]) -> dict[str, Any]:
    """A worker's second as the journal keeps it."""
    ended = counters["ok"] + counters["failed"] + counters["dropped"] + counters["aborted"]
    kept = {name: counters[name] for name in (*_SUMMED, "reconnects", "uncertain_first", "reads")}
    return {
        "at_ns": counters["at_ns"],
        **kept,
        "done": ended,
        "lag_max_s": counters["lag_max_ns"] / 1e9,
        "stall_max_s": counters["stall_max_ns"] / 1e9,
        "clock_steps": counters["clock_steps"],
        "cpu_s": counters["cpu_s"],
    }


def end_of(
    fleet: FleetEnd,
    planned: Mapping[int, int | None],
    *,
    reason: str,
    cut: bool,
    written: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of end.json.

    `planned`: requests of each worker's shard, None where only time bounds them.  With `cut` the
    run was stopped before its plan was through, and what was not sent counts as aborted; a run
    that reached its duration leaves later turns of its sessions undue, which were not planned
    within it.  Of a worker that died, `written` has the counts of what it wrote, which are later
    than its last report or earlier; the rest of its requests is aborted.
    """
    sums = dict.fromkeys(("ok", "dropped", "aborted"), 0)
    failed: dict[str, int] = {}
    total: int | None = 0
    not_due = 0
    for end in fleet.workers:
        counters = end.counters or {}
        counted = written.get(end.worker, counters)
        for name in sums:
            sums[name] += counted.get(name, 0)
        for name, count in counted.get("failed_by_class", {}).items():
            failed[name] = failed.get(name, 0) + count
        shard = planned[end.worker]
        due = counters.get("due", 0)
        if end.figures is None:
            recorded = sum(counted.get(name, 0) for name in (*sums, "failed"))
            sums["aborted"] += max(0, due - recorded) if shard is None else shard - recorded
        elif shard is not None and cut:
            sums["aborted"] += shard - due
        elif shard is not None:
            not_due += shard - due
        total = None if total is None or shard is None else total + shard
    workers = [_worker_end(end) for end in fleet.workers]
    return {
        "reason": reason,
        "start_ns": fleet.start_ns,
        "end_ns": fleet.end_ns,
        "planned": None if total is None else total - not_due,
        "ok": sums["ok"],
        "failed": failed,
        "dropped": sums["dropped"],
        "aborted": sums["aborted"],
        "not_due": not_due,
        "dead_workers": fleet.dead,
        "client": {
            "workers": workers,
            "cpu_s": sum(each["cpu_s"] for each in workers if each["cpu_s"] is not None),
        },
    }


def _worker_end(end: WorkerEnd) -> dict[str, Any]:
    figures, counters = end.figures or {}, end.counters or {}
    return {
        "worker": end.worker,
        "cpu_s": figures.get("cpu_s"),
        "wall_s": figures.get("wall_s"),
        "peak_rss_bytes": figures.get("peak_rss_bytes"),
        "loop_stall_max_s": end.stall_max_ns / 1e9,
        "schedule_lag_max_s": end.lag_max_ns / 1e9,
        "tokens": counters.get("output_tokens", 0),
        "reads": counters.get("reads", 0),
        "reconnects": counters.get("reconnects", 0),
        "uncertain_first": counters.get("uncertain_first", 0),
        "clock_steps": counters.get("clock_steps", 0),
    }
