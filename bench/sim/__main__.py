"""The server in a process of its own: `python -m bench.sim`, used by `bench.sim.process`.

Reads one line of JSON, a `SimConfig`, from stdin, writes one line to stdout when it is ready,
`{"url": ..., "urls": ...}` or `{"error": ..., "hint": ...}`, and serves until stdin ends, which it
does when the parent is gone for whatever reason.
"""

from __future__ import annotations

import asyncio
import os
import sys

import orjson

from bench.errors import BenchError
from bench.sim.config import SimConfig
from bench.sim.http import SimServer
from bench.sim.serve import serve


def _tell(**line: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
    sys.stdout.buffer.flush()


async def _run(config: SimConfig) -> None:
    stop = asyncio.Event()

    def on_stdin() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            stop.set()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), on_stdin)

    def ready(server: SimServer) -> None:
        _tell(url=server.url, urls=server.urls)

    await serve(config, ready, stop)


def main() -> int:
    config = SimConfig.model_validate_json(sys.stdin.buffer.readline())
    try:
        asyncio.run(_run(config))
    except BenchError as error:
        _tell(error=error.message, hint=error.hint)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
