"""Three views of the cache hit rate, and what explains their gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.judge.judgement import judge

Make = Callable[..., Any]

_HITS, _QUERIES = "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"


def cached_rows(ok_row: Make, n: int = 20, cached: float = 60.0) -> list[dict[str, Any]]:
    return [ok_row(float(k), prompt_tokens=100, cached_tokens=cached) for k in range(n)]


def scraped(**counters: tuple[float, ...]) -> list[tuple[float, str, float]]:
    """Counters scraped at equal distances from 0 s to 30 s."""
    return [
        (30.0 * k / (len(values) - 1), name, value)
        for name, values in counters.items()
        for k, value in enumerate(values)
    ]


def test_three_views_stand_side_by_side(hand_run: Make, ok_row: Make) -> None:
    """Plan 70 %, responses 60 %, server 55 %: each its own, with the differences."""
    run = hand_run(
        cached_rows(ok_row),
        manifest={"workload": {"ceiling": {"tokens_fraction": 0.7}}},
        scrapes=scraped(**{_HITS: (10.0, 1110.0), _QUERIES: (100.0, 2100.0)}),
    )
    found = judge(run).summary["cache"]
    assert (found["ceiling"], found["client"]) == (0.7, pytest.approx(0.6))
    assert found["server"] == pytest.approx(0.55)
    assert found["ceiling_minus_client"] == pytest.approx(0.1)
    assert found["client_minus_server"] == pytest.approx(0.05)


def test_a_server_that_states_nothing_is_not_at_zero(hand_run: Make, ok_row: Make) -> None:
    """Without cached_tokens and counters both views are unknown, and the reason is said."""
    found = judge(hand_run([ok_row(float(k), prompt_tokens=100) for k in range(5)])).summary
    assert found["cache"]["client"] is None
    assert found["cache"]["server"] is None
    assert any("no cached_tokens" in reason["en"] for reason in found["cache"]["reasons"])


def test_a_cache_that_is_switched_off_is_not_at_zero(hand_run: Make, ok_row: Make) -> None:
    """vLLM counts no queries then: 0 of 0 is no hit rate."""
    scrapes = scraped(**{_HITS: (0.0, 0.0), _QUERIES: (0.0, 0.0)})
    found = judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary
    assert found["metrics"]["cache_server"]["value"] is None
    assert found["metrics"]["cache_server"]["absent"] is not None


def test_a_restart_does_not_make_hits_negative(hand_run: Make, ok_row: Make) -> None:
    """Counters that fall start again from 0: 500 + 300 of 1,000 + 600."""
    scrapes = scraped(**{_HITS: (0.0, 500.0, 300.0), _QUERIES: (0.0, 1000.0, 600.0)})
    found = judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]
    assert found["server"] == pytest.approx(0.5)


@pytest.mark.parametrize(("usage", "says"), [(0.99, "Eviction"), (0.2, "not eviction")])
def test_hits_under_the_ceiling_are_explained_by_kv_usage(
    hand_run: Make, ok_row: Make, usage: float, says: str
) -> None:
    """A full cache evicts; a half-empty one points at routing or salt."""
    run = hand_run(
        cached_rows(ok_row),
        manifest={"workload": {"ceiling": {"tokens_fraction": 0.9}}},
        scrapes=scraped(**{"vllm:kv_cache_usage_perc": (0.1, usage)}),
    )
    reasons = judge(run).summary["cache"]["reasons"]
    assert any(says in reason["en"] for reason in reasons)
    assert all(any("一" <= letter <= "鿿" for letter in reason["zh"]) for reason in reasons)


def test_hits_above_the_ceiling_mean_a_warm_cache(hand_run: Make, ok_row: Make) -> None:
    """More hits than the plan can give: the cache was not empty."""
    run = hand_run(
        cached_rows(ok_row), manifest={"workload": {"ceiling": {"tokens_fraction": 0.1}}}
    )
    reasons = judge(run).summary["cache"]["reasons"]
    assert any("above the ceiling" in reason["en"] for reason in reasons)


def test_other_traffic_is_named(hand_run: Make, ok_row: Make) -> None:
    """The server took 5,000 prompt tokens, 2,000 of them ours."""
    scrapes = scraped(**{"vllm:prompt_tokens_total": (0.0, 5000.0)})
    reasons = judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]["reasons"]
    assert any("3,000 more prompt tokens" in reason["en"] for reason in reasons)


def test_ttft_is_shown_by_what_was_cached(hand_run: Make, ok_row: Make) -> None:
    """Requests without a hit are slow, those with 95 % fast; each in its row."""
    cold = [ok_row(k, ttft_s=0.8, prompt_tokens=100, cached_tokens=0) for k in range(3)]
    warm = [ok_row(10 + k, ttft_s=0.1, prompt_tokens=100, cached_tokens=95) for k in range(4)]
    rows = judge(hand_run([*cold, *warm])).summary["cache"]["ttft_by_share"]
    assert [(row["n"], row["p50_s"]) for row in rows] == [
        (3, pytest.approx(0.8)),
        (0, None),
        (0, None),
        (4, pytest.approx(0.1)),
    ]
