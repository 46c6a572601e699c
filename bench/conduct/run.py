"""Conducting one run: preflight, folder, workers, scrapes, end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import orjson

from bench.conduct.jobs import jobs_of, style_of
from bench.conduct.manifest import manifest_of
from bench.conduct.preflight import Ready, check_folder, prepare, useful_workers
from bench.conduct.tally import Tally, Totals, end_of, second_of
from bench.errors import BenchError, TargetError
from bench.load.fleet import Fleet
from bench.load.worker import FLUSH_S, raise_file_limit
from bench.model import Outcome, ServerSample, Target
from bench.record.files import write_whole
from bench.record.folder import SELFTEST, RunFolder
from bench.servers.families import family_named
from bench.servers.findings import scrape_target
from bench.servers.prometheus import PrometheusSource, Span, read_range
from bench.servers.scrape import Scraper, ScrapeTarget
from bench.workload.recipe import Recipe

SETTLE_S = 1.2
"""After the last answer, before the last scrape: some servers refresh once a second."""

_BEHIND_S = 0.2
_TAG_BYTES = 6


class Watch(Protocol):
    """Who looks on while a run is made: a console, a log, nobody."""

    def note(self, text: str) -> None:
        """One line about what happens next."""

    def began(self, folder: Path, ready: Ready) -> None:
        """The clock is about to start."""

    def second(self, totals: Totals, elapsed_s: float) -> None:
        """About once a second."""


SelfTest = Callable[[Ready], Awaitable[Mapping[str, Any]]]
"""How exact this machine is as a client at the load of a plan; `bench.selftest` has one."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to run, against what, and how.

    `target.headers` holds the key, and is taken out of all that is written.  `profile` is the
    profile as resolved, for the manifest.  `scrapes` are replicas and exporters beside the
    server's metrics; `prometheus` is asked after the run for what it kept of all of them.
    `selftest` is awaited before the run, and what it says becomes the folder's selftest.json.
    """

    recipe: Recipe
    target: Target
    folder: Path
    command: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] | None = None
    workers: int = 1
    transport: str = "wire"
    family: str | None = None
    metrics_url: str | None = None
    scrapes: Sequence[ScrapeTarget] = ()
    prometheus: PrometheusSource | None = None
    scrape_interval_s: float = 1.0
    pin_cpus: bool = False
    selftest: SelfTest | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run: its folder and the content of end.json."""

    path: Path
    end: Mapping[str, Any]
    interrupted: bool


def conduct(order: Order, watch: Watch) -> Done:
    """Makes the run.  Raises BenchError for what makes it impossible."""
    return asyncio.run(conduct_async(order, watch))


async def conduct_async(order: Order, watch: Watch) -> Done:
    """The same inside a running event loop, whose SIGINT, SIGTERM and SIGHUP it takes meanwhile."""
    raise_file_limit()
    check_folder(order.folder)
    ready = await prepare(
        order.recipe,
        order.target,
        family=order.family,
        metrics_url=order.metrics_url,
        workers=order.workers,
        announce=watch.note,
    )
    workers = useful_workers(order.workers, ready.pace, ready.plan.requests)
    if workers < order.workers:
        watch.note(f"{workers} of {order.workers} workers: there is no work for more")
        order = replace(order, workers=workers)
    tested = await order.selftest(ready) if order.selftest is not None else None
    tag = secrets.token_hex(_TAG_BYTES)
    folder = RunFolder.create(
        order.folder,
        order.recipe.name,
        manifest_of(order, ready, tag, style_of(order, ready, tag)),
        secrets=order.target.secrets,
    )
    if tested is not None:
        write_whole(folder.path / SELFTEST, orjson.dumps(tested, option=orjson.OPT_INDENT_2))
    return await _Conductor(order, ready, folder, tag, watch).run()


