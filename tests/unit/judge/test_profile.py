"""Profiles: what is refused before a run, and how one extends another."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.judge.metrics import METRICS
from bench.judge.profile import load_profile, profile_of, quantile_of, shipped_profiles

_HEAD = "name: mine\ntitle: {zh: 我, en: mine}\n"


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(_HEAD + text)
    return path


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_can_be_judged(name: str) -> None:
    """It loads, is named like its file, and each limit names its source and a direction."""
    profile = load_profile(name)
    assert profile.name == name
    assert profile.limits or profile.references
    for limit in profile.limits:
        assert limit.source
        assert METRICS[limit.metric].direction in ("lower", "higher")


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("{metric: tfft_s, statistic: p99, bound: 1}", 'did you mean "ttft_s"?'),
        ("{metric: ttft_s, statistic: value, bound: 1}", "expected statistic p50"),
        ("{metric: request_rps, statistic: p99, bound: 1}", "expected statistic value"),
        ("{metric: ttft_s, statistic: p99, bound: 0}", "expected a bound above 0"),
        ("{metric: ttft_s, statistic: p99, bound: -1}", "expected a bound above 0"),
        ("{metric: error_rate, statistic: value, bound: 0}", "no number of requests can show"),
        ("{metric: availability, statistic: value, bound: 1}", "no number of requests can show"),
        ("{metric: offered_rps, statistic: value, bound: 5}", "no better or worse"),
        ("{metric: fluidity, statistic: p01, bound: 1.5}", "at most 1"),
        ("{metric: ttft_s, statistic: p99, bound: 1, levl: alert}", "unknown field"),
    ],
)
def test_an_impossible_limit_is_refused_with_its_line(
    tmp_path: Path, limit: str, says: str
) -> None:
    """The error names file, line and what would have been right."""
    text = f"limits:\n  - {limit[:-1]}, source: §1}}\n"
    with pytest.raises(ConfigError) as wrong:
        load_profile(written(tmp_path, text))
    assert "mine.yaml:4" in wrong.value.message
    assert says in f"{wrong.value.message} {wrong.value.hint}"


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("{metric: max_goodput_rps, statistic: value, bound: 5, source: §1}", "several runs"),
        ("{metric: goodput_rps, statistic: value, bound: 5, source: §1}", "no `good` limits"),
        ("{metric: fluidity, statistic: p50, bound: 0.9, source: §1}", "deadlines"),
        ("{metric: client_queue_s, statistic: p50, bound: 0.9, source: §1}", "no request ever"),
    ],
)
def test_a_limit_that_can_never_have_samples_is_refused(
    tmp_path: Path, limit: str, says: str
) -> None:
    """Better before the run than an undecided verdict after it."""
    with pytest.raises(ConfigError, match="can never be decided") as wrong:
        load_profile(written(tmp_path, f"limits:\n  - {limit}\n"))
    assert says in wrong.value.message


def test_good_limits_are_of_single_requests(tmp_path: Path) -> None:
    """A rate is no property of one request."""
    text = "good:\n  limits:\n    - {metric: request_rps, bound: 5}\n"
    with pytest.raises(ConfigError, match="no value of its own for each request"):
        load_profile(written(tmp_path, text))


def test_a_child_replaces_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    """A limit of the same metric, statistic and level is overridden; others and fields stay."""
    written(
        tmp_path,
        "confidence: 0.9\nlimits:\n"
        "  - {metric: ttft_s, statistic: p99, bound: 1.0, source: §1}\n"
        "  - {metric: ttft_s, statistic: p99, bound: 2.0, level: alert, source: §1}\n"
        "  - {metric: tpot_s, statistic: p99, bound: 0.1, source: §1}\n",
        "parent.yaml",
    )
    child = written(
        tmp_path,
        "extends: parent\nlimits:\n  - {metric: ttft_s, statistic: p99, bound: 0.5, source: §2}\n",
    )
    profile = load_profile(child)
    bounds = {limit.key: limit.bound for limit in profile.limits}
    assert bounds == {
        ("ttft_s", "p99", "target"): 0.5,
        ("ttft_s", "p99", "alert"): 2.0,
        ("tpot_s", "p99", "target"): 0.1,
    }
    assert (profile.name, profile.confidence) == ("mine", 0.9)


def test_profiles_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    """A circle of `extends` is an error and not a hang."""
    written(tmp_path, "extends: mine\n", "other.yaml")
    with pytest.raises(ConfigError, match="goes round"):
        load_profile(written(tmp_path, "extends: other\n"))


def test_an_unknown_profile_names_the_nearest() -> None:
    """`-p realtime` is answered with realtime-chat."""
    with pytest.raises(ConfigError) as wrong:
        load_profile("realtime-cht")
    assert "realtime-chat" in wrong.value.hint


def test_percentiles_have_as_many_digits_as_needed() -> None:
    """p50, p995, p9999 and p01 are percentiles; p5, p and mean are not."""
    names = ("p50", "p99", "p995", "p9999", "p01", "p5", "p", "mean")
    assert [quantile_of(name) for name in names] == [
        0.5, 0.99, 0.995, 0.9999, 0.01, None, None, None,
    ]  # fmt: skip


def test_a_manifest_gives_its_profile_back() -> None:
    """A profile written into a manifest as JSON is the same profile when it is read."""
    profile = load_profile("realtime-chat")
    assert profile_of({"profile": profile.model_dump(mode="json")}) == profile
    assert profile_of({"profile": None}) is None
    with pytest.raises(ConfigError, match="own profile can't be read"):
        profile_of({"profile": {"name": "x"}})


CHILD = """
name: cheaper
title: {zh: 便宜, en: Cheaper}
extends: online-inference
currency: CNY
"""
OWN_COSTS = """
limits: [{metric: cost_per_request, statistic: value, bound: 0.07, source: contract}]
score:
  scenario: online-inference
  metrics: [{dimension: cost, metric: cost_per_request, statistic: value, target: 0.07,
             worst: 0.14, source: contract}]
"""


def test_a_bound_is_not_read_in_another_currency(tmp_path: Path) -> None:
    """0.01 dollars inherited are not 0.01 yuan: given again they are."""
    path = tmp_path / "cheaper.yaml"
    path.write_text(CHILD, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"counts in CNY.*cost_per_request is in USD"):
        load_profile(path)
    path.write_text(CHILD + OWN_COSTS, encoding="utf-8")
    assert load_profile(path).unit_of("cost_per_request") == "CNY"
    assert load_profile("online-inference").unit_of("cost_per_request") == "USD"
    assert load_profile("online-inference").unit_of("e2e_s") == "s"


def test_an_older_manifest_had_the_currency_with_its_prices() -> None:
    """It is read as this release has it."""
    profile = load_profile("batch").model_dump(mode="json")
    del profile["currency"]
    prices = {"accelerators": 1, "per_accelerator_hour": 2.0, "currency": "EUR"}
    found = profile_of({"profile": {**profile, "prices": prices}})
    assert found is not None
    assert found.currency == "EUR"
    assert found.prices is not None and found.prices.per_accelerator_hour == 2.0
