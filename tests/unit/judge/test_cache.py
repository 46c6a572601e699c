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


@pytest.mark.parametrize(("ceiling", "warm"), [(0.58, False), (0.5, True)])
def test_a_templates_tokens_explain_hits_above_the_ceiling(
    hand_run: Make, ok_row: Make, ceiling: float, warm: bool
) -> None:
    """4 tokens of template before prompts of 100: 4 points above the plan's ceiling, not 10."""
    workload = {"ceiling": {"tokens_fraction": ceiling}, "prompts": {"overhead_tokens": 4}}
    run = hand_run(cached_rows(ok_row), manifest={"workload": workload})
    reasons = [reason["en"] for reason in judge(run).summary["cache"]["reasons"]]
    assert any("adds 4 tokens" in said and "4.00%" in said for said in reasons)
    assert any("held content before" in said for said in reasons) is warm


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


def test_a_server_that_leaves_zeros_out_has_its_misses_counted(
    hand_run: Make, ok_row: Make
) -> None:
    """Older vLLM states cached_tokens on a hit only: 10 hits of 90 % and 10 silent misses are 45 %.

    Over the hits alone the rate would be twice that.
    """
    hits = cached_rows(ok_row, 10, cached=90.0)
    misses = [ok_row(10.0 + k, prompt_tokens=100) for k in range(10)]
    found = judge(hand_run([*hits, *misses])).summary
    assert found["cache"]["client"] == pytest.approx(0.45)
    assert found["reconciliation"]["cache"]["client_fraction"] == pytest.approx(0.45)
    assert found["cache"]["ttft_by_share"][0]["n"] == 10
    (said,) = [r["en"] for r in found["cache"]["reasons"] if "no cached_tokens" in r["en"]]
    assert "10 responses" in said
    assert "90.0%" in said


def test_a_server_that_states_zeros_is_silent_for_another_reason(
    hand_run: Make, ok_row: Make
) -> None:
    """Where an answer states 0, one without the field is unknown: left out, and that is said."""
    told = [*cached_rows(ok_row, 5, cached=50.0), *cached_rows(ok_row, 5, cached=0.0)]
    silent = [ok_row(10.0 + k, prompt_tokens=100) for k in range(10)]
    found = judge(hand_run([*told, *silent])).summary["cache"]
    assert found["client"] == pytest.approx(0.25)
    assert any("10 responses" in r["en"] and "left out" in r["en"] for r in found["reasons"])


_CACHED, _PROMPTS = "vllm:prompt_tokens_cached_total", "vllm:prompt_tokens_total"


def test_a_cache_that_is_off_looks_nothing_up_though_prompts_are_counted(
    hand_run: Make, ok_row: Make
) -> None:
    """vLLM 0.32 without prefix caching counts prompts, none of them cached: no rate, not 0."""
    scrapes = scraped(
        **{_HITS: (0.0, 0.0), _QUERIES: (0.0, 0.0), _CACHED: (0.0, 0.0), _PROMPTS: (0.0, 2000.0)}
    )
    run = hand_run(
        cached_rows(ok_row, cached=0.0),
        manifest={"workload": {"ceiling": {"tokens_fraction": 0.7}}},
        scrapes=scrapes,
    )
    found = judge(run).summary["cache"]
    assert found["server"] is None
    (said,) = [reason["en"] for reason in found["reasons"]]
    assert "looked nothing up" in said


def test_a_cache_without_a_hit_is_at_zero(hand_run: Make, ok_row: Make) -> None:
    """Looked up and never found: 0 %."""
    scrapes = scraped(
        **{_HITS: (0.0, 0.0), _QUERIES: (0.0, 50.0), _CACHED: (0.0, 0.0), _PROMPTS: (0.0, 2000.0)}
    )
    assert judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]["server"] == 0


def test_lookups_that_count_retries_do_not_decide(hand_run: Make, ok_row: Make) -> None:
    """vLLM before 0.27 counts a lookup at each retry: cached of prompt tokens is the rate."""
    scrapes = scraped(
        **{
            _HITS: (0.0, 9000.0),
            _QUERIES: (0.0, 10000.0),
            _CACHED: (0.0, 1200.0),
            _PROMPTS: (0.0, 2000.0),
        }
    )
    found = judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]
    assert found["server"] == pytest.approx(0.6)


def test_hits_and_prompts_of_two_kinds_of_server_are_no_pair(hand_run: Make, ok_row: Make) -> None:
    """A Dynamo frontend's prompts are not those of the one vLLM worker that was scraped."""
    scrapes = scraped(
        **{
            "dynamo_frontend_input_sequence_tokens_sum": (0.0, 8000.0),
            _CACHED: (0.0, 1200.0),
            _HITS: (0.0, 1200.0),
            _QUERIES: (0.0, 2000.0),
        }
    )
    found = judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]
    assert found["server"] == pytest.approx(0.6)


