"""Checks on probes, scrapes, imported files and stored runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.accept.evidence import Evidence, Imported
from bench.accept.settings import Settings
from bench.judge.checklist_result import Finding
from bench.judge.verdict import Result
from bench.model import ServerSample
from bench.record.folder import RunFolder

Ask = Callable[..., Finding]
TARGET = "http://10.0.0.5:8000"
Make = Callable[..., Path]
PASS, FAIL, UNDECIDED = Result.PASS, Result.FAIL, Result.UNDECIDED


@pytest.mark.parametrize(
    ("no_key", "wrong_key", "result"),
    [(401, 403, PASS), (401, 401, PASS), (200, 401, FAIL), (401, 200, FAIL), (0, 500, FAIL)],
)
def test_strangers(ask: Ask, no_key: int, wrong_key: int, result: Result) -> None:
    """Both have to be refused with 401 or 403; a broken connection or a 500 is no refusal."""
    seen = {"no_key": no_key, "wrong_key": wrong_key}
    assert ask("refuses_strangers", records={"probe:keys": seen}).result is result


@pytest.mark.parametrize(
    ("status", "alive", "result"),
    [
        (400, True, PASS),
        (413, True, PASS),
        (200, True, FAIL),
        (500, True, FAIL),
        (400, False, FAIL),
    ],
)
def test_over_long(ask: Ask, status: int, alive: bool, result: Result) -> None:
    """A 4xx, and the server lives."""
    seen = {"input_tokens": 1000, "status": status, "alive": alive}
    assert ask("refuses_over_long", records={"probe:over_long": seen}).result is result


def test_over_long_without_a_stated_context(ask: Ask) -> None:
    """What is too long is not known."""
    seen = {"input_tokens": None, "status": None, "alive": None}
    assert ask("refuses_over_long", records={"probe:over_long": seen}).result is UNDECIDED


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({}, PASS),
        ({"version": "TLSv1.2"}, FAIL),
        ({"trusted": False, "error": "self-signed certificate", "days_left": None}, FAIL),
        ({"days_left": 3}, FAIL),
    ],
)
def test_tls(ask: Ask, changes: dict[str, Any], result: Result) -> None:
    """Version, trust and days left all have to be good."""
    seen = {"https": True, "trusted": True, "error": None, "version": "TLSv1.3", "days_left": 90}
    records = {"probe:tls": {**seen, **changes}}
    assert ask("tls", {"version": "TLSv1.3", "days": 14}, records=records).result is result


def test_plain_http_is_no_tls(ask: Ask) -> None:
    """Not encrypted is a failure, and not a lack of evidence."""
    assert ask("tls", records={"probe:tls": {"https": False}}).result is FAIL


@pytest.mark.parametrize(
    ("total", "refused", "result"),
    [(12, 12, UNDECIDED), (12, 6, FAIL), (500, 500, PASS), (500, 400, FAIL)],
)
def test_hostile_prompts_are_counted(ask: Ask, total: int, refused: int, result: Result) -> None:
    """Twelve refusals can't show 99 %, and five hundred can; many answers refute it."""
    records = {"probe:hostile": {"total": total, "refused": refused, "served": []}}
    found = ask("refuses_hostile", {"share": 0.99}, records=records)
    assert found.result is result
    if result is UNDECIDED:
        assert "more prompts" in found.text.en


def test_every_listed_model_has_to_answer(ask: Ask) -> None:
    """Enough models, and none that is listed but silent."""
    asked = {"at_least": 2, "first_answer_s": 30}
    quick = {"model": "a", "took_s": 1.0}
    silent = {"model": "b", "took_s": None}

    def result(*models: dict[str, Any]) -> Result:
        return ask("serves_models", asked, records={"probe:models": {"models": models}}).result

    assert result(quick, quick) is PASS
    assert result(quick) is FAIL
    assert result(quick, quick, silent) is FAIL


def test_the_slowest_region_counts(ask: Ask) -> None:
    """By its median; a region that can't be reached is infinitely far."""
    near, far = [0.01] * 3, [0.2] * 3
    found = ask("regions_near", {"bound_s": 0.05},
                records={"probe:regions": {"regions": {"a": near, "b": far}}})  # fmt: skip
    assert (found.result, found.value) == (FAIL, 0.2)
    lost = {"regions": {"a": near, "b": [None, None, 0.01]}}
    found = ask("regions_near", {"bound_s": 0.05}, records={"probe:regions": lost})
    assert found.value == float("inf")


