"""Comparing runs: what is refused, what is judged, what the documents say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.judge.compare import JudgedRun, compare, differing
from bench.judge.compare_blocks import BLOCKS, Sums, ranked
from bench.judge.compare_documents import as_json, junit, markdown
from bench.judge.compare_samples import SUMS
from bench.judge.compare_stats import Basis, Change, Difference, Scale, decide, difference
from bench.judge.judgement import judge
from bench.judge.profile import load_profile
from bench.record.frame import open_run

MakeRun = Callable[..., Path]


def judged(path: Path, **manifest: Any) -> JudgedRun:
    """A run with parts of its manifest replaced."""
    run = open_run(path)
    return JudgedRun(run.path.name, {**run.manifest, **manifest}, judge(run))


@pytest.fixture
def sides(synthetic_run: MakeRun) -> tuple[list[JudgedRun], list[JudgedRun]]:
    """Three runs on each side; NEW has a TTFT 10 % longer."""
    base = [judged(synthetic_run(f"base{k}", requests=2000, seed=k)) for k in range(3)]
    slow = [
        judged(synthetic_run(f"new{k}", requests=2000, seed=10 + k, ttft_s=(0.055, 0.3)))
        for k in range(3)
    ]
    return base, slow


def rows_of(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{row['metric']} {row['statistic']}": row for row in found["metrics"]}


def test_a_slower_first_token_is_worse(
    sides: tuple[list[JudgedRun], list[JudgedRun]],
) -> None:
    """A TTFT 10 % longer is found worse, with an interval around 10 %; TPOT is the same."""
    found = as_json(compare(*sides))
    rows = rows_of(found)
    ttft = rows["ttft_s p50"]
    assert found["verdict"] == "worse"
    assert ttft["result"] == "worse"
    assert ttft["low"] < 0.10 < ttft["high"]
    assert rows["tpot_s p50"]["result"] == "same"


def test_the_other_way_round_it_is_better(
    sides: tuple[list[JudgedRun], list[JudgedRun]],
) -> None:
    """With the sides exchanged TTFT is better and no metric worse."""
    found = as_json(compare(sides[1], sides[0]))
    assert rows_of(found)["ttft_s p50"]["result"] == "better"
    assert all(row["result"] != "worse" for row in found["metrics"])


def test_what_neither_side_has_is_not_judged(
    sides: tuple[list[JudgedRun], list[JudgedRun]],
) -> None:
    """Without a good set there is no goodput: none, with the reason, and no p-value."""
    row = rows_of(as_json(compare(*sides)))["goodput_fraction value"]
    assert (row["result"], row["base"], row["p"]) == ("none", None, None)
    assert row["advice"]["en"]


def test_a_run_that_is_not_valid_decides_nothing(
    sides: tuple[list[JudgedRun], list[JudgedRun]], synthetic_run: MakeRun
) -> None:
    """A difference found with an invalid run is undecided, and the run is named."""
    late = judged(synthetic_run("late", requests=2000, seed=5, lag_s=0.05))
    found = compare(sides[0], [*sides[1], late])
    assert found.change is Change.UNDECIDED
    assert found.invalid == ("late",)


@pytest.mark.parametrize(
    ("part", "condition"),
    [
        ({"target": {"model": "other"}}, "model"),
        ({"load": {"transport": "portable", "workers": 1}}, "transport"),
        ({"load": {"transport": "synthetic", "workers": 2}}, "workers"),
        ({"workload": {"recipe_hash": "abc"}}, "recipe"),
        ({"profile": {"name": "x", "title": {"zh": "x", "en": "x"}}}, "profile"),
    ],
)
def test_unlike_runs_are_told_apart(
    synthetic_run: MakeRun, part: dict[str, Any], condition: str
) -> None:
    """Each condition that differs is named."""
    path = synthetic_run("run", requests=100)
    one, other = judged(path), judged(path, **part)
    assert condition in [each.condition for each in differing([one], [other], same_profile=False)]
    assert differing([one], [one], same_profile=False) == []


def test_a_given_profile_makes_the_runs_own_irrelevant(synthetic_run: MakeRun) -> None:
    """Runs made under different profiles can be compared under a third."""
    path = synthetic_run("run", requests=100)
    other = judged(path, profile={"name": "x", "title": {"zh": "x", "en": "x"}})
    assert differing([judged(path)], [other], same_profile=True) == []


def test_two_windows_without_requests_are_not_the_same(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any]
) -> None:
    """All of both runs is warm-up: nothing was compared, and that is no "nothing changed"."""
    run = hand_run([ok_row(float(k), phase="warmup") for k in range(20)])
    found = compare([JudgedRun("a", {}, judge(run))], [JudgedRun("b", {}, judge(run))])
    assert (found.change, {row.change for row in found.rows}) == (Change.UNDECIDED, {Change.NONE})


def test_runs_of_one_plan_are_paired(synthetic_run: MakeRun) -> None:
    """The same plan in an open loop is resampled at the same stretches and joined by request."""
    plan = {"workload": {"digest": "d"}, "load": {"pace": {"concurrency": None}}}
    runs = [
        judged(synthetic_run(f"r{k}", requests=1500, seed=3, ttft_s=(median, 0.3)), **plan)
        for k, median in enumerate((0.05, 0.055))
    ]
    found = compare([runs[0]], [runs[1]])
    assert found.paired
    ttft = next(pair for pair in found.pairs if pair.metric == "ttft_s")
    assert math.expm1(ttft.change) == pytest.approx(0.10, abs=0.01)
    assert ttft.slower_fraction > 0.9


def test_a_pairs_interval_is_as_wide_as_its_median_varies(synthetic_run: MakeRun) -> None:
    """Logarithms of ratios with σ = 0.3 √2: the error of their median is 1.25 σ / √n."""
    plan = {"workload": {"digest": "d"}, "load": {"pace": {"concurrency": None}}}
    runs = [judged(synthetic_run(f"r{k}", requests=1500, seed=k), **plan) for k in range(2)]
    ttft = next(pair for pair in compare([runs[0]], [runs[1]]).pairs if pair.metric == "ttft_s")
    student_t = 2.093  # 95 %, 19 degrees of freedom
    expected = student_t * 1.2533 * 0.3 * math.sqrt(2 / ttft.n)
    assert expected / 1.6 < (ttft.high - ttft.low) / 2 < expected * 1.6


def test_another_plan_is_not_paired(synthetic_run: MakeRun) -> None:
    """Runs whose digests differ have no pairs."""
    runs = [
        judged(synthetic_run(f"r{k}", requests=300, seed=k), workload={"digest": str(k)})
        for k in range(2)
    ]
    found = compare([runs[0]], [runs[1]])
    assert not found.paired
    assert found.pairs == ()


def test_rates_are_those_of_the_summary(synthetic_run: MakeRun) -> None:
    """Every sum that is compared is the summary's own value, but for the window's part second."""
    run = judged(synthetic_run("run", requests=3000, failures={"http_500": 0.02}))
    found = rows_of(as_json(compare([run], [run])))
    summary = run.judgement.summary["metrics"]
    for name in set(SUMS) & {row["metric"] for row in found.values()}:
        value = summary[name]["value"]
        shown = found[f"{name} value"]["base"]
        assert shown == (pytest.approx(value, rel=0.03) if value is not None else None)
    assert found["ttft_s p50"]["base"] == pytest.approx(summary["ttft_s"]["p50"])


def test_a_quantile_of_failures_is_undecided() -> None:
    """A P99 that failed requests make infinite is unknown, not worse by infinitely much."""
    blocks = np.arange(2000) * BLOCKS // 2000
    fine = ranked(np.full(2000, 0.1), blocks, 0.99)
    failing = ranked(np.where(np.arange(2000) % 20 == 0, np.inf, 0.1), blocks, 0.99)
    found = difference([fine], [failing], Scale.RELATIVE, 0.95)
    assert math.isnan(found.p)
    assert decide(found, math.nan, 0.05, Scale.RELATIVE, True, 0.95) is Change.UNDECIDED


def test_too_few_values_have_no_interval() -> None:
    """A P99 of 500 values in one run on each side can't be told from chance."""
    rng = np.random.default_rng(1)
    blocks = np.arange(500) * BLOCKS // 500
    one, other = (ranked(rng.lognormal(0, 0.3, 500), blocks, 0.99) for _ in range(2))
    assert math.isnan(difference([one], [other], Scale.RELATIVE, 0.95).low)


