"""Nights: measured, held against a baseline, kept, pinned, accepted, published."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.errors import ConfigError, UsageError
from bench.judge.compare import JudgedRun
from bench.judge.compare_nights import compare_nights
from bench.judge.judgement import judge
from bench.judge.profile import Compared
from bench.nightly.baselines import baseline_for, pin, pinned_baselines, read_pinned
from bench.nightly.config import Nightly, load_nightly
from bench.nightly.nights import Night, Round, accept, read_nights, write_night
from bench.nightly.publish import publish
from bench.nightly.rounds import failed_objectives, night_of_runs
from bench.nightly.series import series_of
from bench.record.frame import open_run

MakeRun = Callable[..., Path]
CONDITIONS = {"recipe": "r", "model": "m"}
ROW = {
    "metric": "ttft_s", "statistic": "p50", "minimum_effect": 0.03, "scale": "relative",
    "title": {"zh": "首", "en": "TTFT"}, "unit": "s", "direction": "lower", "base": 0.05,
    "new": 0.05, "change": 0.0, "low": -0.01, "high": 0.01, "difference": 0.0, "p": 1.0,
    "p_adjusted": 1.0, "basis": "nights", "result": "same", "advice": None,
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Nightly:
    path = tmp_path / "nightly.yaml"
    path.write_text("name: n\ntarget: {url: 'http://127.0.0.1:1'}\nworkload: chat\nlang: en\n")
    return load_nightly(path)


def night(day: int, ttft_s: float = 0.05, **fields: Any) -> Night:
    """An accepted night of five rounds around a TTFT."""
    rounds = np.random.default_rng(day).normal(ttft_s, 0.0002, 5)
    change = {
        "verdict": "same", "base": ["a"], "new": ["b"], "confidence": 0.95, "metrics": [ROW],
        "pairs": [], "unlike": [], "invalid": [], "notes": [],
        "noise_floor": {"ttft_s p50": {"error": 0.004, "degrees": 9, "differences": 5}},
    }  # fmt: skip
    made = Night(
        id=f"202601{day:02d}T020000Z",
        label=f"v{day}",
        server="vLLM 1",
        conditions=CONDITIONS,
        rounds=tuple(Round(f"r{k}", True, "none") for k in range(5)),
        values={"ttft_s p50": tuple(rounds.tolist())},
        change=change,
        accepted=True,
    )
    return replace(made, **fields)


def rounds(
    make: MakeRun, day: int, ttft_s: float = 0.05, n: int = 3, **spec: Any
) -> list[JudgedRun]:
    """Rounds of one night as judged runs."""
    runs = []
    for k in range(n):
        name = f"202601{day:02d}T020{k}00Z-x-000{k}"
        path = make(name, requests=1500, seed=100 * day + k, ttft_s=(ttft_s, 0.2), **spec)
        run = open_run(path)
        runs.append(JudgedRun(path.name, run.manifest, judge(run)))
    return runs


def test_the_first_night_has_nothing_to_be_held_against(
    synthetic_run: MakeRun, config: Nightly
) -> None:
    """The first night is neither a pass nor a fail, and becomes the baseline."""
    first = night_of_runs(rounds(synthetic_run, 1), [], config, None)
    assert first.verdict == "none"
    assert first.accepted
    assert first.id == "20260101T020000Z"
    assert len(first.values["ttft_s p50"]) == 3


def test_a_slow_night_is_worse_and_not_accepted(synthetic_run: MakeRun, config: Nightly) -> None:
    """A night with a TTFT 30 % longer is worse, and no baseline for the next."""
    earlier = [night_of_runs(rounds(synthetic_run, day), [], config, None) for day in (1, 2, 3)]
    slow = night_of_runs(rounds(synthetic_run, 4, ttft_s=0.065), earlier, config, None)
    row = slow.change["metrics"][0]
    assert slow.verdict == "worse"
    assert not slow.accepted
    assert row["basis"] == "nights"
    assert row["low"] < 0.30 < row["high"]


def test_a_night_of_invalid_rounds_is_undecided(synthetic_run: MakeRun, config: Nightly) -> None:
    """Rounds that can't be trusted are left out by name; without two there is no verdict."""
    first = night_of_runs(rounds(synthetic_run, 1), [], config, None)
    late = night_of_runs(rounds(synthetic_run, 2, lag_s=0.05), [first], config, None)
    assert (late.verdict, late.accepted, late.values) == ("undecided", False, {})
    assert any("not valid" in text["en"] for text in late.change["notes"])
    assert late.rounds[0].reasons


