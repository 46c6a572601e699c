"""Fixtures for more than one room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bench.judge.checklist_result import Acceptance
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


@pytest.fixture(scope="session")
def acceptance_of() -> Callable[[str], Acceptance]:
    """`acceptance_of(hostile)`: the small checklist, its items passed, failed (saying `hostile`),
    undecided and left out in turn.
    """

    from bench.accept.plan import plan_of
    from bench.accept.settings import Settings
    from bench.judge.checklist import Basis, load_checklist
    from bench.judge.checklist_result import (
        Acceptance,
        Finding,
        item_result,
        not_chosen,
        part_result,
    )
    from bench.judge.metric import Text
    from bench.judge.verdict import Result

    def make(hostile: str) -> Acceptance:
        findings = [
            Finding(Result.PASS, Basis.ATTESTED, "attested", Text("好", "good"), by="Li Na",
                    at="2026-01-01", expires="2027-01-01", links=("https://wiki.example/x",)),
            Finding(Result.FAIL, Basis.MEASURED, "limit", Text(hostile, hostile),
                    value=float("inf"), unit="s", bound=0.5, direction="lower", n=12,
                    links=("runs/r1",)),
            Finding(Result.UNDECIDED, Basis.SCRAPED, "driver", Text("缺", "missing")),
        ]  # fmt: skip
        checklist, items = load_checklist("small"), []
        for number, item in enumerate(checklist.items):
            if number % 4 == 3:
                items.append(not_chosen(item, Text("不用", "not used here")))
            else:
                parts = [part_result(part, [findings[number % 4]]) for part in item.how]
                items.append(item_result(item, parts))
        conditions = {"rehearsal": True, "scale": 0.05, "target": "http://h", "bench_version": "0"}
        activities = [
            {"key": key, "items": list(ids), "state": "failed",
             "why": {"zh": "坏了", "en": "broke"}, "began_utc": None, "took_s": 1.0, "runs": []}
            for key, ids in plan_of(checklist, Settings()).activities.items()
        ]  # fmt: skip
        title = Text("清单", "Checklist")
        return Acceptance("small", title, tuple(items), conditions, activities)

    return make