@pytest.mark.parametrize(("took", "result"), [(12.0, PASS), (45.0, FAIL), (None, FAIL)])
def test_ready(ask: Ask, took: float | None, result: Result) -> None:
    """A service that never got ready fails."""
    records = {"hook:start": {"ready_s": took}}
    assert ask("ready", {"bound_s": 30}, records=records).result is result


def test_prometheus(ask: Ask) -> None:
    """The slowest query counts, and how far back the samples go."""
    records = {"probe:prometheus": {"query_s": [0.1, 4.0], "oldest_days": 180}}
    assert ask("prometheus_fast", {"bound_s": 3}, records=records).result is FAIL
    assert ask("prometheus_kept", {"days": 180}, records=records).result is PASS
    assert ask("prometheus_kept", {"days": 365}, records=records).result is FAIL


def test_an_alert_that_never_fires_fails(ask: Ask) -> None:
    """And without a Prometheus server nothing is known."""
    asked = {"scenario": "s", "bound_s": 300}
    assert ask("alert_fires", asked, records={"scenario:s": {"alert_s": 60.0}}).result is PASS
    assert ask("alert_fires", asked, records={"scenario:s": {"alert_s": None}}).result is FAIL
    assert ask("alert_fires", asked, records={"scenario:s": {}}).result is UNDECIDED


# -- scraped -----------------------------------------------------------------------------------


@pytest.fixture
def scraped_run(synthetic_run: Make) -> Callable[..., Path]:
    """A run with scrapes of an exporter: `name → (labels, values at 0 s, 1 s, …)`."""

    def make(*series: tuple[str, dict[str, str], list[float]], run: str = "run") -> Path:
        path = synthetic_run(run, requests=200, server_interval_s=None)
        start_ns = json.loads((path / "journal.jsonl").read_text().splitlines()[0])["start_ns"]
        parts = RunFolder(path).server_parts()
        for name, labels, values in series:
            parts.add([
                ServerSample(start_ns + second * 10**9, "exporter", name, labels, value)
                for second, value in enumerate(values)
            ])  # fmt: skip
        parts.close()
        return path

    return make


GPU = {"gpu": "0", "DCGM_FI_DRIVER_VERSION": "535.161.08"}


def test_series_have_to_be_there_and_move(ask: Ask, scraped_run: Make) -> None:
    """Absent is undecided, constant under load fails, one change passes."""
    asked = {"scenario": "s", "series": ["device_utilization_fraction"], "moving": True}
    for values, result in (([], UNDECIDED), ([50, 50, 50], FAIL), ([50, 60, 50], PASS)):
        run = scraped_run(("DCGM_FI_DEV_GPU_UTIL", GPU, values), run=result.value)
        assert ask("series_present", asked, records={"scenario:s": [run]}).result is result


@pytest.mark.parametrize(
    ("percent", "result"), [(50.0, FAIL), (70.0, PASS), (80.0, PASS), (90.0, FAIL)]
)
def test_utilisation_has_a_range(
    ask: Ask, scraped_run: Make, percent: float, result: Result
) -> None:
    """Both ends of the range belong to it."""
    run = scraped_run(("DCGM_FI_DEV_GPU_UTIL", GPU, [percent] * 3))
    asked = {"scenario": "s", "of": "device", "low": 0.7, "high": 0.8}
    assert ask("utilisation", asked, records={"scenario:s": [run]}).result is result


def test_host_cpu_is_what_is_not_idle(ask: Ask, scraped_run: Make) -> None:
    """7 s of user time and 3 s of idle time: 70 % busy; without a host exporter undecided."""
    asked = {"scenario": "s", "of": "host_cpu", "low": 0.6, "high": 0.8}
    run = scraped_run(
        ("node_cpu_seconds_total", {"mode": "user"}, [100, 107]),
        ("node_cpu_seconds_total", {"mode": "idle"}, [500, 503]),
    )
    found = ask("utilisation", asked, records={"scenario:s": [run]})
    assert (found.result, found.value) == (PASS, pytest.approx(0.7))


def test_what_is_not_scraped_is_undecided(ask: Ask, scraped_run: Make) -> None:
    """The note says how to get it."""
    found = ask("utilisation", {"scenario": "s", "of": "host_cpu"},
                records={"scenario:s": [scraped_run()]})  # fmt: skip
    assert found.result is UNDECIDED
    assert "--scrape" in found.text.en


