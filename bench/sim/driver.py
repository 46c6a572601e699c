"""An engine in wall time: each step's tokens are delivered when the step would have ended."""

from __future__ import annotations

import asyncio
import time

from bench.sim.engine import Engine
from bench.sim.request import EngineRequest
from bench.sim.stream import Sink

MIN_SLACK_NS = 2_000_000


class Driver:
    """Steps one engine and hands the tokens to the requests' sinks."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._sinks: dict[EngineRequest, Sink] = {}
        self._work = asyncio.Event()

    @property
    def load(self) -> int:
        """Requests here; waiting ones weigh four times, as in vLLM's data-parallel balancing."""
        return 4 * len(self.engine.waiting) + len(self.engine.running)

    def submit(self, request: EngineRequest, sink: Sink) -> None:
        self.engine.submit(request, time.monotonic_ns())
        self._sinks[request] = sink
        self._work.set()

    def withdraw(self, request: EngineRequest) -> None:
        """Forget a request: abort it unless it has finished."""
        self.engine.abort(request)
        self._sinks.pop(request, None)

    async def run(self) -> None:
        """Step until cancelled.

        A step starts when the one before it ended on the engine's clock, so that late wake-ups
        (the event loop rounds up to a millisecond) and the time of writing do not add up.  A loop
        that is late by more than a step has too little CPU: then the engine's clock slips, and
        the tokens are not sent in a burst.
        """
        end_ns = slack_ns = 0
        while True:
            if not self.engine.busy:
                self._work.clear()
                await self._work.wait()
                end_ns = time.monotonic_ns()
            step = self.engine.step(max(end_ns, time.monotonic_ns() - slack_ns))
            if step is None:
                continue
            end_ns = step.end_ns
            slack_ns = max(MIN_SLACK_NS, end_ns - step.start_ns)
            await asyncio.sleep(max(0.0, (end_ns - time.monotonic_ns()) / 1e9))
            self._deliver(step.emitted)

    def _deliver(self, emitted: list[EngineRequest]) -> None:
        for request in emitted:
            sink = self._sinks.get(request)
            if sink is not None:
                sink.emit(request)
                if request.finish_reason is not None:
                    del self._sinks[request]
