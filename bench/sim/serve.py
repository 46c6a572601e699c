"""Serving until told to stop, for `bench sim` and for a process of its own."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable

from bench.sim.config import SimConfig
from bench.sim.http import SimServer


async def serve(
    config: SimConfig, ready: Callable[[SimServer], None], until: asyncio.Event | None = None
) -> None:
    """Serve until SIGINT, SIGTERM or `until`; calls `ready` when the port answers."""
    stop = until or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with SimServer(config) as server:
        gc.collect()
        gc.freeze()  # what exists now stays; collections look only at what requests leave
        ready(server)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *server.tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()  # an engine's task that ended has failed: leaving the server raises it
