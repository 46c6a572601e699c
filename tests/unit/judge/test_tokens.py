"""Token arrivals reduced to gaps, stutter and fluidity."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bench.judge import tokens
from bench.judge.tokens import Deadlines, count_tokens
from bench.judge.window import Grid

_GRID = Grid(0.0, 10)


def events(*requests: list[tuple[float, int]]) -> SimpleNamespace:
    """One batch; each request is a list of (arrival, tokens)."""
    flat = [event for request in requests for event in request]
    return SimpleNamespace(
        rows=np.arange(len(requests)),
        offsets=np.cumsum([0, *map(len, requests)]),
        arrival_s=np.array([at for at, _ in flat], np.float64),
        tokens=np.array([n for _, n in flat], np.int32),
    )


def ascending(batches: list[tokens.GapBatch]) -> np.ndarray:
    return np.sort(tokens.ranked(batches).values)


def counted(*requests: list[tuple[float, int]], deadlines: Deadlines | None = None):
    return count_tokens([events(*requests)], np.zeros(len(requests)), _GRID, deadlines)


def test_a_gap_is_shared_by_the_tokens_of_its_later_event() -> None:
    """Three tokens 0.3 s after the first are three gaps of 0.1 s, and one raw gap of 0.3 s."""
    found = counted([(1.0, 1), (1.3, 3)])
    np.testing.assert_allclose(ascending(found.per_token), [0.1, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(ascending(found.per_event), [0.3], rtol=1e-6)
    assert (found.events, found.several) == (2, 1)


def test_no_gap_reaches_from_one_request_to_the_next() -> None:
    """Two requests of two events have two gaps, not three."""
    found = counted([(1.0, 1), (1.5, 1)], [(3.0, 1), (3.25, 1)])
    np.testing.assert_allclose(ascending(found.per_token), [0.25, 0.5])


def test_events_without_tokens_are_no_tokens() -> None:
    """An event of 0 tokens neither makes nor divides a gap; a request of none has no value."""
    found = counted([(1.0, 1), (1.2, 0), (1.5, 1)], [(2.0, 0)], [])
    np.testing.assert_allclose(ascending(found.per_token), [0.5])
    assert found.arrived.tolist() == [2, 0, 0]


def test_tokens_are_counted_in_the_second_they_arrive() -> None:
    """Four tokens at 1.2 s and one at 2.0 s."""
    found = counted([(1.2, 4), (2.0, 1)])
    assert found.per_second.tolist() == [0, 4, 1, 0, 0, 0, 0, 0, 0, 0]


def test_tbt_is_the_mean_of_the_longest_tenth() -> None:
    """Of 20 gaps of 1..20 ms the longest two are 19 and 20; a lone token has none."""
    arrivals = np.cumsum(np.arange(21)) / 1000
    found = counted([(at, 1) for at in arrivals.tolist()], [(1.0, 1)])
    assert found.tbt_top10_s[0] == pytest.approx(0.0195, rel=1e-5)
    assert np.isnan(found.tbt_top10_s[1])


def test_early_tokens_lend_their_slack_to_late_ones() -> None:
    """Deadlines 1 s and 0.1 s: 0.05 s early, then 0.15 s late by the gap, is still on time."""
    found = counted([(1.0, 1), (1.05, 1), (1.20, 1)], deadlines=Deadlines(1.0, 0.1))
    assert found.fluidity[0] == 1.0


def test_tokens_that_come_together_are_early() -> None:
    """Three tokens in one event are on time and leave two deadlines of slack for a gap of 0.3 s."""
    found = counted([(1.0, 3), (1.3, 1)], [(1.0, 1), (1.3, 1)], deadlines=Deadlines(1.0, 0.1))
    assert found.fluidity.tolist() == [1.0, 0.5]


def test_a_late_token_resets_the_slack() -> None:
    """A gap of 0.3 s against 0.1 s is late, and leaves nothing to the next 0.11 s."""
    found = counted([(1.0, 1), (1.3, 1), (1.41, 1)], deadlines=Deadlines(1.0, 0.1))
    assert found.fluidity[0] == pytest.approx(1 / 3)


def test_fluidity_of_requests_of_unequal_length_is_each_ones_own() -> None:
    """Requests side by side give what each gives alone, whatever their order and length."""
    rng = np.random.default_rng(1)
    requests = [
        [(float(at), 1) for at in np.cumsum(rng.uniform(0, 0.2, size))] for size in (5, 1, 40, 7)
    ]
    limits = Deadlines(0.1, 0.1)
    together = counted(*requests, deadlines=limits).fluidity
    alone = [counted(request, deadlines=limits).fluidity[0] for request in requests]
    np.testing.assert_array_equal(together, alone)
    assert len(set(alone)) > 2


def test_gaps_are_selected_by_request() -> None:
    """Leaving a request out leaves out its gaps and no other's."""
    found = counted([(1.0, 1), (1.5, 1)], [(3.0, 1), (3.25, 1), (3.5, 1)])
    kept = tokens.selected(found.per_token, np.array([False, True]))
    np.testing.assert_allclose(ascending(kept), [0.25, 0.25])


def test_sums_and_counts_are_by_request() -> None:
    """How many gaps are over 0.3 s, what they sum to, and how many there are, for each request."""
    found = counted([(1.0, 1), (1.5, 1)], [(3.0, 1), (3.25, 1), (3.75, 1)], [(5.0, 1)], [])
    beyond, total = tokens.count_beyond(found.per_token, 0.3, 4)
    assert (beyond.tolist(), total.tolist()) == ([1, 1, 0, 0], [1, 2, 0, 0])
    sums, total = tokens.sum_per_request(found.per_token, 4)
    assert (sums.tolist(), total.tolist()) == ([0.5, 0.75, 0, 0], [1, 2, 0, 0])
