"""Metrics against a recomputation that is nothing but their definitions (metric system §2 to §5).

The oracle reads the Parquet files itself, in integers, with loops, and shares no code with the
judge.
"""

from __future__ import annotations

import math
import tempfile
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.judgement import judge
from bench.judge.profile import Profile
from bench.model import Exchange, Manifest, Outcome, Phase
from bench.record.folder import RunFolder
from bench.record.frame import open_run

START_NS = 2**53 + 1
MS = 1_000_000
TTFT_S, TPOT_S, FIRST_S, LATER_S = 0.2, 0.05, 0.25, 0.04
PROFILE = Profile.model_validate(
    {
        "name": "t",
        "title": {"zh": "试", "en": "t"},
        "window": {"rule": "whole"},
        "good": {
            "limits": (
                {"metric": "ttft_s", "bound": TTFT_S},
                {"metric": "tpot_s", "bound": TPOT_S},
            )
        },
        "fluidity": {"first_s": FIRST_S, "later_s": LATER_S},
    }
)
Row = dict[str, Any]

outcomes = st.sampled_from(
    ["ok", "ok", "ok", "ok", "http_503", "idle_timeout", "dropped", "aborted"]
)
events = st.lists(st.tuples(st.integers(1, 120), st.integers(0, 3)), max_size=6)
requests = st.tuples(
    st.integers(1, 900), outcomes, st.integers(1, 400), events, st.integers(0, 2500),
    st.integers(0, 100),
)  # fmt: skip


