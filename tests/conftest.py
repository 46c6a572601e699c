"""Fixtures for more than one room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bench.model import Exchange

READ_NS = 1_000_000

settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def synthetic_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder from fields of `SyntheticRun`: `synthetic_run(requests=10)`."""

    from bench.record.synthetic import SyntheticRun, write_synthetic_run

    def make(name: str = "run", **fields: Any) -> Path:
        return write_synthetic_run(tmp_path / name, SyntheticRun(**fields))

    return make


@pytest.fixture(scope="session")
def received() -> Callable[..., Exchange]:
    """Makes the exchange of an answer from its reads: `received([b"data: ...", ...])`.

    Read i is one piece of the body, or a list of pieces; it has arrived at (i + 1) × `READ_NS`,
    and the socket was empty 1 ns before.  `decode_each`: each read is decoded at once, and not all
    of them at the end.  `headers` are the response's.
    """
    from bench.load.conclude import conclude
    from bench.load.flight import Flight
    from bench.model import Turn

    def receive(
        reads: Sequence[bytes | list[bytes]],
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        output_tokens: int | None = None,
        decode_each: bool = True,
    ) -> Exchange:
        flight = Flight(Turn(0, None, None, None, output_tokens), 0, 0, "r")
        for name, value in {"Content-Type": "text/event-stream", **(headers or {})}.items():
            flight.on_header(name.encode(), value.encode())
        flight.status = status
        for number, read in enumerate(reads, 1):
            flight.reads += 1
            flight.last_read_ns, flight.last_low_ns = number * READ_NS, number * READ_NS - 1
            for piece in [read] if isinstance(read, bytes) else read:
                flight.on_body(piece)
            if flight.body.pieces:
                flight.body.mark(flight.last_read_ns, flight.last_low_ns)
            if decode_each:
                flight.decode()
        return conclude(flight)

    return receive
