"""The measured window and the counts of each second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.judge.judgement import judge
from bench.judge.window import Grid, Window, cut, sliding_mean

Rows = list[dict[str, Any]]


def test_counts_fall_into_bins_that_begin_with_the_main_phase() -> None:
    """A main phase that starts at 2.5 s has bins from 2.5 s, 3.5 s …; unknown falls into none."""
    grid = Grid(-0.5, 5)
    counts = grid.count(np.array([2.5, 3.49, 3.5, np.nan, 99.0]))
    assert counts.tolist() == [0, 0, 0, 2, 2]


def test_a_fixed_cut_takes_whole_seconds_from_both_ends() -> None:
    """3.2 s and 2 s of a 20.5 s phase: the window begins 4 s in and ends on a bin's edge."""
    whole = Window(0.0, 20.5, "whole")
    found = cut(whole, Grid(0.0, 21), np.ones(21), "fixed", (3.2, 2.0))
    assert (found.start_s, found.end_s, found.rule) == (4.0, 18.0, "fixed")
    assert (found.cut_head_s, found.cut_tail_s) == (4, 2.5)


@pytest.mark.parametrize("fixed", [(60.0, 60.0), (4.0, 6.0)])
def test_a_cut_that_would_leave_nothing_cuts_nothing(fixed: tuple[float, float]) -> None:
    """A 10 s run under a profile that cuts 60 s at either end, or just all of it, is judged whole.

    One bin is something.
    """
    whole = Window(0.0, 10.0, "whole")
    assert cut(whole, Grid(0.0, 10), np.ones(10), "fixed", fixed) is whole
    assert cut(whole, Grid(0.0, 10), np.ones(10), "fixed", (4.0, 5.0)).length_s == 1


def test_mser_cuts_ramp_and_drain() -> None:
    """20 slow seconds before and 10 after 170 steady ones are not part of the window."""
    tokens = np.concatenate(
        (np.full(20, 5.0), np.full(170, 100.0) + np.arange(170) % 3, np.ones(10))
    )
    found = cut(Window(0.0, 200.0, "whole"), Grid(0.0, 200), tokens, "mser", (0, 0))
    assert (found.start_s, found.end_s) == (20.0, 190.0)


def test_rates_are_over_the_exact_length_of_a_whole_window(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """Four answers from 0 s to 3.18 s are 4 / 3.18 per second, not 4 / 4."""
    rows = [ok_row(float(at)) for at in range(4)]
    metrics = judge(hand_run(rows)).summary["metrics"]
    assert metrics["request_rps"]["value"] == pytest.approx(4 / 3.18)
    assert metrics["output_tps"]["value"] == pytest.approx(20 / 3.18)


def test_warm_up_requests_are_not_judged_but_counted(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], profile: Callable[..., Any]
) -> None:
    """A cold first request is in the counts, and in no percentile unless the profile asks."""
    rows = [ok_row(0.0, ttft_s=9.0, phase="warmup"), *(ok_row(10.0 + k) for k in range(3))]
    found = judge(hand_run(rows))
    assert found.summary["counts"]["warmup"] == 1
    assert found.summary["metrics"]["ttft_s"]["max"] == pytest.approx(0.1)
    cold = judge(hand_run(rows), profile(cold_start="include"))
    assert cold.summary["metrics"]["ttft_s"]["max"] == pytest.approx(9.0)


def test_series_balances(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any]
) -> None:
    """Each planned request is offered once, each end counted once; nothing runs at the end."""
    rows = [ok_row(0.5), ok_row(1.5), failed_row(2.5), {"intended_s": 2.7, "outcome": "dropped"}]
    series = judge(hand_run(rows)).series
    assert series[["offered", "sent", "achieved", "failed"]].sum().tolist() == [4, 3, 2, 1]
    assert series["running"].iloc[-1] == 0
    assert series["output_tokens"].sum() == 10


def test_an_answer_that_was_not_streamed_counts_its_tokens_at_its_end(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """30 tokens without events arrive in the second of the body's end."""
    row = ok_row(0.0, done_s=4.2, last_s=4.2, first_s=4.2, output_tokens=30, arrivals=[])
    series = judge(hand_run([row])).series
    assert series["output_tokens"].tolist() == [0, 0, 0, 0, 30]


def test_prompt_tokens_are_of_the_second_that_read_them(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], failed_row: Callable[..., Any]
) -> None:
    """At the first token; where none came, at the request's end."""
    rows = [ok_row(0.0, done_s=4.2, first_s=2.5, prompt_tokens=7)]
    rows.append(failed_row(0.5, 1.0) | {"prompt_tokens": 9})
    series = judge(hand_run(rows)).series
    assert series["input_tokens"].tolist() == [0, 9, 7, 0, 0]


def test_a_run_without_a_request_is_judged_without_a_value(hand_run: Callable[..., Any]) -> None:
    """Nothing was measured: every value is unknown, nothing passes, nothing raises."""
    found = judge(hand_run([]))
    assert found.summary["metrics"]["ttft_s"]["p99"] is None
    assert found.summary["metrics"]["request_rps"]["value"] is None
    assert found.verdict["verdict"] == "none"


def test_a_sliding_mean_weighs_what_lies_in_its_bins() -> None:
    """Sums 6, 0, 4 of 2, 0, 1 values over two bins: 3 of the first two, 4 of the last two."""
    means = sliding_mean(np.array([6.0, 0.0, 4.0]), np.array([2.0, 0.0, 1.0]), 2)
    np.testing.assert_array_equal(means, [np.nan, 3.0, 4.0])
    assert np.isnan(sliding_mean(np.zeros(3), np.zeros(3), 2)).all()
    assert np.isnan(sliding_mean(np.ones(3), np.ones(3), 4)).all()


def test_series_has_means_of_five_minutes(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """TTFT of 0.1 s for 300 s and 0.4 s after: the mean rises by 0.3 / 300 a second from there."""
    rows = [ok_row(float(k), ttft_s=0.1 if k < 300 else 0.4) for k in range(400)]
    series = judge(hand_run(rows)).series
    means = series["ttft_mean_5min_s"].to_numpy()
    assert np.isnan(means[:299]).all()
    assert means[299] == pytest.approx(0.1)
    assert means[399] == pytest.approx(0.2)
    assert series["output_tokens_mean_5min"][350] == pytest.approx(5.0)
