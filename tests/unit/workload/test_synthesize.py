"""Made-up traces keep what their parameters say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.shipped import shipped
from bench.workload.inspect import inspect
from bench.workload.readers import TraceReading, read
from bench.workload.synthesize import Synthesis, synthesize

SMALL = Synthesis(requests=2000, rate_rps=10, turns_mean=2.5)


def test_equal_parameters_give_equal_rows_and_seeds_others() -> None:
    """A made-up trace is a function of its parameters."""
    assert list(synthesize(SMALL)) == list(synthesize(SMALL))
    assert list(synthesize(SMALL)) != list(synthesize(replace(SMALL, seed=1)))


def test_lengths_stay_inside_their_limits_and_agree_with_ids() -> None:
    """As many requests as asked; inputs, outputs and the number of ids within the rules."""
    rows = list(synthesize(SMALL))
    assert len(rows) == 2000
    for row in rows:
        assert row.input_tokens is not None
        assert row.output_tokens is not None
        assert row.input_tokens <= SMALL.max_input
        assert SMALL.min_output <= row.output_tokens <= SMALL.max_output
        assert len(row.block_ids or ()) == SMALL.blocks.expected(row.input_tokens)


def test_a_turn_begins_with_the_turn_before_and_its_answer() -> None:
    """A later turn has all ids of the one before, is longer by at least its answer, and waits."""
    before = {}
    later = 0
    for row in synthesize(SMALL):
        previous = before.get(row.session)
        if previous is None:
            assert row.at_s is not None
            assert row.think_s is None
        else:
            later += 1
            assert row.block_ids[: len(previous.block_ids)] == previous.block_ids
            assert row.input_tokens > previous.input_tokens + previous.output_tokens
            assert row.at_s is None
            assert row.think_s > 0
        before[row.session] = row
    assert later > 500


def test_all_requests_share_the_root_and_sessions_of_a_group_more() -> None:
    """The first id is one for all; the ids behind it are as many as there are groups."""
    rows = list(synthesize(replace(SMALL, groups=5, group_tokens=128)))
    assert {row.block_ids[0] for row in rows} == {0}
    shared: dict[int, set[str | None]] = {}
    for row in rows:
        shared.setdefault(row.block_ids[1], set()).add(row.session)
    # One group has no text of its own, so its sessions' second blocks are theirs alone.
    assert sum(len(sessions) > 50 for sessions in shared.values()) == 4


def test_session_starts_have_the_rate_and_cv_asked_for() -> None:
    """Sessions begin at rate over mean turns, with the CV asked for (4 standard errors)."""
    how = replace(SMALL, requests=20_000, cv=2.0, turns_mean=1.0)
    times = inspect(TraceReading(Path("t"), "native", how.blocks, synthesize(how))).times
    assert times.rate_rps == pytest.approx(10, rel=4 * 2 / 20_000**0.5)
    assert times.iat_cv == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    "wrong",
    [{"requests": 0}, {"rate_rps": 0.0}, {"cv": -1.0}, {"max_input": 64}, {"max_output": 5}],
)
def test_parameters_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    """The error names the parameter."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Synthesis(**wrong)


def test_the_sample_trace_is_what_its_header_says_it_is() -> None:
    """The shipped sample has about 300 requests in a minute, shares prefixes, and is small."""
    path = shipped("workloads") / "sample-chat.jsonl"
    stats = inspect(read(path))
    assert stats.format == "native"
    assert stats.rows == 300
    assert stats.times.duration_s == pytest.approx(60, abs=10)
    lengths = stats.input_tokens
    assert lengths.min is not None
    assert lengths.max is not None
    assert lengths.min >= 30
    assert lengths.max <= 3000
    assert stats.ceiling_tokens == pytest.approx(0.58, abs=0.01)
    assert path.stat().st_size < 100_000
