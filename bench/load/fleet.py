"""Worker processes: started together, at one instant; watched; their counters added up.

Spawned, not forked, so that a worker inherits no state.  A worker that dies is noticed by the end
of its pipe; the caller stops the others and accounts for what it had planned.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Any

from bench.errors import BenchError, NotValidError
from bench.load.worker import PARENTS_SIGNALS, Job, run_worker

START_DELAY_NS = 200_000_000
"""Between the last worker's "ready" and the run's first instant."""

_KILL_AFTER_S = 5.0

OnSecond = Callable[[int, dict[str, Any]], None]


@dataclass(slots=True)
class WorkerEnd:
    """How one worker ended.  `figures` is None when it died before it could say."""

    worker: int
    counters: dict[str, Any] | None = None
    figures: dict[str, Any] | None = None
    stall_max_ns: int = 0
    lag_max_ns: int = 0


@dataclass(slots=True)
class FleetEnd:
    """What the workers say when all are through."""

    start_ns: int
    end_ns: int
    workers: list[WorkerEnd] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)


class Fleet:
    """Runs jobs in one process each.

    `on_second(worker, counters)` is called in the parent about once a second for each worker,
    `on_start(start_ns)` when the start instant is agreed, `on_death(worker)` when a worker has
    died.  A BenchError that one of them raises ends the run.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        on_second: OnSecond,
        on_start: Callable[[int], None],
        on_death: Callable[[int], None],
    ) -> None:
        self._jobs = jobs
        self._on_second = on_second
        self._on_start = on_start
        self._on_death = on_death
        self._pipes: dict[int, Pipe] = {}
        self._processes: dict[int, BaseProcess] = {}
        self._ends = {job.worker: WorkerEnd(job.worker) for job in jobs}
        self._ready: set[int] = set()
        self._over: set[int] = set()
        self._dead: list[int] = []
        self._error: BenchError | None = None
        self._start_ns = 0
        self._changed = asyncio.Event()

    async def run(self) -> FleetEnd:
        """Starts the workers and waits for all; raises what a worker raised."""
        self._spawn()
        try:
            await self._until(lambda: len(self._ready) + len(self._over) == len(self._jobs))
            self._raise()
            self._start_ns = time.monotonic_ns() + START_DELAY_NS
            self._on_start(self._start_ns)
            self._tell(("start", self._start_ns))
            await self._until(lambda: len(self._over) == len(self._jobs))
        finally:
            await self._reap()
        self._raise()
        return FleetEnd(self._start_ns, time.monotonic_ns(), list(self._ends.values()), self._dead)

    def stop(self) -> None:
        """No more sends; what is in flight goes on."""
        self._tell(("stop",))

    def abort(self) -> None:
        """No more sends, and what is in flight is cut; a worker that does not end is killed."""
        self._tell(("abort",))
        asyncio.get_running_loop().call_later(_KILL_AFTER_S, self._kill_rest)

    def _kill_rest(self) -> None:
        for worker, process in self._processes.items():
            if worker not in self._over:
                process.kill()

    @property
    def pids(self) -> dict[int, int]:
        return {worker: process.pid or 0 for worker, process in self._processes.items()}

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # else it would be started, and unblock, in between
        loop = asyncio.get_running_loop()
        for job in self._jobs:
            ours, theirs = context.Pipe()
            process = context.Process(target=run_worker, args=(job, theirs), daemon=True)
            signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS_SIGNALS)  # inherited by the worker
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENTS_SIGNALS)
            theirs.close()
            self._pipes[job.worker] = ours
            self._processes[job.worker] = process
            loop.add_reader(ours.fileno(), self._on_pipe, job.worker)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached() and self._error is None:
            self._changed.clear()
            await self._changed.wait()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._start_ns and self._over:
            raise NotValidError(
                f"worker {min(self._over)} died before the run began",
                "is there enough memory for the plan? try fewer --workers",
            )

    def _tell(self, message: tuple[Any, ...]) -> None:
        for worker, pipe in self._pipes.items():
            if worker not in self._over:
                try:
                    pipe.send(message)
                except (BrokenPipeError, OSError):
                    self._leave(worker, died=True)

    def _on_pipe(self, worker: int) -> None:
        try:
            message = self._pipes[worker].recv()
        except (EOFError, OSError):
            self._leave(worker, died=True)
            return
        try:
            self._take(worker, message)
        except BenchError as error:
            self._error = error
        self._changed.set()

    def _take(self, worker: int, message: tuple[Any, ...]) -> None:
        end = self._ends[worker]
        match message:
            case ("ready", _):
                self._ready.add(worker)
            case ("second", _, counters):
                end.counters = counters
                end.stall_max_ns = max(end.stall_max_ns, counters["stall_max_ns"])
                end.lag_max_ns = max(end.lag_max_ns, counters["lag_max_ns"])
                self._on_second(worker, counters)
            case ("end", _, figures):
                end.figures = figures
                self._leave(worker, died=False)
            case ("error", error):
                self._error = error
                self._leave(worker, died=False)

    def _leave(self, worker: int, *, died: bool) -> None:
        if worker in self._over:
            return
        asyncio.get_running_loop().remove_reader(self._pipes[worker].fileno())
        self._over.add(worker)
        self._changed.set()
        if died:
            self._dead.append(worker)
            try:
                self._on_death(worker)
            except BenchError as error:
                self._error = error

    async def _reap(self) -> None:
        """Waits for the workers; those that are not through find their pipe closed, and end."""
        loop = asyncio.get_running_loop()
        for worker, pipe in self._pipes.items():
            if worker not in self._over:
                loop.remove_reader(pipe.fileno())
            pipe.close()
        for process in self._processes.values():
            await asyncio.to_thread(process.join, _KILL_AFTER_S)
            if process.is_alive():
                process.kill()
                process.join()