def test_runs_that_lie_apart_widen_the_interval() -> None:
    """The wider of the two intervals counts, and says which it was."""
    rng = np.random.default_rng(6)
    blocks = np.arange(1000) * BLOCKS // 1000

    def side(levels: Sequence[float]) -> list[Any]:
        return [ranked(level * rng.lognormal(0, 0.1, 1000), blocks, 0.5) for level in levels]

    apart = difference(side((1.0, 1.3, 0.8)), side((1.0, 1.25, 0.8)), Scale.RELATIVE, 0.95)
    alone = difference(side((1.0,)), side((1.0,)), Scale.RELATIVE, 0.95)
    assert apart.basis is Basis.RUNS
    assert alone.basis is Basis.BLOCKS
    assert apart.high - apart.low > 5 * (alone.high - alone.low)


def test_no_error_in_either_side_leaves_room_for_one() -> None:
    """0 of 500 against 0 of 500 is no proof that errors are as rare: the interval has a width."""
    clean = Sums(np.zeros(BLOCKS), np.full(BLOCKS, 25.0), 500, counts=True)
    found = difference([clean], [clean], Scale.POINTS, 0.95)
    assert found.change == 0
    assert found.low < -0.002 < 0.002 < found.high


@pytest.mark.parametrize(
    ("change", "low", "high", "p", "expected"),
    [
        (0.05, 0.04, 0.06, 0.001, Change.WORSE),
        (-0.05, -0.06, -0.04, 0.001, Change.BETTER),
        (0.01, 0.005, 0.015, 0.001, Change.SAME),  # sure, and too small to matter
        (0.01, -0.04, 0.05, 0.6, Change.SAME),
        (0.01, -0.06, 0.08, 0.8, Change.UNDECIDED),  # too wide
        (0.05, -0.01, 0.11, 0.2, Change.UNDECIDED),  # large, and may be chance
    ],
)
def test_a_result_needs_both_certainty_and_size(
    change: float, low: float, high: float, p: float, expected: Change
) -> None:
    """Worse and better need p and the minimum effect, same needs to exclude twice that."""
    found = Difference(1.0, 1.0, change, low, high, p, Basis.BLOCKS)
    assert decide(found, p, 0.03, Scale.RELATIVE, True, 0.95) is expected


