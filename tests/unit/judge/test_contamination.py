"""Hits that a run can't have made itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.judge.judgement import judge

Make = Callable[..., Any]


def workload(hit_tokens: int | None = 0, salt: str | None = "abc", overhead: int = 0) -> Any:
    """A manifest whose first turns may hit `hit_tokens` of 400."""
    ceiling = {"first_turn_input_tokens": 400, "first_turn_hit_tokens": hit_tokens}
    prompts = {"overhead_tokens": overhead}
    return {"workload": {"ceiling": ceiling, "salt": salt, "prompts": prompts}}


@pytest.fixture
def judged(hand_run: Make, ok_row: Make) -> Make:
    """4 first turns of 100 prompt tokens with these cached, and 4 later turns all cached."""

    def make(cached: list[int], manifest: Any) -> Any:
        rows = [
            ok_row(float(at_s), prompt_tokens=100, cached_tokens=tokens)
            for at_s, tokens in enumerate(cached)
        ]
        rows += [
            ok_row(at_s + 0.5, prompt_tokens=100, cached_tokens=96, turn=1) for at_s in range(4)
        ]
        return judge(hand_run(rows, manifest=manifest))

    return make


def rule(judgement: Any) -> dict[str, Any]:
    (found,) = [row for row in judgement.verdict["validity"] if row["rule"] == "cache_excess"]
    return dict(found)


def guard(judgement: Any) -> dict[str, Any]:
    return dict(judgement.summary["reconciliation"]["contamination"])


def test_hits_under_the_ceiling_are_fine(judged: Make) -> None:
    """Later turns hit what their session made; only first turns are looked at."""
    found = judged([0, 25, 25, 25], workload(80))
    assert guard(found)["first_turn_hit_fraction"] == pytest.approx(0.1875)
    assert guard(found)["first_turn_ceiling_fraction"] == 0.2
    assert guard(found)["result"] == rule(found)["result"] == "ok"


def test_a_little_too_much_is_a_warning(judged: Make) -> None:
    """3 % above the ceiling are remarked on, and the run stays valid."""
    found = judged([12, 0, 0, 0], workload(0))
    assert guard(found)["result"] == "warning"
    assert rule(found)["result"] == "ok"


def test_a_warm_cache_makes_a_run_not_valid(judged: Make) -> None:
    """First turns that all hit were in the cache before the run."""
    found = judged([96, 96, 96, 96], workload(0))
    assert rule(found)["result"] == "violated"
    assert rule(found)["value"] == pytest.approx(0.96)
    assert found.verdict["valid"] is False


def test_the_template_may_hit(judged: Make) -> None:
    """What the server puts in front of every prompt is no contamination."""
    assert guard(judged([0, 16, 16, 16], workload(0, overhead=16)))["excess_fraction"] == 0
    assert guard(judged([0, 16, 16, 16], workload(0)))["excess_fraction"] > 0.1


def test_a_run_that_keeps_the_cache_is_not_judged_by_it(judged: Make) -> None:
    """Without a salt a warm cache is what was asked for."""
    found = judged([96, 96, 96, 96], workload(0, salt=None))
    assert guard(found)["result"] == "unsalted"
    assert rule(found)["result"] == "unknown"


@pytest.mark.parametrize("manifest", [{}, workload(None)])
def test_without_a_ceiling_it_is_unknown(judged: Make, manifest: Any) -> None:
    """A plan of text, or a run without a plan, has no ceiling: nothing is proven."""
    found = judged([96, 96, 96, 96], manifest)
    assert guard(found)["result"] == rule(found)["result"] == "unknown"
