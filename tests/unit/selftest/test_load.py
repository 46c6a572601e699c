"""Loads of the self-test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.selftest.load import ITL_S, MOST_INPUT_TOKENS, Load, load_of
from bench.workload.arrivals import Closed

Make = Callable[..., Load]


@dataclass(frozen=True, slots=True)
class _Columns:
    input_tokens: np.ndarray[Any, Any]
    output_tokens: np.ndarray[Any, Any]
    sessions: int

    @property
    def rows(self) -> int:
        return len(self.input_tokens)


def _ready(
    inputs: list[int],
    outputs: list[int],
    starts_s: list[float] | None = None,
    concurrency: int | None = None,
    sessions: int | None = None,
) -> Any:
    """What `load_of` reads of a prepared run."""
    columns = _Columns(np.array(inputs), np.array(outputs), sessions or len(inputs))
    starts = None if starts_s is None else np.array(starts_s)
    return SimpleNamespace(
        plan=SimpleNamespace(columns=columns, starts_s=starts),
        pace=SimpleNamespace(concurrency=concurrency),
    )


def test_streams_or_rate(load: Make) -> None:
    """A load is a closed loop or an open one: neither both nor none."""
    with pytest.raises(ValueError, match="either"):
        load(rate_rps=5.0)
    with pytest.raises(ValueError, match="either"):
        load(streams=None)


def test_closed_loop_of_a_run() -> None:
    """Slots are the streams; lengths are the means of those that the plan knows."""
    found = load_of(_ready([100, 300], [10, -1], concurrency=7), workers=2, duration_s=3.0)
    assert found == Load(7, None, 200, 10, 3.0, workers=2)


def test_open_loop_takes_the_busiest_stretch() -> None:
    """100 starts in the second ten seconds and 10 before make 10 requests per second, not 5.5."""
    starts = [float(i) for i in range(10)] + [10 + i / 10 for i in range(100)]
    found = load_of(_ready([8] * 110, [4] * 110, starts), workers=1, duration_s=3.0)
    assert found.rate_rps == pytest.approx(10.0)
    assert found.streams is None


def test_short_open_loop_counts_over_its_span() -> None:
    """41 starts over 4 seconds are 41 / 4 requests per second, though 10 s would hold more."""
    starts = [i / 10 for i in range(41)]
    found = load_of(_ready([8] * 41, [4] * 41, starts), workers=1, duration_s=3.0)
    assert found.rate_rps == pytest.approx(41 / 4)


def test_turns_of_sessions_count() -> None:
    """Two turns in each session double the requests that follow from the sessions' starts."""
    starts = [i / 2 for i in range(21)]
    found = load_of(_ready([8] * 42, [4] * 42, starts, sessions=21), workers=1, duration_s=3.0)
    assert found.rate_rps == pytest.approx(2 * 20 / 10)


def test_long_prompts_are_cut_and_unknown_lengths_are_one() -> None:
    """The simulator is spared prompts beyond MOST_INPUT_TOKENS; a length left open counts as 1."""
    found = load_of(_ready([90_000], [-1], concurrency=1), workers=1, duration_s=3.0)
    assert (found.input_tokens, found.output_tokens) == (MOST_INPUT_TOKENS, 1)


def test_what_is_expected(load: Make) -> None:
    """Each stream makes n tokens in n + 1 steps; an open loop makes its rate times its length."""
    closed = load(streams=100, output_tokens=24)
    assert closed.expected_tokens_per_s == pytest.approx(100 * 24 / (25 * ITL_S))
    opened = load(streams=None, rate_rps=50.0, output_tokens=100)
    assert opened.expected_tokens_per_s == 5000
    assert opened.expected_streams == 100


def test_recipe_and_simulator_fit(load: Make) -> None:
    """The recipe asks for the load; the simulator has seats and blocks for all of it."""
    wanted = load(streams=500, input_tokens=4096, output_tokens=2000)
    recipe = wanted.recipe()
    assert isinstance(recipe.arrivals, Closed)
    assert (recipe.arrivals.concurrency, recipe.duration_s, recipe.requests) == (500, 2.0, None)
    config = wanted.simulator()
    assert config.max_num_seqs >= 500
    assert config.kv_tokens >= 500 * 6096
    assert config.max_num_batched_tokens >= 500 * 4096