def test_a_better_night_starts_a_new_level(synthetic_run: MakeRun, config: Nightly) -> None:
    """A night that is better is accepted, and the nights before it are no baseline any more."""
    earlier = [night_of_runs(rounds(synthetic_run, day), [], config, None) for day in (1, 2, 3)]
    fast = night_of_runs(rounds(synthetic_run, 4, ttft_s=0.035), earlier, config, None)
    assert (fast.verdict, fast.accepted, fast.new_level) == ("better", True, True)
    baseline = baseline_for(fast.conditions, [*earlier, fast], config)
    assert [each.id for each in baseline.nights] == [fast.id]


def test_the_rolling_baseline_is_the_last_accepted_nights_that_are_alike(config: Nightly) -> None:
    """Nights that were not accepted, or measured otherwise, are left out."""
    nights = [night(day) for day in range(1, 21)]
    nights[18] = replace(nights[18], accepted=False)
    nights[17] = replace(nights[17], conditions={"recipe": "other", "model": "m"})
    found = baseline_for(CONDITIONS, nights, config)
    assert len(found.nights) == config.baseline.nights == 14
    assert found.nights[-1].id == nights[19].id
    assert {nights[17].id, nights[18].id}.isdisjoint(each.id for each in found.nights)
    assert len(found.history) == 18


def test_conditions_that_change_leave_no_baseline_and_say_so(config: Nightly) -> None:
    """With another recipe the series begins anew, and the difference is named."""
    found = baseline_for({"recipe": "new", "model": "m"}, [night(1), night(2)], config)
    assert found.nights == ()
    assert [each.condition for each in found.unlike] == ["recipe"]


def test_a_night_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Writing and reading a night gives the same night; nights come back in order."""
    for day in (3, 1, 2):
        write_night(tmp_path, night(day))
    assert read_nights(tmp_path) == [night(1), night(2), night(3)]


def test_a_night_of_failures_does_not_end_the_series(tmp_path: Path, config: Nightly) -> None:
    """A quantile that was +∞ is read back as that, and later nights are held against the others."""
    endless = replace(night(2), values={"ttft_s p50": (math.inf, 0.05, math.inf)})
    for each in (night(1), endless, night(3)):
        write_night(tmp_path, each)
    nights = read_nights(tmp_path)
    assert nights[1] == endless
    compared = [Compared(metric="ttft_s", statistic="p50", minimum_effect=0.03)]
    values = [each.as_values for each in nights]
    (row,) = compare_nights(
        values[2], values[:2], values, compared, window=14, confidence=0.95
    ).rows
    assert row.found.base == pytest.approx(0.05, rel=0.01)
    assert len(series_of(nights)[0].values) == 2


def test_a_night_that_fails_its_objectives_is_no_baseline(
    synthetic_run: MakeRun, config: Nightly
) -> None:
    """Where objectives are a gate, what did not pass it is not what later nights are held to."""
    runs = rounds(synthetic_run, 1)
    runs[0].judgement.verdict["verdict"] = "fail"
    assert night_of_runs(runs, [], config, None).accepted
    gate = config.model_copy(update={"objectives": True})
    assert not night_of_runs(runs, [], gate, None).accepted


def test_little_history_is_told(synthetic_run: MakeRun, config: Nightly) -> None:
    """Held against one night, the noise between nights is an assumption, and the night says so."""
    first = night_of_runs(rounds(synthetic_run, 1), [], config, None)
    second = night_of_runs(rounds(synthetic_run, 2), [first], config, None)
    assert any("assumed" in text["en"] for text in second.change["notes"])
    assert not any("assumed" in text["en"] for text in first.change["notes"])


def test_a_file_that_is_no_night_is_named(tmp_path: Path) -> None:
    """A file of another schema or content is an error that names it."""
    (tmp_path / "nights").mkdir()
    for text in ('{"schema": 99}', '{"schema": 1, "rounds": []}', "[1", "[]"):
        (tmp_path / "nights" / "x.json").write_text(text)
        with pytest.raises(UsageError, match=r"x\.json"):
            read_nights(tmp_path)


def test_a_pinned_baseline_stays_what_it_is(config: Nightly) -> None:
    """Pinning keeps the rolling baseline in a file; later nights don't change it."""
    for day in range(1, 6):
        write_night(config.path, night(day))
    path = pin(config, "release-1")
    write_night(config.path, night(6))
    assert path == config.baselines_path / "release-1.json"
    assert [each.name for each in pinned_baselines(config)] == ["release-1"]
    assert [each.id for each in read_pinned(config, "release-1").nights] == [
        night(day).id for day in range(1, 6)
    ]
    fixed = config.model_copy(update={"baseline": config.baseline.model_copy(
        update={"pinned": "release-1"})})  # fmt: skip
    found = baseline_for(CONDITIONS, read_nights(config.path), fixed)
    assert len(found.nights) == 5
    assert found.pinned == "release-1"


