"""Checks on runs, pairs, the peak: each on run folders whose distributions are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.accept.settings import Settings
from bench.judge.checklist_result import Finding
from bench.judge.verdict import Result

Ask = Callable[..., Finding]
Make = Callable[..., Path]
PASS, FAIL, UNDECIDED = Result.PASS, Result.FAIL, Result.UNDECIDED


def limit(metric: str, statistic: str, bound: float) -> dict[str, Any]:
    return {"scenario": "s", "metric": metric, "statistic": statistic, "bound": bound}


@pytest.mark.parametrize(("bound", "result"), [(1.0, PASS), (0.01, FAIL), (0.1, UNDECIDED)])
def test_limit_is_judged_as_a_profile_judges(
    ask: Ask, synthetic_run: Make, bound: float, result: Result
) -> None:
    """With TTFT's 99th percentile at about 0.1 s: beyond doubt, beyond doubt not, in doubt."""
    run = synthetic_run(requests=400)
    found = ask("limit", limit("ttft_s", "p99", bound), records={"scenario:s": [run]})
    assert found.result is result
    assert found.n == 400
    assert found.links == (str(run),)


def test_limit_takes_the_worst_of_several_runs(ask: Ask, synthetic_run: Make) -> None:
    """One slow repeat fails the part, and is the one that is linked."""
    runs = [synthetic_run("a", requests=300), synthetic_run("b", requests=300, ttft_s=(2.0, 0.1))]
    found = ask("limit", limit("ttft_s", "p50", 0.5), records={"scenario:s": runs})
    assert (found.result, found.links) == (FAIL, (str(runs[1]),))


def test_a_run_that_is_not_valid_decides_nothing(ask: Ask, synthetic_run: Make) -> None:
    """A killed run is named with the rules it breaks."""
    found = ask(
        "limit", limit("ttft_s", "p50", 9.0), records={"scenario:s": [synthetic_run(killed=True)]}
    )
    assert found.result is UNDECIDED
    assert "ended" in found.text.en


def test_without_runs_it_is_undecided(ask: Ask) -> None:
    """What was never made is no pass."""
    found = ask("limit", limit("ttft_s", "p50", 9.0))
    assert found.result is UNDECIDED
    assert "Not made yet" in found.text.en


def test_errors_are_counted_by_class(ask: Ask, synthetic_run: Make) -> None:
    """Timeouts are found among other failures; none is a pass."""
    records = {"scenario:s": [synthetic_run(requests=500, failures={"total_timeout": 0.02})]}
    asked = {"scenario": "s", "error_class": "timeout"}
    found = ask("no_errors", asked, records=records)
    assert found.result is FAIL
    assert found.value is not None and found.value > 0
    other = ask("no_errors", {"scenario": "s", "error_class": "http_503"}, records=records)
    assert (other.result, other.value, other.n) == (PASS, 0, 500)


@pytest.mark.parametrize(
    ("failures", "result"), [({"http_503": 0.2}, FAIL), ({}, UNDECIDED)], ids=["some", "none"]
)
def test_errors_condemn_a_run_that_is_not_valid(
    ask: Ask, synthetic_run: Make, failures: dict[str, float], result: Result
) -> None:
    """What was seen was seen; that nothing was seen says nothing."""
    run = synthetic_run(requests=300, failures=failures, killed=True)
    found = ask(
        "no_errors", {"scenario": "s", "error_class": "http_503"}, records={"scenario:s": [run]}
    )
    assert found.result is result


def test_meets_profile_repeats_the_verdict(ask: Ask, synthetic_run: Make) -> None:
    """A run that misses the profile fails, and says which targets."""
    runs = [synthetic_run(requests=500, ttft_s=(3.0, 0.1))]
    found = ask("meets_profile", {"scenario": "s"}, records={"scenario:s": runs})
    assert found.result is FAIL
    assert "ttft_s" in found.text.en