def test_a_profile_says_what_is_compared(tmp_path: Path) -> None:
    """A profile's `compare` replaces the defaults; a statistic without samples is refused."""
    text = (
        "name: p\ntitle: {zh: a, en: a}\ncompare:\n  - {metric: %s, statistic: %s, "
        "minimum_effect: 0.02}\n"
    )
    path = tmp_path / "p.yaml"
    path.write_text(text % ("e2e_s", "p90"))
    assert [each.metric for each in load_profile(path).compare] == ["e2e_s"]
    for metric, statistic in (("itl_s", "p99"), ("ttft_s", "max"), ("recovery_s", "value")):
        path.write_text(text % (metric, statistic))
        with pytest.raises(ConfigError):
            load_profile(path)


def test_junit_fails_what_is_worse_and_skips_what_is_open(
    sides: tuple[list[JudgedRun], list[JudgedRun]],
) -> None:
    """Each metric is a test case: worse is a failure, undecided and none are skipped."""
    found = as_json(compare(*sides))
    suite = ElementTree.fromstring(junit("compare", found))[0]
    by_result = {row["result"] for row in found["metrics"]}
    assert {"worse", "same", "none"} <= by_result
    for case, row in zip(suite, found["metrics"], strict=True):
        expected = {"worse": ["failure"], "same": [], "better": []}
        tags = [child.tag for child in case]
        assert tags == expected.get(row["result"], ["skipped"])


def test_markdown_shows_every_metric(sides: tuple[list[JudgedRun], list[JudgedRun]]) -> None:
    """The summary for a merge request has a row for each metric and the verdict in its title."""
    found = as_json(compare(*sides))
    text = markdown(found, "Performance")
    assert "Performance: worse" in text.splitlines()[0]
    assert all(f"`{row['metric']}`" in text for row in found["metrics"])


def test_a_comparison_is_json_and_the_same_each_time(
    sides: tuple[list[JudgedRun], list[JudgedRun]],
) -> None:
    """The same runs give the same bytes, without NaN."""
    texts = {json.dumps(as_json(compare(*sides)), allow_nan=False) for _ in range(2)}
    assert len(texts) == 1