def test_pinning_chosen_nights(config: Nightly) -> None:
    """Named nights are pinned; an unknown one, unlike ones and a bad name are refused."""
    for day in (1, 2):
        write_night(config.path, night(day))
    write_night(config.path, night(3, conditions={"recipe": "other"}))
    assert pin(config, "one", [night(2).id]).exists()
    assert [each.id for each in read_pinned(config, "one").nights] == [night(2).id]
    for name, ids in (("x", ["nope"]), ("x", [night(1).id, night(3).id]), ("../x", [])):
        with pytest.raises(UsageError):
            pin(config, name, ids)
    with pytest.raises(UsageError, match="no baseline"):
        read_pinned(config, "absent")


def test_an_accepted_night_is_the_new_level(config: Nightly) -> None:
    """After `accept` a night that was worse is what later ones are held against."""
    write_night(config.path, night(1))
    write_night(config.path, night(2, 0.07, accepted=False))
    accept(config.path, night(2).id)
    found = baseline_for(CONDITIONS, read_nights(config.path), config)
    assert [each.id for each in found.nights] == [night(2).id]
    with pytest.raises(UsageError, match="no night"):
        accept(config.path, "x")


def test_a_series_says_which_night_changed_its_level(config: Nightly) -> None:
    """A level that moves by 20 % in night 13 is found in night 13, with both levels."""
    nights = [night(day, 0.05 if day < 13 else 0.06) for day in range(1, 25)]
    (series,) = series_of(nights)
    (change,) = series.changes
    assert (change.night, change.label) == (night(13).id, "v13")
    assert change.after / change.before == pytest.approx(1.2, abs=0.01)
    assert change.shown.startswith("+")


def test_publishing_writes_what_ci_reads(config: Nightly) -> None:
    """latest/ holds the night, JUnit and Markdown; the index names every night."""
    nights = [night(day, 0.05 if day < 13 else 0.06) for day in range(1, 25)]
    for each in nights:
        write_night(config.path, each)
    index = publish(config, nights[-1])
    latest = config.path / "latest"
    cases = ElementTree.parse(latest / "junit.xml").getroot()[0]
    assert [case.get("name") for case in cases] == ["ttft_s p50"]
    assert night(13).id in (latest / "summary.md").read_text()
    page = index.read_text()
    assert all(each.label in page for each in nights)
    assert "2026-01-13 02:00 v13" in page


def test_rounds_that_fail_their_profile_are_counted() -> None:
    """A round's own verdict is kept beside the comparison."""
    failed = replace(night(1), rounds=(Round("a", True, "fail"), Round("b", True, "pass")))
    assert failed_objectives(failed) == ["a"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("rounds: 1", "rounds"),
        ("round: 5", "unknown field"),
        ("baseline: {night: 3}", "unknown field"),
        ("name: 'a b'", "name"),
    ],
)
def test_a_wrong_configuration_is_named_by_field(tmp_path: Path, text: str, wrong: str) -> None:
    """A mistake in nightly.yaml is told with file, line and field."""
    fields: Mapping[str, str] = {
        "name": "name: n", "target": "target: {url: 'http://x'}", "workload": "workload: chat",
    }  # fmt: skip
    lines = [line for name, line in fields.items() if not text.startswith(f"{name}:")]
    path = tmp_path / "nightly.yaml"
    path.write_text("\n".join([*lines, text]) + "\n")
    with pytest.raises(ConfigError, match=wrong) as error:
        load_nightly(path)
    assert "nightly.yaml:" in error.value.message
