"""Alert rules of profiles: what they say, and that Prometheus takes them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bench.cli.profiles import command
from bench.errors import UsageError
from bench.judge.alerts import alert_rules
from bench.judge.profile import Limit, Profile, Words, load_profile, shipped_profiles
from bench.servers.families import FAMILIES, family_named
from bench.servers.family import Exposed

TITLE = Words(zh="词", en="word")


def profile_of(*limits: tuple[str, str, float]) -> Profile:
    return Profile(
        name="p",
        title=TITLE,
        limits=tuple(
            Limit(metric=metric, statistic=statistic, bound=bound, level="alert", source="§0")
            for metric, statistic, bound in limits
        ),
    )


def expressions(profile: Profile, family: str = "vllm") -> list[str]:
    groups = alert_rules(profile, family_named(family)).document["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(
    ("limit", "expression"),
    [
        (
            ("ttft_s", "p99", 0.5),
            "histogram_quantile(0.99, sum by (le) "
            "(rate(vllm:time_to_first_token_seconds_bucket[5m]))) > 0.5",
        ),
        (
            ("e2e_s", "mean", 2.0),
            "sum(rate(vllm:e2e_request_latency_seconds_sum[5m])) / "
            "sum(rate(vllm:e2e_request_latency_seconds_count[5m])) > 2",
        ),
        (("kv_usage_max_fraction", "value", 0.95), "max(vllm:kv_cache_usage_perc) > 0.95"),
        (("output_tps", "value", 1000), "sum(rate(vllm:generation_tokens_total[5m])) < 1000"),
    ],
)
def test_a_limit_as_a_condition(limit: tuple[str, str, float], expression: str) -> None:
    """A latency fires above its bound, a throughput below it."""
    assert expressions(profile_of(limit)) == [expression]


def test_a_server_that_counts_in_another_unit_is_held_against_its_own() -> None:
    """Milliseconds and percent: the bound of a histogram and the value of a gauge are converted."""
    series = {
        "ttft_s": (Exposed("x_ttft_ms", scale=1e-3),),
        "kv_usage_fraction": (Exposed("x_kv_percent", scale=0.01),),
    }
    family = replace(family_named("vllm"), series=series)
    limits = profile_of(("ttft_s", "mean", 0.5), ("kv_usage_max_fraction", "value", 0.95))
    groups = alert_rules(limits, family).document["groups"]
    latency, usage = (rule["expr"] for group in groups for rule in group["rules"])
    assert latency.endswith(" > 500")
    assert usage == "max(x_kv_percent) * 0.01 > 0.95"


def test_targets_are_no_alerts() -> None:
    """Only limits of the level `alert` become rules."""
    profile = load_profile("cluster-small")
    alerts = [limit for limit in profile.limits if limit.level == "alert"]
    rules = alert_rules(profile, family_named("vllm"))
    assert rules.count == len(alerts) < len(profile.limits)


def test_what_a_family_does_not_expose_is_left_out_and_said() -> None:
    """Nothing is dropped silently: the file names it too."""
    rules = alert_rules(profile_of(("ttft_s", "p99", 0.5)), family_named("openai"))
    assert rules.count == 0
    assert list(rules.left_out) == ["ttft_s p99"]
    assert "# left out: ttft_s p99" in rules.as_yaml()


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_promtool_takes_the_rules(family: str, tmp_path: Path) -> None:
    """Every rule of every shipped profile is valid under `promtool check rules`."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    merged: dict[str, list[object]] = {"groups": []}
    for name in shipped_profiles():
        rules = alert_rules(load_profile(name), family_named(family))
        merged["groups"] += yaml.safe_load(rules.as_yaml())["groups"]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(merged, allow_unicode=True), encoding="utf-8")
    done = subprocess.run(
        [promtool, "check", "rules", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_shipped_profile_alone_is_a_rules_file(tmp_path: Path) -> None:
    """What `bench profiles alerts PROFILE` prints passes promtool for each that has an alert."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    made = []
    for name in shipped_profiles():
        found = CliRunner().invoke(command, ["alerts", name])
        if any(limit.level == "alert" for limit in load_profile(name).limits):
            assert found.exit_code == 0, found.output
            path = tmp_path / f"{name}.yml"
            path.write_text(found.stdout, encoding="utf-8")
            made.append(path)
        else:
            assert isinstance(found.exception, UsageError)
    done = subprocess.run(
        [promtool, "check", "rules", *made], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(made) > 3