def test_spread_is_over_repeats(ask: Ask, synthetic_run: Make) -> None:
    """Equal repeats vary little, one twice as slow makes them vary much; one alone can't tell."""
    asked = {"scenario": "s", "metric": "e2e_s", "statistic": "p50", "bound": 0.1}
    alike = [synthetic_run(f"a{seed}", seed=seed, requests=300) for seed in (1, 2, 3)]
    slow = synthetic_run("slow", itl_s=(0.04, 0.2), requests=300)
    assert ask("spread", asked, records={"scenario:s": alike}).result is PASS
    assert ask("spread", asked, records={"scenario:s": [*alike[:2], slow]}).result is FAIL
    assert ask("spread", asked, records={"scenario:s": alike[:1]}).result is UNDECIDED


def change(metric: str, statistic: str, **bound: float) -> dict[str, Any]:
    return {"scenario": "s", "metric": metric, "statistic": statistic, **bound}


def test_change_needs_every_round(ask: Ask, synthetic_run: Make) -> None:
    """All rounds meet it: pass; none: fail; some: undecided."""
    before = synthetic_run("before", itl_s=(0.04, 0.1), requests=300)
    after = synthetic_run("after", itl_s=(0.02, 0.1), requests=300)
    asked = change("e2e_s", "p50", at_most=-0.15)

    def result(*rounds: tuple[Path, Path]) -> Result:
        pairs = [[str(b), str(a)] for b, a in rounds]
        return ask("change", asked, records={"scenario:s": {"rounds": pairs}}).result

    assert result((before, after), (before, after)) is PASS
    assert result((before, before), (after, before)) is FAIL
    assert result((before, after), (before, before)) is UNDECIDED
    assert result((before, after)) is UNDECIDED, "one round shows no effect that comes back"


