"""Synthetic runs hold what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.record import synthetic_rows
from bench.record.frame import Run, open_run
from bench.record.synthetic_rows import START_NS, Columns, SyntheticRun, blocks

Make = Callable[..., Path]
SIGMAS = 6  # a chance of 2e-9 for each assertion


def gaps_s(run: Run) -> np.ndarray:
    """The gaps between the token events of all requests."""
    gaps = []
    for batch in run.token_events():
        within = np.diff(batch.arrival_s)
        borders = batch.offsets[1:-1] - 1
        gaps.append(np.delete(within, borders))
    return np.concatenate(gaps)


def test_latencies_follow_the_laws_asked_for(synthetic_run: Make) -> None:
    """Medians of TTFT and ITL, the arrival rate and the lag are those of the specification."""
    n = 4_000
    run = open_run(
        synthetic_run(
            requests=n,
            tokens_per_request=8,
            rate_rps=200,
            ttft_s=(0.05, 0.3),
            itl_s=(0.02, 0.2),
            lag_s=0.001,
        )
    )
    frame = run.requests
    ttft = np.log((frame["first_s"] - frame["sent_s"]) / 0.05)
    assert abs(ttft.mean()) < SIGMAS * 0.3 / np.sqrt(n)
    itl = np.log(gaps_s(run) / 0.02)
    assert itl.size == 7 * n and abs(itl.mean()) < SIGMAS * 0.2 / np.sqrt(7 * n)
    assert frame["intended_s"].max() == pytest.approx(n / 200, rel=SIGMAS / np.sqrt(n))
    lag = frame["sent_s"] - frame["intended_s"]
    assert lag.mean() == pytest.approx(0.001, rel=SIGMAS / np.sqrt(n))


def test_events_agree_with_the_row(synthetic_run: Make) -> None:
    """First and last event, their number and the tokens are those of the row."""
    run = open_run(synthetic_run(requests=300, tokens_cv=0.8, failures={"http_503": 0.2}))
    frame = run.requests
    for batch in run.token_events():
        rows = frame.iloc[batch.rows]
        counts = np.diff(batch.offsets)
        assert counts.tolist() == rows["events"].tolist()
        some = counts > 0
        firsts = batch.arrival_s[batch.offsets[:-1][some]]
        lasts = batch.arrival_s[batch.offsets[1:][some] - 1]
        assert firsts.tolist() == rows["first_s"][some].tolist()
        assert lasts.tolist() == rows["last_s"][some].tolist()
        assert batch.tokens.sum() == rows["output_tokens"].sum()


def test_outcomes_have_their_shares(synthetic_run: Make) -> None:
    """Failures by class, drops and aborts are drawn with their shares; end.json counts them."""
    n = 5_000
    run = open_run(
        synthetic_run(
            requests=n,
            tokens_per_request=2,
            failures={"http_503": 0.1, "timeout": 0.05},
            dropped_fraction=0.03,
            aborted_fraction=0.02,
        )
    )
    frame = run.requests
    asked = {"http_503": 0.1, "timeout": 0.05}
    for name, share in asked.items():
        assert abs((frame["error_class"] == name).mean() - share) < SIGMAS * np.sqrt(share / n)
    assert frame["status"][frame["error_class"] == "http_503"].eq(503).all()
    assert frame["sent_s"][frame["outcome"] == "dropped"].isna().all()
    assert frame["done_s"][frame["outcome"] == "aborted"].isna().all()
    counts = frame["outcome"].value_counts()
    assert run.end is not None
    assert run.end["ok"] == counts["ok"]
    assert (run.end["dropped"], run.end["aborted"]) == (counts["dropped"], counts["aborted"])
    assert run.end["failed"] == frame["error_class"].value_counts().to_dict()


def test_the_servers_counters_end_at_the_clients_sums(synthetic_run: Make) -> None:
    """At the last scrape the counters hold all requests' tokens, and nothing runs."""
    run = open_run(synthetic_run(requests=200, cached_fraction=0.7, failures={"reset": 0.1}))
    last = run.server.groupby("name", observed=True)["value"].last()
    frame = run.requests
    assert last["vllm:generation_tokens_total"] == frame["output_tokens"].sum()
    assert last["vllm:prompt_tokens_total"] == frame["prompt_tokens"].sum()
    assert last["vllm:prefix_cache_hits_total"] == frame["cached_tokens"].sum()
    assert last["vllm:num_requests_running"] == 0
    assert run.server["value"][run.server["name"] == "vllm:num_requests_running"].max() > 0


def test_the_journal_counts_up_to_the_end(synthetic_run: Make) -> None:
    """The last `second` of each worker sums to the run's outcomes."""
    run = open_run(synthetic_run(requests=100, workers=2, failures={"timeout": 0.3}))
    last = {line["worker"]: line for line in run.journal if line["event"] == "second"}
    assert run.end is not None
    assert sum(line["failed"] for line in last.values()) == sum(run.end["failed"].values())
    assert sum(line["done"] for line in last.values()) == run.end["planned"]


def test_what_is_not_told_is_absent(synthetic_run: Make) -> None:
    """No cache account, no scrapes, no end.json: absent, not 0."""
    run = open_run(
        synthetic_run(requests=5, cached_fraction=None, server_interval_s=None, killed=True)
    )
    assert run.requests["cached_tokens"].isna().all()
    assert run.server.empty
    assert run.end is None


def test_the_same_specification_gives_the_same_rows(synthetic_run: Make) -> None:
    """Seeded: equal specifications are equal, another seed is not."""
    one, two, other = (
        open_run(synthetic_run(name, requests=50, seed=seed)).requests
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one.equals(two)
    assert not one.equals(other)


def test_blocks_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in several blocks, indices are consecutive and time goes on."""
    monkeypatch.setattr(synthetic_rows, "_EVENTS_AT_A_TIME", 100)
    drawn: list[Columns] = list(blocks(SyntheticRun(requests=95, tokens_per_request=10)))
    assert [block["index"].size for block in drawn] == [10] * 9 + [5]
    index = np.concatenate([block["index"] for block in drawn])
    intended = np.concatenate([block["intended_ns"] for block in drawn])
    assert index.tolist() == list(range(95))
    assert (np.diff(intended, prepend=START_NS) > 0).all()
