"""The table, the profiles and the scores against the metric system that they come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.judge.metrics import METRICS
from bench.judge.profile import Profile, load_profile, shipped_profiles
from bench.judge.score_weights import DIMENSIONS

SPECIFICATION = Path(__file__).parents[3] / "../shared/metric-system.md"
FIELDS = {"good", "cached_tokens", "prompt_tokens", "iteration_tokens", "num_requests_running"}
"""What formulas name, and what is no metric."""

RESOURCES = {
    "device_utilization_fraction", "device_memory_fraction", "power_w", "device_temperature_c",
    "kv_usage_fraction", "host_cpu_fraction", "host_memory_fraction", "network_fraction",
    "offered_rps", "achieved_rps", "batch_size_requests",
}  # fmt: skip
"""What §3 and §6 of the specification ask for in words."""

PLAIN = {
    "base", "online-inference", "batch", "realtime-chat", "content-creation", "code-assistant",
    "rag", "multimodal", "edge", "cluster-small", "cluster-medium", "cluster-large", "test-plan",
    "deepseek-v3-h20", "qwen2-vl-7b-800i-a2", "llama3-8b-a100",
}  # fmt: skip
"""The profiles of §8 by name; `mlperf-*` and `distserve-*` are families."""


@pytest.fixture(scope="module")
def specification() -> str:
    if not SPECIFICATION.exists():
        pytest.skip("the specification (shared/metric-system.md) is not beside this checkout")
    return SPECIFICATION.read_text(encoding="utf-8")


def test_every_metric_of_the_specification_is_a_row(specification: str) -> None:
    """Each name that §2 to §6 write as code is in the table, but for fields of formulas."""
    part = specification[specification.index("\n## 2.") : specification.index("\n## 7.")]
    named = set(re.findall(r"`([a-z][a-z0-9_]*)`", part)) - FIELDS
    assert len(named) > 30
    assert named - METRICS.keys() == set()


def test_what_the_specification_says_in_words_is_a_row() -> None:
    """Resources, both rates and the batch."""
    assert RESOURCES - METRICS.keys() == set()


def test_every_profile_of_the_specification_is_shipped(specification: str) -> None:
    """§8 row by row, and both families."""
    part = specification[specification.index("\n## 8.") : specification.index("\n## 9.")]
    rows = re.findall(r"^\| (`[^|]*) \|", part, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z0-9][a-z0-9.-]*)`", row)}
    assert named <= PLAIN | {"cluster-small"}
    shipped = set(shipped_profiles())
    assert named | PLAIN <= shipped
    for family in ("mlperf-", "distserve-"):
        assert [name for name in shipped if name.startswith(family)]


@pytest.mark.parametrize("name", shipped_profiles())
def test_a_limit_names_its_section(name: str) -> None:
    """Every limit, score and good set of a shipped profile says where it comes from."""
    profile = load_profile(name)
    sources = [limit.source for limit in profile.limits]
    sources += [each.source for each in (profile.score.metrics if profile.score else ())]
    sources += [profile.good.source] if profile.good else []
    place = re.compile(r"§\d|bench demo|MLPerf|DistServe|v\d", re.IGNORECASE)
    assert [source for source in sources if not place.search(source)] == []


SCORED = {
    "realtime-chat": set(),
    "batch": set(),
    "online-inference": set(),
    "edge": {"throughput"},
}
"""Profiles of the scenarios of §7, and the dimensions that the documents give nothing for."""


@pytest.mark.parametrize("name", SCORED)
def test_a_scenario_of_the_composite_score_has_one(name: str) -> None:
    """Each dimension has a metric, but for those that the documents leave open."""
    score = load_profile(name).score
    assert score is not None and score.scenario == name
    assert DIMENSIONS.keys() - {each.dimension for each in score.metrics} == SCORED[name]


RULES = {"lower": 2.0, "higher": 0.5}


@pytest.mark.parametrize("name", SCORED)
def test_a_worst_bound_that_is_not_the_documents_follows_the_rule(name: str) -> None:
    """Twice a latency or cost, half a throughput, ten times the unavailability."""
    profile = load_profile(name)
    assert profile.score is not None
    for each in profile.score.metrics:
        if not each.source.endswith("worst: rule"):
            continue
        if each.dimension == "availability":
            assert 1 - each.worst == pytest.approx(10 * (1 - each.target))
        else:
            assert each.worst == RULES[METRICS[each.metric].direction] * each.target


def test_only_these_scenarios_are_scored() -> None:
    """A score under the weights of another scenario would be a number without a source."""

    def scored(profile: Profile) -> bool:
        return profile.score is not None

    assert {name for name in shipped_profiles() if scored(load_profile(name))} == set(SCORED)
