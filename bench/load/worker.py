"""One worker process: takes a job, warms up, waits for the start instant, replays, reports.

It talks to its parent over one pipe with plain tuples, the first element naming what it is:
to the parent `ready`, `second`, `end`, `error`; from it `start`, `stop`, `abort`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.address import parse_origin
from bench.errors import BenchError
from bench.load import http1
from bench.load.dialects.table import dialect_named, path_of
from bench.load.pace import Pace
from bench.load.replay import Replay, Sink
from bench.load.wire import Wire
from bench.model import Prompt, RequestStyle, Target, Turn, Workload

if TYPE_CHECKING:
    from bench.load.portable import Portable

FLUSH_S = 0.8
"""Between two writes: with the time that one takes, a killed process loses less than a second."""

PARENTS_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""Sent to all processes of a terminal or a service; the parent decides what they mean."""

_GIL_SWITCH_S = 0.00002


class PartSink(Sink, Protocol):
    def flush(self) -> object:
        """Writes what was added since the last call; runs in a thread of its own."""

    def close(self) -> None:
        """Writes the rest."""


class SinkSpec(Protocol):
    """Picklable; opened once in each worker, so that each writes its own parts."""

    def open(self, worker: int) -> PartSink: ...


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a worker needs, picklable."""

    worker: int
    workers: int
    run_tag: str
    target: Target
    style: RequestStyle
    pace: Pace
    workload: Workload
    sink: SinkSpec
    warm_connections: int
    spare_connections: int
    transport: str = "wire"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    cpu: int | None = None


def run_worker(job: Job, pipe: Pipe) -> None:
    """The worker process's main function."""
    for number in PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENTS_SIGNALS)
    if job.cpu is not None:
        os.sched_setaffinity(0, {job.cpu})
    raise_file_limit()
    try:
        try:
            asyncio.run(_Worker(job, pipe).run())
        except BenchError as error:
            pipe.send(("error", error))
    except BrokenPipeError:
        sys.exit(1)  # the parent is gone; what was flushed is on disk


def raise_file_limit() -> int:
    """Lifts the soft limit of open files to the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def peak_rss_bytes() -> int | None:
    """The most memory this process has had (VmHWM, proc_pid_status(5)); None without /proc.

    getrusage(2) keeps its maximum over exec: a spawned process would begin with its parent's.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


class _Worker:
    def __init__(self, job: Job, pipe: Pipe) -> None:
        self._job = job
        self._pipe = pipe
        self._sink = job.sink.open(job.worker)
        self._origin = parse_origin(job.target.base_url)
        self._dialect = dialect_named(job.target.endpoint)
        self._path = path_of(self._dialect, job.target.model)
        self._heads = [
            http1.request_head(self._origin, self._path, job.target.headers_of(tenant))
            for tenant in range(max(1, len(job.target.tenants)))
        ]
        render = self._render_wire if job.transport == "wire" else self._render_body
        self._replay = Replay(
            job.workload,
            job.pace,
            render,
            self._sink,
            run_tag=job.run_tag,
            worker=job.worker,
            dialect=self._dialect,
        )
        self._started = asyncio.Event()
        self._start_ns = 0

    def _render_body(self, turn: Turn, prompt: Prompt, request_id: str, session: int) -> bytes:
        job = self._job
        return self._dialect.encode(job.target.model, prompt, turn, job.style, job.sampling)

    def _render_wire(self, turn: Turn, prompt: Prompt, request_id: str, session: int) -> bytes:
        head = self._heads[session % len(self._heads)]
        body = self._render_body(turn, prompt, request_id, session)
        return http1.request(head, request_id, body)

    async def run(self) -> None:
        job, replay = self._job, self._replay
        transport: Wire | Portable
        if job.transport == "wire":
            transport = Wire(
                job.target,
                self._origin,
                replay,
                spare=job.spare_connections,
                exact_lengths=job.style.ignore_eos and self._dialect.ignore_eos,
            )
        else:
            from bench.load.portable import Portable  # aiohttp, which the wire does without

            transport = Portable(job.target, self._origin, self._path, replay)
        self._transport = transport
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._on_parent)
        replay.prepare_ahead()
        await transport.warm(job.warm_connections)
        self._pipe.send(("ready", job.worker))
        await self._started.wait()
        gc.collect()
        gc.freeze()
        if job.transport == "wire":  # what it makes has no cycles; what aiohttp makes has
            gc.disable()
        sys.setswitchinterval(_GIL_SWITCH_S)
        cpu_s, wall_ns = time.process_time(), time.monotonic_ns()
        try:
            await self._replay_all(transport)
        finally:
            self._sink.close()
        self._send_end(time.process_time() - cpu_s, time.monotonic_ns() - wall_ns)

    async def _replay_all(self, transport: Wire | Portable) -> None:
        """Replays to the end, or until the sink can't be written any more."""
        flusher = _Flusher(self._sink)
        running = asyncio.create_task(transport.run(self._start_ns))
        reporting = asyncio.create_task(self._report(flusher))
        try:
            await asyncio.wait((running, reporting), return_when=asyncio.FIRST_COMPLETED)
            (running if running.done() else reporting).result()
        finally:
            running.cancel()
            reporting.cancel()
            await asyncio.gather(running, reporting, return_exceptions=True)
            flusher.stop()
            transport.close()

    def _send_end(self, cpu_s: float, wall_ns: int) -> None:
        self._send_second()
        self._pipe.send(
            (
                "end",
                self._job.worker,
                {
                    "cpu_s": cpu_s,
                    "wall_s": wall_ns / 1e9,
                    "peak_rss_bytes": peak_rss_bytes(),
                    "clock": self._transport.clock,
                },
            )
        )

    def _on_parent(self) -> None:
        try:
            message = self._pipe.recv()
        except (EOFError, OSError):
            # the parent is gone, or has given up: no one would read the result
            with contextlib.suppress(BenchError):
                self._sink.close()
            os._exit(1)
        match message:
            case ("start", start_ns):
                self._start_ns = start_ns
                self._started.set()
            case ("stop",):
                self._replay.stop(time.monotonic_ns())
            case ("abort",):
                self._replay.stop(time.monotonic_ns())
                self._transport.abort()

    async def _report(self, flusher: _Flusher) -> None:
        """Once a second, on the run's own clock: what was done since the last time.

        Raises what the flusher met: a run that can't be recorded is not gone on with.
        """
        second = 0
        while flusher.error is None:
            second += 1
            await asyncio.sleep(max(0.0, self._start_ns / 1e9 + second - time.monotonic()))
            self._send_second()
        raise flusher.error

    def _send_second(self) -> None:
        counters = self._replay.counters
        told = asdict(counters)
        told["at_ns"] = time.monotonic_ns()
        told["cpu_s"] = time.process_time()
        counters.forget()
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send(("second", self._job.worker, told))


class _Flusher:
    """Writes the sink's parts every FLUSH_S in a thread, away from the reading loop."""

    def __init__(self, sink: PartSink) -> None:
        self._sink = sink
        self._over = threading.Event()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="flush", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due_s = time.monotonic() + FLUSH_S
        while not self._over.wait(due_s - time.monotonic()):
            try:
                self._sink.flush()
            except Exception as error:  # raised where it is seen: see _report
                self.error = error
                return
            due_s = max(due_s + FLUSH_S, time.monotonic())

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