@pytest.mark.parametrize(("queries", "in_blocks"), [(100.0, True), (2000.0, False)])
def test_an_old_name_that_counted_blocks_is_told_by_its_size(
    hand_run: Make, ok_row: Make, queries: float, in_blocks: bool
) -> None:
    """vLLM before 0.9 counted blocks under the name that counts tokens since."""
    scrapes = scraped(
        **{
            "vllm:gpu_prefix_cache_hits_total": (0.0, queries / 2),
            "vllm:gpu_prefix_cache_queries_total": (0.0, queries),
            _PROMPTS: (0.0, 2000.0),
        }
    )
    found = judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]
    assert found["server"] == 0.5
    assert any("KV blocks" in reason["en"] for reason in found["reasons"]) is in_blocks


def test_a_scrape_that_failed_does_not_end_the_window(hand_run: Make, ok_row: Make) -> None:
    """The reading behind a failed scrape counts: without it the last hits would be missing."""
    scrapes = [
        *labelled(_HITS, 0.0, 600.0),
        *labelled(_QUERIES, 0.0, 1000.0),
        *((at_s, "s", "up", {}, up) for at_s, up in ((0.0, 1.0), (21.0, 0.0), (30.0, 1.0))),
    ]
    rows = cached_rows(ok_row, 21)
    found = judge(hand_run(rows, labelled=scrapes)).summary["cache"]
    assert found["server"] == pytest.approx(0.6)
    assert not any("answered no scrape" in reason["en"] for reason in found["reasons"])


def test_a_replica_that_is_not_seen_is_named(hand_run: Make, ok_row: Make) -> None:
    """One that never answers, and one that stops answering half way, leave their hits out."""
    scrapes = [
        *labelled(_HITS, 0.0, 600.0, "a"),
        *labelled(_QUERIES, 0.0, 1000.0, "a"),
        *((at_s, "dead", "up", {}, 0.0) for at_s in (0.0, 10.0, 30.0)),
        *((at_s, "ill", "up", {}, up) for at_s, up in ((0.0, 1.0), (10.0, 1.0), (30.0, 0.0))),
    ]
    found = judge(hand_run(cached_rows(ok_row, 21), labelled=scrapes)).summary["cache"]
    said = [reason["en"] for reason in found["reasons"] if "answered no scrape" in reason["en"]]
    assert [line.split()[0] for line in said] == ["dead", "ill"]


def test_counters_that_began_anew_are_told(hand_run: Make, ok_row: Make) -> None:
    """What was lost in a restart is said beside the rate that is left."""
    scrapes = scraped(**{_HITS: (0.0, 500.0, 300.0), _QUERIES: (0.0, 1000.0, 600.0)})
    reasons = judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]["reasons"]
    assert any("began anew 1×" in reason["en"] for reason in reasons)


@pytest.mark.parametrize(("rate", "expected"), [((0.5, 0.5), 0.5), ((0.9, 0.1), None)])
def test_a_rate_since_the_start_that_makes_no_rate_is_absent(
    hand_run: Make, ok_row: Make, rate: tuple[float, float], expected: float | None
) -> None:
    """MindIE's rate fell by more than the window's prompts can explain: nothing is made of it."""
    scrapes = scraped(npu_prefix_cache_hit_rate=rate, prompt_tokens_total=(100_000.0, 102_000.0))
    found = judge(hand_run(cached_rows(ok_row), scrapes=scrapes)).summary["cache"]
    assert found["server"] == (None if expected is None else pytest.approx(expected))


def test_a_replica_whose_counter_appears_in_the_window_counts_from_nothing(
    hand_run: Make, ok_row: Make
) -> None:
    """SGLang shows a hit counter from the first hit on: the hits up to its first reading are in."""
    effective = "sglang:prefill_effective_tokens_total"
    scrapes = [
        (at_s, "s", effective, {"mode": mode, "dp_rank": rank}, value)
        for rank in ("0", "1")
        for at_s, mode, value in (
            (0.0, "input", 0.0), (30.0, "input", 1000.0),
            (15.0, "device_hit", 400.0), (30.0, "device_hit", 1000.0),
        )
    ]  # fmt: skip
    found = judge(hand_run(cached_rows(ok_row), labelled=scrapes)).summary["cache"]
    assert found["server"] == pytest.approx(0.5)
    assert [row["fraction"] for row in found["replicas"]] == [pytest.approx(0.5)] * 2