@pytest.mark.parametrize(
    ("wanted", "error", "result"), [(None, 0, PASS), (1, 0, PASS), (2, 0, FAIL), (None, 79, FAIL)]
)
def test_devices(
    ask: Ask, scraped_run: Make, wanted: int | None, error: int, result: Result
) -> None:
    """As many as there should be, and none with an error code."""
    run = scraped_run(
        ("DCGM_FI_DEV_GPU_UTIL", GPU, [50, 60]), ("DCGM_FI_DEV_XID_ERRORS", GPU, [0, error])
    )
    found = ask("devices_listed", {"scenario": "s"}, records={"scenario:s": [run]},
                settings=Settings(accelerators=wanted))  # fmt: skip
    assert (found.result, found.value) == (result, 1)


def test_the_driver_is_read_from_labels(ask: Ask, scraped_run: Make) -> None:
    """Major version 535."""
    records = {"scenario:s": [scraped_run(("DCGM_FI_DEV_GPU_UTIL", GPU, [50, 60]))]}
    found = ask("driver", {"scenario": "s", "at_least": 470}, records=records)
    assert (found.result, found.value) == (PASS, 535)
    assert ask("driver", {"scenario": "s", "at_least": 550}, records=records).result is FAIL


def test_a_quantile_lies_in_a_bucket(ask: Ask, scraped_run: Make) -> None:
    """A bound beyond the bucket passes, one below it fails, one within is undecided."""
    name = "vllm:request_queue_time_seconds"
    run = scraped_run(
        *(
            (f"{name}_bucket", {"le": le}, [0, n])
            for le, n in (("1", 50), ("5", 100), ("+Inf", 100))
        ),
        (f"{name}_sum", {}, [0, 100]),
        (f"{name}_count", {}, [0, 100]),
    )
    asked = {"scenario": "s", "series": "queue_s", "q": 0.99}

    def result(bound_s: float) -> Result:
        records = {"scenario:s": [run]}
        return ask("histogram_within", {**asked, "bound_s": bound_s}, records=records).result

    assert [result(bound_s) for bound_s in (10, 5, 2, 1)] == [PASS, PASS, UNDECIDED, FAIL]


# -- imported and stored -----------------------------------------------------------------------


