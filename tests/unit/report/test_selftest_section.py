"""The client's error bars in the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.record.folder import SELFTEST
from bench.record.frame import Run
from bench.report.blocks import Note, Table
from bench.report.evidence import Evidence
from bench.report.sections import latency, selftest

SPREAD = {"n": 1200, "p50": 0.000004, "p99": 0.0005, "max": 0.002, "bias": -0.000001}
FOUND = {
    "load": {"streams": 200, "rate_rps": None, "input_tokens": 100, "output_tokens": 50},
    "requests": 1199,
    "lost": 1,
    "ttft_s": SPREAD,
    "itl_s": {"n": 0, "p50": None, "p99": None, "max": None, "bias": None},
    "lag_s": SPREAD,
    "uncertain_first_fraction": 0.025,
    "tokens_per_s": 9876.0,
    "cpu_us_per_token": None,
}


def attach(run: Run) -> None:
    (run.path / SELFTEST).write_text(json.dumps(FOUND))


def test_a_run_without_a_self_test_shows_none(evidence_of: Callable[..., Evidence]) -> None:
    """The section adds nothing to a run that was not tested."""
    assert selftest.blocks(evidence_of()) == []


@pytest.mark.parametrize(
    ("language", "cpu"), [("en", "CPU per token unknown µs"), ("zh", "每 Token 耗 CPU 未知 µs")]
)
def test_errors_stand_beside_the_latencies(
    evidence_of: Callable[..., Evidence], language: str, cpu: str
) -> None:
    """Each quantity has a row; what is unknown is a dash with a reason, never 0."""
    evidence = evidence_of(language, change=attach)
    table, note = selftest.blocks(evidence)
    assert isinstance(table, Table) and isinstance(note, Note)
    assert table in latency.blocks(evidence)
    ttft, itl, _ = [[cell.text for cell in row[1:]] for row in table.rows]
    assert ttft == ["0.004\xa0ms", "0.5\xa0ms", "2\xa0ms", "−0.001\xa0ms", "1,200"]
    assert itl == ["—", "—", "—", "—", "0"]
    assert table.rows[1][1].note
    assert cpu in note.text
    assert "200" in note.text and "9,876" in note.text and "1,200" in note.text


def test_an_open_loop_has_a_rate(evidence_of: Callable[..., Evidence]) -> None:
    """The load is told in streams or in requests per second."""

    def open_loop(run: Run) -> None:
        load: dict[str, Any] = {**FOUND["load"], "streams": None, "rate_rps": 12.5}  # type: ignore[dict-item]
        (run.path / SELFTEST).write_text(json.dumps({**FOUND, "load": load}))

    note = selftest.blocks(evidence_of(change=open_loop))[1]
    assert isinstance(note, Note) and "12.5 requests/s" in note.text