class _Conductor:
    def __init__(
        self, order: Order, ready: Ready, folder: RunFolder, tag: str, watch: Watch
    ) -> None:
        self._order = order
        self._ready = ready
        self._folder = folder
        self._watch = watch
        self._tally = Tally(order.recipe.stop_conditions)
        self._reason: str | None = None
        self._interrupts = 0
        self._start_ns = self._start_unix_ns = 0
        self._server_parts = folder.server_parts()
        self._jobs = jobs_of(order, ready, folder, tag)
        self._fleet = Fleet(
            self._jobs,
            on_second=self._on_second,
            on_start=self._on_start,
            on_death=self._on_death,
        )

    async def run(self) -> Done:
        loop = asyncio.get_running_loop()
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signals.append(signal.SIGHUP)
        for number in signals:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            return await self._run()
        except BenchError as error:
            self._folder.journal("error", message=error.message)
            raise
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def _run(self) -> Done:
        targets = _scrape_targets(self._order, self._ready)
        refresh_s = family_named(self._ready.probe.server.family).refresh_s
        async with Scraper(targets, self._order.scrape_interval_s, self._on_samples) as scraper:
            if targets and refresh_s:
                self._watch.note(f"metrics may be {refresh_s:g} s old: waiting as long")
                await asyncio.sleep(refresh_s)
            await scraper.scrape_once()
            if self._order.prometheus is not None:  # it shall have seen the probe before the start
                await asyncio.sleep(self._order.prometheus.step_s)
            self._folder.journal("phase", name="start")
            self._watch.began(self._folder.path, self._ready)
            beside = [asyncio.create_task(self._flush())]
            if targets:
                beside.append(asyncio.create_task(scraper.run()))
            try:
                ended = await self._fleet.run()
                if targets:
                    await asyncio.sleep(max(SETTLE_S, refresh_s + _BEHIND_S))
            finally:
                for task in beside:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            await scraper.scrape_once()
            for source, count in scraper.counts.items():
                self._folder.journal("scrapes", source=source, **asdict(count))
        if self._order.prometheus is not None:
            await self._ask_prometheus(self._order.prometheus, ended.end_ns)
        self._server_parts.close()
        self._folder.journal("end", end_ns=ended.end_ns)
        end = end_of(
            ended,
            {job.worker: job.workload.requests for job in self._jobs},
            reason=self._reason or "finished",
            cut=self._reason is not None,
            written=_written(self._folder.path, ended.dead),
        )
        self._folder.finish(end)
        return Done(self._folder.path, end, bool(self._interrupts))

    async def _ask_prometheus(self, source: PrometheusSource, end_ns: int) -> None:
        """Takes what Prometheus kept of the run; a run is not lost because it says nothing.

        It is asked when it has scraped once more after the end, if that takes it one step.
        """
        await asyncio.sleep(SETTLE_S + source.step_s)
        span = Span(self._start_ns, end_ns, self._start_unix_ns)
        try:
            samples = await read_range(source, span)
        except TargetError as error:
            self._folder.journal("prometheus", url=source.url, samples=0, error=error.message)
            self._watch.note(f"nothing from Prometheus: {error.message}")
        else:
            self._folder.journal("prometheus", url=source.url, samples=len(samples))
            self._server_parts.add(samples)

    def _on_start(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._start_unix_ns = time.time_ns() + start_ns - time.monotonic_ns()
        self._folder.journal("start", start_ns=start_ns, start_unix_ns=self._start_unix_ns)

    def _on_second(self, worker: int, counters: dict[str, Any]) -> None:
        why = self._tally.take(worker, counters)
        self._folder.journal("second", worker=worker, **second_of(counters))
        elapsed_s = (counters["at_ns"] - self._start_ns) / 1e9
        self._watch.second(self._tally.totals, elapsed_s)
        if why is not None and self._reason is None:
            self._reason = f"stopped: {why}"
            self._folder.journal("stop", why=why)
            self._watch.note(self._reason)
            self._fleet.stop()

    def _on_death(self, worker: int) -> None:
        """The others are not worth going on with: the load is not the one that was planned."""
        self._reason = f"worker {worker} died"
        self._folder.journal("worker_died", worker=worker)
        self._watch.note(f"{self._reason}: stopping, the run is not valid")
        self._fleet.stop()

    def _on_signal(self, number: int) -> None:
        """Once: no more sends, answers are awaited.  Twice: what is in flight is cut."""
        self._interrupts += 1
        self._folder.journal("signal", number=number)
        if self._interrupts == 1:
            self._reason = "interrupted"
            self._watch.note("stopping: waiting for open answers; once more to cut them")
            self._fleet.stop()
        else:
            self._watch.note("cutting open answers")
            self._fleet.abort()

    def _on_samples(self, samples: Sequence[ServerSample]) -> None:
        self._server_parts.add(samples)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await asyncio.to_thread(self._server_parts.flush)


def _written(folder: Path, dead: Sequence[int]) -> dict[int, dict[str, Any]]:
    """What the workers that died have on disk, counted as their counters are."""
    if not dead:
        return {}
    from bench.record.frame import open_run

    rows = open_run(folder).requests[["worker", "outcome", "error_class"]]
    counted = {}
    for worker in dead:
        mine = rows[rows["worker"] == worker]
        failed = mine["error_class"][mine["outcome"] == Outcome.FAILED]
        counted[worker] = {
            **{str(name): int((mine["outcome"] == name).sum()) for name in Outcome},
            "failed_by_class": {str(k): int(n) for k, n in failed.value_counts().items()},
        }
    return counted


def _scrape_targets(order: Order, ready: Ready) -> list[ScrapeTarget]:
    """What is scraped: the server itself, and what was named beside it, nothing twice.

    Where a Prometheus server is asked for every known name, it tells of the server too.
    """
    own = scrape_target(ready.probe, ready.target, beside=order.scrapes)
    kept = order.prometheus is not None and not order.prometheus.queries
    targets = [] if own is None or kept else [own]
    return targets + [each for each in order.scrapes if own is None or each.url != own.url]