def entry(folder: Path, content: Any, before: Any = None) -> Evidence:
    """Evidence for the part that is asked: one imported file, perhaps with a baseline."""
    from datetime import date

    files = {}
    for name, value in (("file", content), ("before", before)):
        if value is not None:
            (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
            files[name] = f"{name}.json"
    imported = Imported(kind="imported", item="X1", part="p0", **files)
    return Evidence(folder, (), [imported], date(2026, 11, 22))


def test_accuracy_is_compared_task_by_task(ask: Ask, tmp_path: Path) -> None:
    """The worst task counts; without a baseline nothing is lost or kept."""
    before = {"results": {"mmlu": {"acc": 0.70}, "ceval": {"acc": 0.60}}}
    after = {"results": {"mmlu": {"acc": 0.71}, "ceval": {"acc": 0.58}}}
    found = ask("accuracy_kept", {"at_most": 0.01}, evidence=entry(tmp_path, after, before))
    assert (found.result, found.value) == (FAIL, pytest.approx(0.02))
    kept = ask("accuracy_kept", {"at_most": 0.03}, evidence=entry(tmp_path, after, before))
    assert kept.result is PASS
    alone = ask("accuracy_kept", {"at_most": 0.01}, evidence=entry(tmp_path, after))
    assert alone.result is UNDECIDED


def test_storage_wants_enough_readers(ask: Ask, tmp_path: Path) -> None:
    """One fast reader does not show that many can read."""
    fio = {"jobs": [{"jobname": "r", "read": {"bw_bytes": 9e8}}]}
    evidence = entry(tmp_path, fio)
    assert ask("storage", {"bytes_per_s": 5e8}, evidence=evidence).result is PASS
    assert ask("storage", {"bytes_per_s": 1e9}, evidence=evidence).result is FAIL
    many = ask("storage", {"bytes_per_s": 5e8, "readers": 4}, evidence=evidence)
    assert many.result is UNDECIDED


def test_high_vulnerabilities_fail(ask: Ask, tmp_path: Path) -> None:
    """Low ones do not."""

    def result(severity: str) -> Result:
        report = {"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{"Severity": severity}]}]}
        return ask("no_vulnerabilities", evidence=entry(tmp_path, report)).result

    assert [result(severity) for severity in ("CRITICAL", "HIGH", "LOW")] == [FAIL, FAIL, PASS]


def test_without_a_result_it_is_undecided(ask: Ask) -> None:
    """And the note names the tool."""
    found = ask("bandwidth", {"bits_per_s": 1e10})
    assert found.result is UNDECIDED
    assert "iperf3" in found.text.en


@pytest.fixture
def history(tmp_path: Path) -> Callable[..., Settings]:
    """Settings whose history holds runs: (month, planned, failed, cost)."""

    def make(
        *runs: tuple[str, int, int, float], target: str = TARGET, broken: Sequence[str] = ()
    ) -> Settings:
        for number, (made, planned, failed, cost) in enumerate(runs):
            folder = tmp_path / "history" / str(number)
            folder.mkdir(parents=True)
            summary = {
                "counts": {"planned": planned, "failed": {"http_500": failed}},
                "metrics": {"cost_per_1k_tokens": {"value": cost}},
            }
            contents = {
                "manifest": {
                    "created_utc": f"{made}T00:00:00+00:00",
                    "target": {"url": target},
                },
                "verdict": {"reasons": [{"rule": rule} for rule in broken]},
                "summary": summary,
            }
            for name, content in contents.items():
                (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        return Settings(history=("history",)).in_folder(tmp_path)

    return make


@pytest.mark.parametrize(("failed", "result"), [(4, PASS), (6, FAIL)])
def test_error_budget(ask: Ask, history: Any, failed: int, result: Result) -> None:
    """Of 10,000 requests an objective of 99.9 % leaves ten to fail, and half of them is five."""
    settings = history(("2026-10-01", 5000, failed, 1.0), ("2026-11-01", 5000, 0, 1.0))
    asked = {"availability": 0.999, "spent": 0.5}
    assert ask("error_budget", asked, settings=settings).result is result


def test_a_budget_takes_enough_requests(ask: Ask, history: Any) -> None:
    """100 good requests show no 99.9 %: not one of them may fail."""
    asked = {"availability": 0.999, "spent": 0.5}
    found = ask("error_budget", asked, settings=history(("2026-11-01", 100, 0, 1.0)))
    assert found.result is UNDECIDED and "2,000 are needed" in found.text.en


@pytest.mark.parametrize(
    ("broken", "result"), [((), FAIL), (("server_restarts",), FAIL), (("loop_stall",), UNDECIDED)]
)
def test_a_crash_is_in_the_budget(
    ask: Ask, history: Any, broken: Sequence[str], result: Result
) -> None:
    """A run that the server's restart made not valid counts; one that the client did does not."""
    settings = history(("2026-11-01", 5000, 500, 1.0), broken=broken)
    asked = {"availability": 0.999, "spent": 0.5}
    assert ask("error_budget", asked, settings=settings).result is result


def test_runs_of_another_service_are_no_history(ask: Ask, history: Any) -> None:
    """A month against a test cluster says nothing of this one."""
    settings = history(("2026-11-22", 5000, 0, 1.0), target="http://10.0.0.9:8000")
    for check, asked in (
        ("error_budget", {"availability": 0.999, "spent": 0.5}),
        ("measured_lately", {"days": 7}),
    ):
        found = ask(check, asked, settings=settings)
        assert found.result is UNDECIDED and TARGET in found.text.en


@pytest.mark.parametrize(("after", "result"), [(0.8, PASS), (0.9, FAIL)])
def test_cost_trend(ask: Ask, history: Any, after: float, result: Result) -> None:
    """From the month before to the last one."""
    settings = history(("2026-10-01", 1, 0, 1.0), ("2026-11-01", 1, 0, after))
    assert ask("trend", {"drop": 0.15}, settings=settings).result is result


def test_a_trend_needs_two_months(ask: Ask, history: Any) -> None:
    """One month is no trend."""
    assert ask("trend", {"drop": 0.15}, settings=history(("2026-11-01", 1, 0, 1.0))).result is (
        UNDECIDED
    )


def test_measured_lately(ask: Ask, history: Any) -> None:
    """The tests' today is 2026-11-22: three weeks are too long for seven days."""
    settings = history(("2026-11-01", 1, 0, 1.0))
    found = ask("measured_lately", {"days": 7}, settings=settings)
    assert (found.result, found.value) == (FAIL, 21)
    assert ask("measured_lately", {"days": 7}).result is UNDECIDED


def test_alert_thresholds(ask: Ask) -> None:
    """Every alert level has a rule for vLLM; a server without metrics can have none."""
    assert ask("alert_thresholds", {"profile": "cluster-small"}).result is PASS
    found = ask("alert_thresholds", {"profile": "cluster-small"}, family="openai")
    assert found.result is FAIL
