"""The load as drawn and read: rates, requests in flight, a window without requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.report.blocks import Figure
from bench.report.evidence import Evidence
from bench.report.sections import band, latency, load, percentiles, reconciliation


def figures(evidence: Evidence) -> dict[str, Figure]:
    """The section's figures by key."""
    return {block.key: block for block in load.blocks(evidence) if isinstance(block, Figure)}


def numbers(figure: Figure, column: int) -> list[float]:
    """A column of the figure's table."""
    assert figure.table is not None
    return [float(row[column].text.replace(",", "")) for row in figure.table.rows]


def test_requests_in_flight_are_counted_between_the_ends_of_seconds(
    evidence_of: Callable[..., Evidence],
) -> None:
    """Mean and most are those of a count at every instant, though the series has only seconds."""
    evidence = evidence_of(requests=200, rate_rps=30.0)
    start, end = evidence.window
    frame = evidence.requests
    at = np.linspace(start, end, 20_001)
    open_at = np.zeros(len(at))
    for sent, done in zip(frame["sent_s"], frame["done_s"], strict=True):
        open_at += (sent <= at) & (at < done)
    reading = figures(evidence)["load-running"].reading
    mean, most = float(reading.split()[0]), int(reading.rsplit(", ", 1)[1].split()[0])
    assert mean == pytest.approx(open_at.mean(), rel=0.02)
    assert most >= open_at.max()
    assert most <= open_at.max() + 2
    assert most > evidence.per_second("running")[1].max()


def test_achieved_is_what_ended_and_tells_what_failed(
    evidence_of: Callable[..., Evidence],
) -> None:
    """The line, its table and its reading count failed requests alike; failures have a line."""
    evidence = evidence_of(requests=300, failures={"http_503": 0.3})
    rate = figures(evidence)["load-rate"]
    assert [trace["name"] for trace in rate.spec["data"]] == [
        "Offered", "Achieved", "Failed of these",
    ]  # fmt: skip
    ended = sum(rate.spec["data"][1]["y"][:-1])
    failed = int((evidence.requests["outcome"] == "failed").sum())
    assert (ended, sum(rate.spec["data"][2]["y"][:-1])) == (300, failed)
    assert f"{evidence.show('request_rps', evidence.scalar('request_rps'))} of it well" in (
        rate.reading
    )


def test_no_second_begins_before_the_run(evidence_of: Callable[..., Evidence]) -> None:
    """The part of the first second before the run is neither drawn nor counted as time."""
    evidence = evidence_of(requests=100)
    assert evidence.judgement.series["second"].iloc[0] < 0
    for figure in figures(evidence).values():
        assert min(figure.spec["data"][0]["x"]) >= 0
    rate = figures(evidence)["load-rate"]
    assert rate.table is not None
    assert rate.table.rows[0][0].text.startswith("0\u00a0ms")
    at, ends = evidence.per_second("offered")[0], evidence.second_ends
    lengths = [
        ends[part[-1]] - at[part[0]] for part in np.array_split(range(len(at)), min(12, len(at)))
    ]
    counted = sum(n * length for n, length in zip(numbers(rate, 1), lengths, strict=True))
    assert counted == pytest.approx(100, rel=0.01)


def test_a_run_that_ended_in_its_warm_up_has_no_window(
    evidence_of: Callable[..., Evidence],
) -> None:
    """An empty window is called empty, not 0 ms long, and nothing is said to have been offered."""
    evidence = evidence_of(requests=40, warmup_requests=40)
    facts = dict(band.band(evidence).facts)
    assert facts["Judged window"] == "empty, no request after the warm-up"
    shown = figures(evidence)
    assert {shown[key].reading for key in ("load-rate", "load-running")} == {
        "No request lies in the judged window."
    }


def test_an_undecided_run_says_what_would_decide_it(
    evidence_of: Callable[..., Evidence], profile: Any
) -> None:
    """The sentence beside the verdict ends with the first limit's advice."""
    few = profile.model_copy(update={"limits": profile.limits[:1]})
    evidence = evidence_of("en", few, requests=3)
    assert evidence.verdict["verdict"] == "undecided"
    advice = evidence.own(evidence.limits[0]["advice"])
    assert advice
    assert band.band(evidence).because.endswith(advice)


def test_failures_are_told_beside_the_percentiles(evidence_of: Callable[..., Evidence]) -> None:
    """With failures the table says what its means leave out, and no half is 'within ∞'."""
    sound = evidence_of(requests=60)
    assert len(percentiles.blocks(sound)) == 1
    evidence = evidence_of("zh", None, requests=60, failures={"http_503": 0.7})
    assert len(percentiles.blocks(evidence)) == 2
    cdf = next(b for b in latency.blocks(evidence) if getattr(b, "key", "") == "latency-cdf")
    assert isinstance(cdf, Figure)
    assert "半数以上的请求失败" in cdf.reading
    assert "∞" not in cdf.reading


def test_what_a_server_counts_of_failed_requests_is_explained(
    evidence_of: Callable[..., Evidence],
) -> None:
    """A server that finished more requests than ended well, and no more than were sent."""
    evidence = evidence_of()
    found = evidence.summary["reconciliation"]
    said = "within those of this run that did not end well"
    row = found["counts"][0]
    assert not any(said in note for note in reconciliation._readings(evidence, found))
    counts = [{**row, "server": row["client"] + 2}, *found["counts"][1:]]
    assert any(
        said in note for note in reconciliation._readings(evidence, {**found, "counts": counts})
    )
