"""A replay over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.address import parse_origin
from bench.load.dialects.table import dialect_named
from bench.load.http1 import request, request_head
from bench.load.pace import Counters, Pace
from bench.load.portable import Portable
from bench.load.replay import Replay
from bench.load.wire import Wire
from bench.model import (
    Exchange,
    Outcome,
    Prompt,
    RequestStyle,
    Session,
    Target,
    Timeouts,
    Tls,
    Turn,
)
from bench.sim.config import SimConfig
from bench.sim.process import SimProcess, running_sim

GUARD_S = 30.0
OUTPUT_TOKENS = 6


@pytest.fixture(scope="package")
def sim() -> Iterator[SimProcess]:
    """A server of half a millisecond per step, over which every fault can be asked for."""
    config = SimConfig(port=0, step_s=0.0005, prefill_token_s=0, decode_seq_s=0, kv_blocks=65_536)
    with running_sim(config) as server:
        yield server


@dataclass
class Trial:
    """What a replay gave: one exchange for each request, in the order of their index."""

    exchanges: list[Exchange]
    counters: Counters
    requests: int

    @property
    def one(self) -> Exchange:
        assert len(self.exchanges) == 1
        return self.exchanges[0]

    @property
    def classes(self) -> list[str | None]:
        return [exchange.error_class for exchange in self.exchanges]

    @property
    def connections(self) -> int:
        """Connections that were opened for a request."""
        return sum(exchange.connect_s is not None for exchange in self.exchanges)


@dataclass
class Requests:
    """A workload of single turns with the same prompt."""

    requests: int
    text: str = "hello"
    at_s: Callable[[int], float | None] = lambda _: None
    output_tokens: int = OUTPUT_TOKENS

    def sessions(self) -> Iterator[Session]:
        for number in range(self.requests):
            turn = Turn(number, self.at_s(number), None, 1, self.output_tokens)
            yield Session(number, (turn,))

    def shard(self, worker: int, workers: int) -> Requests:
        assert (worker, workers) == (0, 1), "a replay in one process has one shard"
        return self

    def prompt(self, turn: Turn) -> Prompt:
        return self.text


class Records:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def add(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


@pytest.fixture(params=["wire", "portable"])
def transport(request: pytest.FixtureRequest) -> str:
    """Both ways to send."""
    return str(request.param)


@pytest.fixture(scope="session")
def replayed(serving: Any) -> Callable[..., Trial]:
    """Replays single turns against a URL: `replayed(transport, url, 3, headers={...})`.

    Every trial is balanced, uses no class outside the table, and leaves no descriptor open.
    `beside(replay)` runs in the same loop.
    """

    def run(
        transport: str,
        url: str,
        requests: int = 1,
        *,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        tls: Tls | None = None,
        pace: Pace | None = None,
        style: RequestStyle | None = None,
        endpoint: str = "chat",
        warm: int = 0,
        beside: Callable[[Any], Any] | None = None,
        **fields: Any,
    ) -> Trial:
        workload, records = Requests(requests, **fields), Records()
        limits = timeouts or Timeouts(GUARD_S, GUARD_S, GUARD_S, GUARD_S)
        target = Target(url, "sim", endpoint, dict(headers or {}), tls or Tls(), limits)
        origin, dialect = parse_origin(url), dialect_named(endpoint)
        head = request_head(origin, dialect.path, target.headers)

        def render(turn: Turn, prompt: Prompt, request_id: str, session: int) -> bytes:
            body = dialect.encode("sim", prompt, turn, style or RequestStyle(), {})
            return request(head, request_id, body) if transport == "wire" else body

        replay = Replay(
            workload, pace or Pace(concurrency=1), render, records, run_tag="t", dialect=dialect
        )

        async def main() -> None:
            way = (
                Wire(target, origin, replay, spare=0, exact_lengths=True)
                if transport == "wire"
                else Portable(target, origin, dialect.path, replay)
            )
            try:
                await way.warm(warm)
                replay.prepare_ahead()
                loop = asyncio.get_running_loop()
                running = loop.create_task(way.run(round(loop.time() * 1e9)))
                if beside is not None:
                    await beside(replay)
                await running
            finally:
                way.close()

        before = descriptors()
        asyncio.run(asyncio.wait_for(main(), GUARD_S))
        if not serving.running:  # a server in this process has open files of its own
            assert descriptors() == before, "descriptors were left open"
        assert_balanced(replay.counters, records.exchanges)
        in_order = sorted(records.exchanges, key=lambda exchange: exchange.index)
        return Trial(in_order, replay.counters, requests)

    return run


def descriptors() -> list[str]:
    """This process's open files."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def assert_balanced(counters: Counters, exchanges: list[Exchange]) -> None:
    assert counters.due == len(exchanges) == len({exchange.index for exchange in exchanges})
    assert counters.due == counters.ok + counters.failed + counters.dropped + counters.aborted
    assert counters.running == 0
    assert counters.failed == sum(counters.failed_by_class.values())
    for exchange in exchanges:
        assert (exchange.error_class is None) == (exchange.outcome is Outcome.OK)
        assert exchange.done_ns is None or exchange.done_ns >= exchange.intended_ns