@given(drawn=st.lists(requests, min_size=1, max_size=40), warmup=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_the_judge_finds_what_the_definitions_say(
    drawn: list[tuple[Any, ...]], warmup: int
) -> None:
    """Events of no, one and several tokens, failures with and without tokens, drops, cut ends."""
    with tempfile.TemporaryDirectory() as base:
        folder = written(Path(base) / "r", drawn, min(warmup, len(drawn) - 1))
        found = judge(open_run(folder), PROFILE).summary["metrics"]
        rows = [
            row
            for path in folder.glob("requests/*.parquet")
            for row in pq.read_table(path).to_pylist()
        ]
    for name, expected in oracle(sorted(rows, key=lambda row: row["index"])):
        metric, _, statistic = name.partition(".")
        got = found[metric][statistic or "value"]
        if expected is None or math.isinf(expected):
            assert got is None, (name, expected, got)
        else:
            assert got == pytest.approx(expected, rel=2e-6, abs=2e-9), name


def written(path: Path, drawn: list[tuple[Any, ...]], warmup: int) -> Path:
    """A run folder of these requests.  No instant lies on the edge of a second of the window."""
    path.mkdir()
    folder = RunFolder.begin(path, Manifest("r", "", "1", (), {}, {}, {}, {}, {}, {}, None, {}))
    folder.journal("start", at_ns=START_NS, start_ns=START_NS, start_unix_ns=0)
    parts = folder.sink().open(0)
    intended = START_NS
    for index, (gap, outcome, ttft, gaps, rest, cached) in enumerate(drawn):
        if index > warmup:
            intended += gap * MS + MS // 4 * (index == warmup + 1)
        parts.add(exchange(index, intended, outcome, ttft, gaps, rest, cached, index < warmup))
    parts.close()
    return path


def exchange(
    index: int, intended: int, outcome: str, ttft: int, gaps: list[tuple[int, int]], rest: int,
    cached: int, cold: bool,
) -> Exchange:  # fmt: skip
    sent = intended + 1000 if outcome != "dropped" else None
    arrivals, tokens = [intended + ttft * MS + MS // 2], [1]
    for gap, count in gaps:
        arrivals.append(arrivals[-1] + gap * MS)
        tokens.append(count)
    if sent is None or outcome == "http_503":
        arrivals, tokens = [], []
    seen = [at for at, count in zip(arrivals, tokens, strict=True) if count]
    ended = None if outcome == "dropped" else (arrivals or [intended + MS // 2])[-1] + rest * MS
    failed = outcome in ("http_503", "idle_timeout")
    return Exchange(
        index=index, session=index, turn=0, worker=0,
        phase=Phase.WARMUP if cold else Phase.MAIN,
        outcome=Outcome.FAILED if failed else Outcome(outcome),
        error_class=outcome if failed else None,
        intended_ns=intended, sent_ns=sent,
        first_ns=seen[0] if seen else None, last_ns=seen[-1] if seen else None, done_ns=ended,
        prompt_tokens=100 if sent else None, cached_tokens=cached if sent else None,
        output_tokens=sum(tokens) if tokens else None,
        arrival_ns=array("q", arrivals), tokens=array("i", tokens),
    )  # fmt: skip


def oracle(rows: list[Row]) -> Iterator[tuple[str, float | None]]:
    """Names of statistics with their values; None where there is none."""
    main = [row for row in rows if row["phase"] == "main"]
    instants = [row[n] for row in main for n in ("intended_ns", "sent_ns", "last_ns", "done_ns")]
    start, end = main[0]["intended_ns"], max(at for at in instants if at is not None)
    length_s = (end - start) / 1e9 + 1e-9

    def within(at: int | None) -> bool:
        """Rates count whole seconds, the one in which the window ends too."""
        return at is not None and 0 <= (at - start) / 1e9 < math.ceil(length_s - 1e-9)

    for name, value, lost in REQUEST_METRICS:
        ranked = [x for row in main if (x := lost if is_lost(row) else value(row)) is not None]
        yield from statistics(name, ranked)
    yield from statistics("itl_s", [gap for row in main for gap in gaps_of(row)])
    arrived = sum(n for row in rows for at, n in arrivals_of(row) if within(at))
    prompts = sum(
        row["prompt_tokens"] or 0 for row in rows if within(row["first_ns"] or row["done_ns"])
    )
    well = [row for row in rows if row["outcome"] == "ok" and within(row["done_ns"])]
    good = [row for row in rows if is_good(row) and within(row["intended_ns"])]
    judged_good = [row for row in good if row["phase"] == "main"]
    rates = {
        "request_rps": len(well),
        "output_tps": arrived,
        "total_tps": arrived + prompts,
        "goodput_rps": len(good),
        "goodput_tps": sum(row["output_tokens"] for row in good),
    }
    for name, count in rates.items():
        yield name, count / length_s if end > start else None
    yield "goodput_fraction", len(judged_good) / len(main)
    yield "error_rate", sum(row["outcome"] == "failed" for row in main) / len(main)
    yield "timeout_rate", sum(row["error_class"] == "idle_timeout" for row in main) / len(main)
    yield "availability", availability(rows, main, start, math.ceil(length_s - 1e-9))
    yield "recovery_s", recovery(main)
    told = [r for r in main if r["outcome"] == "ok" and r["cached_tokens"] is not None]
    cached, prompt = (sum(r[n] for r in told) for n in ("cached_tokens", "prompt_tokens"))
    yield "cache_client", cached / prompt if prompt else None


def statistics(name: str, ranked: list[float]) -> Iterator[tuple[str, float | None]]:
    ranked, finite = sorted(ranked), [x for x in ranked if math.isfinite(x)]
    yield f"{name}.n", len(ranked)
    yield f"{name}.mean", sum(finite) / len(finite) if finite else None
    for label, q in (("p50", 50), ("p90", 90), ("p99", 99)):
        yield f"{name}.{label}", ranked[max(1, -(-q * len(ranked) // 100)) - 1] if ranked else None


def is_lost(row: Row) -> bool:
    return row["outcome"] in ("failed", "dropped")


def seconds(row: Row, start: str, end: str) -> float | None:
    return None if row[start] is None or row[end] is None else (row[end] - row[start]) / 1e9


def arrivals_of(row: Row) -> list[tuple[int, int]]:
    at, found = row["sent_ns"] or row["intended_ns"], []
    for delta, count in zip(row["arrival_delta_ns"], row["tokens"], strict=True):
        at += delta
        found.append((at, count))
    return [(at, count) for at, count in found if count]


def gaps_of(row: Row) -> list[float]:
    seen = arrivals_of(row)
    return [
        (at - before) / 1e9 / count
        for (before, _), (at, count) in pairwise(seen)
        for _ in range(count)
    ]


def e2e(row: Row) -> float | None:
    return None if row["outcome"] == "aborted" else seconds(row, "intended_ns", "done_ns")


def tpot(row: Row) -> float | None:
    if row["outcome"] == "aborted" or row["output_tokens"] is None or row["output_tokens"] < 2:
        return None
    took = seconds(row, "first_ns", "last_ns")
    return None if took is None else took / (row["output_tokens"] - 1)


def longest_tenth(row: Row) -> float | None:
    longest = sorted(gaps_of(row), reverse=True)
    count = -(-len(longest) // 10)
    return None if row["outcome"] == "aborted" or not count else sum(longest[:count]) / count


def fluidity(row: Row) -> float | None:
    """Etalon: a token that is early leaves its slack to the next, one that is late leaves none."""
    if row["outcome"] == "aborted":
        return None
    before, deadline_s, slack, on_time, tokens = row["intended_ns"], FIRST_S, 0.0, 0, 0
    for at, count in arrivals_of(row):
        for _ in range(count):
            left = slack + deadline_s - (at - before) / 1e9
            on_time, slack = on_time + (left >= -1e-9), max(left, 0.0)
            before, deadline_s, tokens = at, LATER_S, tokens + 1
    return on_time / tokens if tokens else None


REQUEST_METRICS: tuple[tuple[str, Callable[[Row], float | None], float], ...] = (
    ("ttft_s", lambda row: seconds(row, "intended_ns", "first_ns"), math.inf),
    ("ttft_from_send_s", lambda row: seconds(row, "sent_ns", "first_ns"), math.inf),
    ("e2e_s", e2e, math.inf),
    ("tpot_s", tpot, math.inf),
    ("tbt_top10_s", longest_tenth, math.inf),
    ("fluidity", fluidity, 0.0),
)


def is_good(row: Row) -> bool:
    ttft, each = seconds(row, "intended_ns", "first_ns"), tpot(row)
    single = row["output_tokens"] == 1
    return (
        row["outcome"] == "ok"
        and ttft is not None
        and ttft <= TTFT_S
        and (single or (each is not None and each <= TPOT_S))
    )


def availability(rows: list[Row], main: list[Row], start: int, slots: int) -> float | None:
    """Of the seconds that tell something, those in which something succeeded or arrived."""

    def slot(at: int) -> int:
        return (at - start) // 10**9

    alive = {slot(at) for row in rows for at, _ in arrivals_of(row)}
    alive |= {slot(row["done_ns"]) for row in rows if row["outcome"] == "ok"}
    failing = {slot(row["done_ns"]) for row in rows if row["outcome"] == "failed"}
    for row in main:
        if row["outcome"] == "failed":
            failing |= set(range(slot(row["intended_ns"]), slot(row["done_ns"]) + 1))
    alive, telling = ({k for k in found if 0 <= k < slots} for found in (alive, alive | failing))
    return len(alive) / len(telling) if telling else None


def recovery(main: list[Row]) -> float | None:
    """The longest time from the first failure of an outage to the next success."""
    ended = [row for row in main if row["outcome"] in ("ok", "failed")]
    began, longest = None, None
    for row in sorted(ended, key=lambda row: row["done_ns"]):
        if row["outcome"] == "failed":
            began = row["done_ns"] if began is None else began
        elif began is not None:
            longest, began = max(longest or 0.0, (row["done_ns"] - began) / 1e9), None
    return longest if began is None else math.inf
