"""Judged runs for the tests of the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.judge.judgement import judge
from bench.judge.profile import Good, GoodLimit, Limit, Profile
from bench.judge.profile import Words as Title
from bench.record.frame import open_run
from bench.report.evidence import Evidence
from bench.report.words import Words


@pytest.fixture(scope="session")
def profile() -> Profile:
    """Limits of every kind: percentile, mean, rate, share, one that nothing was measured for."""
    limits = (
        ("ttft_s", "p50", 0.2, "target"),
        ("ttft_s", "p50", 0.05, "excellent"),
        ("tpot_s", "mean", 0.05, "target"),
        ("itl_s", "p99", 0.02, "target"),
        ("request_rps", "value", 500.0, "target"),
        ("error_rate", "value", 0.5, "alert"),
        ("energy_per_token_j", "value", 5.0, "target"),
    )
    return Profile(
        name="test",
        title=Title(zh="测试配置", en="Test profile"),
        limits=tuple(
            Limit(metric=metric, statistic=statistic, bound=bound, level=level, source="§5.3.2")
            for metric, statistic, bound, level in limits
        ),
        good=Good(
            limits=(
                GoodLimit(metric="ttft_s", bound=0.08),
                GoodLimit(metric="tpot_s", bound=0.0205),
            )
        ),
    )


@pytest.fixture
def evidence_of(synthetic_run: Callable[..., Path], profile: Profile) -> Callable[..., Evidence]:
    """`evidence_of(language, judged_by, change, **fields)`: a synthetic run, judged.

    `change` is called with the opened run before it is judged.
    """

    def make(
        language: str = "en",
        judged_by: Profile | None = profile,
        change: Callable[[Any], None] | None = None,
        **fields: Any,
    ) -> Evidence:
        given = {"requests": 120, "tokens_per_request": 12, "rate_rps": 40.0, **fields}
        run = open_run(synthetic_run(f"run-{language}", **given))
        if change:
            change(run)
        return Evidence(run, judge(run, judged_by), Words(language))

    return make
