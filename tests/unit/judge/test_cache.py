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


def labelled(
    name: str, before: float, after: float, source: str = "s", **labels: str
) -> list[tuple[Any, ...]]:
    """One counter or gauge at both ends of the run."""
    return [(at_s, source, name, labels, v) for at_s, v in ((0.0, before), (30.0, after))]


def test_each_replica_has_its_own_rate(hand_run: Make, ok_row: Make) -> None:
    """Two engines of one server and a second server: 90 of 100, 10 of 100, 0 of 200."""
    scrapes = [
        row
        for source, engine, hit, queried in (
            ("a", "0", 90, 100), ("a", "1", 10, 100), ("b", "0", 0, 200),
        )
        for name, grown in ((_HITS, hit), (_QUERIES, queried))
        for row in labelled(name, 5.0, 5.0 + grown, source, engine=engine)
    ]  # fmt: skip
    found = judge(hand_run(cached_rows(ok_row), labelled=scrapes)).summary["cache"]
    assert found["server"] == pytest.approx(100 / 400)
    rates = {(row["source"], row["engine"]): row["fraction"] for row in found["replicas"]}
    assert rates == {("a", "0"): 0.9, ("a", "1"): 0.1, ("b", "0"): 0.0}


def test_one_replica_is_the_total(hand_run: Make, ok_row: Make) -> None:
    """A single engine has no table of replicas."""
    scrapes = scraped(**{_HITS: (0.0, 500.0), _QUERIES: (0.0, 1000.0)})
    assert judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]["replicas"] == []


def test_sglangs_tiers_leave_its_total_out(hand_run: Make, ok_row: Make) -> None:
    """Cached tokens by source; the source `total` would count each of them again."""
    scrapes = [
        row
        for source, grown in (("device", 300.0), ("host", 100.0), ("total", 400.0))
        for row in labelled("sglang:cached_tokens_total", 0.0, grown, cache_source=source)
    ]
    found = judge(hand_run(cached_rows(ok_row), labelled=scrapes)).summary["cache"]
    assert found["tiers_tokens"] == {"device": 300.0, "host": 100.0}


def test_blocks_count_where_tokens_are_not_told(hand_run: Make, ok_row: Make) -> None:
    """An older TensorRT-LLM counts reused and missed blocks: 30 of 40, and it is said."""
    scrapes = labelled("trtllm_kv_cache_reused_blocks_total", 10.0, 40.0)
    scrapes += labelled("trtllm_kv_cache_missed_blocks_total", 0.0, 10.0)
    found = judge(hand_run(cached_rows(ok_row), labelled=scrapes)).summary["cache"]
    assert found["server"] == pytest.approx(0.75)
    assert any("KV blocks, not tokens" in reason["en"] for reason in found["reasons"])


def test_a_rate_since_the_start_gives_the_windows(hand_run: Make, ok_row: Make) -> None:
    """Older MindIE: 20 % of 1,000 tokens before, 50 % of 3,000 after: 1,300 of 2,000 between."""
    scrapes = labelled("npu_prefix_cache_hit_rate", 0.2, 0.5)
    scrapes += labelled("prompt_tokens_total", 1000.0, 3000.0)
    found = judge(hand_run(cached_rows(ok_row), labelled=scrapes)).summary["cache"]
    assert found["server"] == pytest.approx(0.65)
    assert any("approximate" in reason["en"] for reason in found["reasons"])


def test_a_rate_since_a_restart_gives_nothing(hand_run: Make, ok_row: Make) -> None:
    """Prompt tokens that fell are of another start: no rate of the window follows."""
    scrapes = labelled("npu_prefix_cache_hit_rate", 0.2, 0.5)
    scrapes += labelled("prompt_tokens_total", 3000.0, 1000.0)
    found = judge(hand_run(cached_rows(ok_row), labelled=scrapes)).summary["cache"]
    assert found["server"] is None