def test_a_pair_is_of_one_load(ask: Ask, synthetic_run: Make) -> None:
    """Half the tokens asked for is no speed-up; another model may be one."""
    before, after = synthetic_run("before", requests=300), synthetic_run("after", requests=300)
    asked = change("output_tps", "value", at_least=-0.5)
    records = {"scenario:s": {"rounds": [[str(before), str(after)]] * 2}}

    def found(**changed: tuple[str, str]) -> Finding:
        manifest = json.loads((before / "manifest.json").read_text(encoding="utf-8"))
        for part, (name, value) in changed.items():
            manifest[part][name] = value
        (after / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return ask("change", asked, records=records)

    assert found(target=("model", "sim-int8")).result is PASS
    other = found(workload=("recipe_hash", "0" * 64))
    assert other.result is UNDECIDED and "recipe" in other.text.en and "配方" in other.text.zh


def points(*pairs: tuple[float, bool]) -> dict[str, Any]:
    """Rates that are shown to hold 90 %, or not to."""
    shares = {True: (0.95, 0.9, 0.99), False: (0.5, 0.4, 0.6)}
    names = ("attainment", "low", "high")
    return {
        "points": [
            {"rate_rps": r, "held": h, "wanted": 0.9, **dict(zip(names, shares[h], strict=True))}
            for r, h in pairs
        ]
    }


def test_the_peak_has_two_ends(ask: Ask) -> None:
    """With a rate that held and one that did not it is found; without the second it is open."""
    asked = {"scenario": "s"}
    found = ask("peak_found", asked, records={"scenario:s": points((4, True), (5, False))})
    assert (found.result, found.value, found.low, found.high) == (PASS, 4, 4, 5)
    assert ask("peak_found", asked, records={"scenario:s": points((4, True))}).result is UNDECIDED
    assert ask("peak_found", asked, records={"scenario:s": points((4, False))}).result is UNDECIDED


def test_a_forecast_takes_a_peak_that_was_found(ask: Ask) -> None:
    """Where every rate held, the peak is somewhere above: no forecast of it is right or wrong."""
    asked = {"scenario": "s", "accuracy": 0.85}
    records = {"scenario:s": points((4, True), (8, True))}
    assert ask("forecast", asked, records=records, settings=Settings(forecast_rps=8.0)).result is (
        UNDECIDED
    )


@pytest.mark.parametrize(("said", "result"), [(11.0, PASS), (14.0, FAIL), (None, UNDECIDED)])
def test_forecast_is_held_against_the_peak(ask: Ask, said: float | None, result: Result) -> None:
    """Of a measured 10/s, a forecast of 11 is 90 % accurate and one of 14 is 60 %."""
    found = ask(
        "forecast",
        {"scenario": "s", "accuracy": 0.85},
        records={"scenario:s": points((10, True), (11, False))},
        settings=Settings(forecast_rps=said),
    )
    assert found.result is result


@pytest.mark.parametrize(("model", "result"), [(0.05, PASS), (0.5, FAIL), (None, UNDECIDED)])
def test_expected_is_held_against_the_capacity_model(
    ask: Ask, synthetic_run: Make, model: float | None, result: Result
) -> None:
    """A median TTFT near 0.05 s is as foretold, or not, or nothing was foretold."""
    found = ask(
        "expected",
        {"scenario": "s", "metric": "ttft_s", "statistic": "p50"},
        records={"scenario:s": [synthetic_run(requests=300)]},
        settings=Settings(expected={} if model is None else {"ttft_s.p50": model}),
    )
    assert found.result is result


def outage(run: Path) -> dict[str, Any]:
    return {"scenario:s": {"runs": [run], "hooks": {"broken_s": 1.0, "restored_s": 3.5}}}


def test_an_outage_that_nobody_noticed_recovered_at_once(ask: Ask, synthetic_run: Make) -> None:
    """No failed request: availability 1 and recovery 0 s."""
    records = outage(synthetic_run(requests=300))
    asked = {"scenario": "s", "metric": "availability", "bound": 0.99}
    assert ask("outage", asked, records=records).result is PASS
    found = ask("outage", {"scenario": "s", "metric": "recovery_s", "bound": 1}, records=records)
    assert (found.result, found.value) == (PASS, 0.0)
    assert "2.5 s" in found.text.en


def test_an_outage_without_end_never_recovers(ask: Ask, synthetic_run: Make) -> None:
    """Every request failed: recovery is infinite, and no bound is met."""
    records = outage(synthetic_run(requests=200, failures={"connect": 1.0}))
    found = ask("outage", {"scenario": "s", "metric": "recovery_s", "bound": 1e6}, records=records)
    assert (found.result, found.value) == (FAIL, float("inf"))


def test_health_counts_what_was_not_answered_as_slow(ask: Ask) -> None:
    """One poll in fifty unanswered makes P99 infinite; coverage is the share answered."""
    seen = {"health": {"url": "http://h/health", "latency_s": [0.01] * 49, "failed": 1}}
    records = {"scenario:s": seen}
    fast = ask("health", {"scenario": "s", "p99_s": 0.1}, records=records)
    assert (fast.result, fast.value) == (FAIL, float("inf"))
    covered = ask("health", {"scenario": "s", "answered": 0.9}, records=records)
    assert (covered.result, covered.value) == (PASS, 0.98)
    assert ask("health", {"scenario": "s", "p99_s": 0.1}, records={"scenario:s": {}}).result is (
        UNDECIDED
    )


def test_cache_warm_up_is_when_the_hit_rate_gets_there(ask: Ask, synthetic_run: Make) -> None:
    """Half of each prompt cached from the start: 30 % at once, 90 % never."""
    records = {"scenario:s": [synthetic_run(requests=300)]}
    asked = {"scenario": "s", "bound_s": 10}
    soon = ask("cache_warm_up", {**asked, "hit_fraction": 0.3}, records=records)
    never = ask("cache_warm_up", {**asked, "hit_fraction": 0.9}, records=records)
    assert soon.result is PASS
    assert (never.result, never.value) == (FAIL, float("inf"))


def test_baseline_wants_valid_repeats(ask: Ask, synthetic_run: Make) -> None:
    """Two valid runs make a baseline of eleven statistics; one does not."""
    runs = [synthetic_run(f"r{seed}", seed=seed, requests=200) for seed in (1, 2)]
    found = ask("baseline_kept", {"scenario": "s"}, records={"scenario:s": runs})
    assert (found.result, found.value) == (PASS, 11)
    assert ask("baseline_kept", {"scenario": "s"}, records={"scenario:s": runs[:1]}).result is (
        UNDECIDED
    )
