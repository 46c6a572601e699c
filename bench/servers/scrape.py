"""Scraping /metrics at a fixed rate on the run's clock.

An asyncio task beside the load.  Whatever a target does, the load is not disturbed: failures are
counted, and a target that is slow is asked less often, never twice at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

from bench.model import ServerSample, Tls
from bench.servers.exposition import SampleReader, why_not_metrics
from bench.servers.series import DURATION, UP, one_rank
from bench.tls import tls_context

SCRAPE_BYTES_MAX = 8 * 2**20
SCRAPE_S = 5.0
_PLAIN_TLS = Tls()

OnSamples = Callable[[Sequence[ServerSample]], None]


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """One metrics endpoint.

    `source` names it in the samples.  Only samples named in `names` are kept, of those only the
    ones without any of `drop_labels`, and one of those that differ in `rank_labels` alone.
    `headers` may hold secrets.
    """

    source: str
    url: str
    names: frozenset[str]
    drop_labels: tuple[str, ...] = ()
    rank_labels: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls = _PLAIN_TLS


@dataclass(slots=True)
class ScrapeCount:
    """What became of the scrapes of one source.  `missed`: ticks that passed during a slow one."""

    done: int = 0
    failed: int = 0
    missed: int = 0
    bad_lines: int = 0
    last_error: str | None = None


class Scraper:
    """Scrapes targets and hands the samples on; an async context manager.

    A scrape's samples carry one `at_ns`: halfway between question and answer on CLOCK_MONOTONIC.
    Beside the server's own there are `up` (1, or 0 for a failure) and `scrape_duration_seconds`,
    which bounds how far off `at_ns` may be.
    """

    def __init__(
        self, targets: Iterable[ScrapeTarget], interval_s: float, on_samples: OnSamples
    ) -> None:
        self.targets = tuple(targets)
        self.counts = {target.source: ScrapeCount() for target in self.targets}
        if len(self.counts) != len(self.targets):
            raise ValueError("two scrape targets have the same source")
        self._readers = {t.source: SampleReader(t.names) for t in self.targets}
        self._interval_ns = round(interval_s * 1e9)
        self._on_samples = on_samples
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        for target in self.targets:
            self._sessions[target.source] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls_context(target.tls), limit=1),
                headers=dict(target.headers),
                timeout=aiohttp.ClientTimeout(total=SCRAPE_S),
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    async def scrape_once(self) -> None:
        """One scrape of every target, as at the start and the end of a window."""
        await asyncio.gather(*(self._scrape(target) for target in self.targets))

    async def run(self) -> None:
        """Scrapes every target each interval, on an absolute schedule, until cancelled."""
        start_ns = time.monotonic_ns()
        async with asyncio.TaskGroup() as group:
            for target in self.targets:
                group.create_task(self._follow(target, start_ns))

    async def _follow(self, target: ScrapeTarget, start_ns: int) -> None:
        tick = 0
        while True:
            due_ns = start_ns + tick * self._interval_ns
            await asyncio.sleep((due_ns - time.monotonic_ns()) / 1e9)
            await self._scrape(target)
            onward = next_tick(start_ns, self._interval_ns, time.monotonic_ns())
            self.counts[target.source].missed += onward - tick - 1
            tick = onward

    async def _scrape(self, target: ScrapeTarget) -> None:
        count = self.counts[target.source]
        asked_ns = time.monotonic_ns()
        samples: list[ServerSample] = []
        at_ns = asked_ns
        try:
            body = await self._fetch(target)
            answered_ns = time.monotonic_ns()
            at_ns = (asked_ns + answered_ns) // 2
            samples = self._samples(target, body.decode("utf-8", "replace"), at_ns)
            count.done += 1
            up = 1.0
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            answered_ns = time.monotonic_ns()
            count.failed += 1
            count.last_error = f"{type(error).__name__}: {error}"[:200]
            up = 0.0
        took_s = (answered_ns - asked_ns) / 1e9
        samples.append(ServerSample(at_ns, target.source, UP, {}, up))
        samples.append(ServerSample(at_ns, target.source, DURATION, {}, took_s))
        self._on_samples(samples)

    def _samples(self, target: ScrapeTarget, text: str, at_ns: int) -> list[ServerSample]:
        readings, bad_lines = self._readers[target.source].read(text)
        self.counts[target.source].bad_lines += bad_lines
        if target.rank_labels:
            readings = one_rank(readings, lambda r: {**r[1], "__name__": r[0]}, target.rank_labels)
        return [
            ServerSample(at_ns, target.source, name, labels, value)
            for name, labels, value in readings
            if not any(label in labels for label in target.drop_labels)
        ]

    async def _fetch(self, target: ScrapeTarget) -> bytes:
        session = self._sessions[target.source]
        async with session.get(target.url, allow_redirects=False) as response:
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > SCRAPE_BYTES_MAX:
                    raise ValueError(f"more than {SCRAPE_BYTES_MAX >> 20} MiB")
            wrong = why_not_metrics(response.content_type, bytes(body[:64]))
            if response.status != 200 or wrong:
                raise ValueError(f"status {response.status}{': ' + wrong if wrong else ''}")
            return bytes(body)


def next_tick(start_ns: int, interval_ns: int, now_ns: int) -> int:
    """The number of the first tick after `now_ns`; tick k is due at start + k × interval."""
    return (now_ns - start_ns) // interval_ns + 1
