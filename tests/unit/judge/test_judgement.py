"""A stored run folder judged, and what is written into it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.judge.judgement import judge
from bench.judge.metrics import METRICS
from bench.judge.profile import Limit, WindowRule, load_profile
from bench.record.frame import open_run

Make = Callable[..., Path]

_FILES = ("summary.json", "verdict.json", "junit.xml")


@pytest.fixture
def folder(synthetic_run: Make) -> Path:
    """2,000 requests at 50/s with failures, drops, a cut end, a warm-up and server scrapes."""
    return synthetic_run(
        requests=2000,
        tokens_per_request=20,
        tokens_cv=0.5,
        failures={"http_503": 0.01, "idle_timeout": 0.005},
        dropped_fraction=0.001,
        aborted_fraction=0.001,
        warmup_requests=20,
    )


def test_judged_twice_is_byte_identical(folder: Path) -> None:
    """The same folder under the same profile gives the same three files."""
    written = []
    for _ in range(2):
        judge(open_run(folder), load_profile("realtime-chat")).write(folder)
        written.append([(folder / name).read_bytes() for name in _FILES])
    assert written[0] == written[1]


def test_files_hold_the_contract(folder: Path) -> None:
    """Keys that jobs read are there, in both files, and every metric of the table has an entry."""
    judge(open_run(folder), load_profile("realtime-chat")).write(folder)
    summary = json.loads((folder / "summary.json").read_text())
    verdict = json.loads((folder / "verdict.json").read_text())
    assert {"schema", "window", "counts", "metrics", "cache", "client"} <= summary.keys()
    assert set(summary["metrics"]) == set(METRICS)
    assert {"ceiling", "client", "server"} <= summary["cache"].keys()
    assert {"valid", "reasons", "verdict", "limits"} <= verdict.keys()
    for row in verdict["limits"]:
        assert {
            "metric", "statistic", "bound", "direction", "level", "value", "n", "low", "high",
            "result", "source", "advice",
        } <= row.keys()  # fmt: skip


def test_no_number_is_written_that_json_lacks(folder: Path) -> None:
    """NaN and infinity are null; infinity is named beside it."""
    judge(open_run(folder), load_profile("base")).write(folder)

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    for name in ("summary.json", "verdict.json"):
        json.loads((folder / name).read_text(), parse_constant=refuse)
    entry = json.loads((folder / "summary.json").read_text())["metrics"]["e2e_s"]
    assert entry["p99"] is None
    assert "p99" in entry["infinite"]


def test_values_agree_with_the_instants(folder: Path) -> None:
    """TTFT percentiles are the nearest ranks of first − intended of the window's requests."""
    run = open_run(folder)
    found = judge(run)
    frame = run.requests
    start, end = found.window.start_s, found.window.end_s
    inside = (frame["phase"] == "main") & frame["intended_s"].between(start, end, inclusive="left")
    ok = frame[inside & (frame["outcome"] == "ok")]
    lost = int((inside & frame["outcome"].isin(["failed", "dropped"])).sum())
    measured = np.round(ok["first_s"] - ok["intended_s"], 9)
    values = np.sort(np.append(measured, [math.inf] * lost))
    entry = found.summary["metrics"]["ttft_s"]
    assert entry["n"] == len(values)
    assert entry["p90"] == values[math.ceil(0.9 * len(values)) - 1]
    assert entry["mean"] == pytest.approx(measured.mean())


def test_itl_agrees_with_the_arrivals(folder: Path) -> None:
    """The window's gaps are those of its requests' arrivals, one for each token but the first."""
    run = open_run(folder)
    found = judge(run)
    inside = found.requests["in_window"].to_numpy()
    gaps = []
    for batch in run.token_events():
        for k, row in enumerate(batch.rows.tolist()):
            if inside[row]:
                gaps += np.diff(batch.arrival_s[batch.offsets[k] : batch.offsets[k + 1]]).tolist()
    np.testing.assert_allclose(np.sort(found.itl_s), np.sort(gaps), rtol=1e-5)
    entry = found.summary["metrics"]["itl_s"]
    assert entry["n"] == len(gaps)
    assert entry["std"] == pytest.approx(np.std(gaps, ddof=1), rel=1e-5)
    assert entry["p99"] == pytest.approx(np.sort(gaps)[math.ceil(0.99 * len(gaps)) - 1], rel=1e-5)


def test_the_uncut_view_stands_beside_the_cut_one(folder: Path) -> None:
    """`uncut` has the numbers of the whole main phase, tokens included."""
    cut, whole = (
        judge(
            open_run(folder), load_profile("realtime-chat").model_copy(update={"window": rule})
        ).summary
        for rule in (WindowRule(rule="fixed", head_s=5, tail_s=5), WindowRule(rule="whole"))
    )
    assert cut["window"]["cut_tail_s"] > 0
    assert cut["metrics"]["itl_s"]["n"] < cut["uncut"]["metrics"]["itl_s"]["n"]
    for metric in ("itl_s", "ttft_s"):
        for statistic, value in cut["uncut"]["metrics"][metric].items():
            expected = whole["metrics"][metric][statistic]
            if isinstance(expected, float):
                expected = pytest.approx(expected, rel=1e-9)
            assert value == expected
    assert cut["uncut"]["metrics"]["output_tps"] == whole["metrics"]["output_tps"]


def test_counts_are_those_of_the_end(folder: Path) -> None:
    """planned = ok + failed + dropped + aborted."""
    counts = judge(open_run(folder)).summary["counts"]
    ended = counts["ok"] + sum(counts["failed"].values()) + counts["dropped"] + counts["aborted"]
    assert counts["planned"] == ended == 2000
    assert counts["warmup"] == 20


def test_a_killed_run_is_counted_by_its_rows(synthetic_run: Make) -> None:
    """Without end.json the plan is the manifest's: what is neither ok nor failed is missing.

    Where only time bounded the plan, it has no number.
    """
    run = open_run(synthetic_run(requests=50, failures={"reset": 0.2}, killed=True))
    for planned in (80, None):
        run.manifest["workload"]["requests"] = planned
        found = judge(run)
        counts = found.summary["counts"]
        assert counts["planned"] == planned
        assert counts["ok"] + counts["failed"]["reset"] == 50
        assert found.verdict["verdict"] == "invalid"


def test_junit_has_a_case_for_each_rule_and_target(folder: Path) -> None:
    """Failures are failures; undecided and unknown are skipped, never passed."""
    found = judge(open_run(folder), load_profile("realtime-chat"))
    found.write(folder)
    root = ElementTree.parse(folder / "junit.xml").getroot()
    cases = {case.get("name"): case for case in root.iter("testcase")}
    targets = [row for row in found.verdict["limits"] if row["level"] == "target"]
    assert len(cases) == len(targets) + len(found.verdict["validity"])
    for row in targets:
        case = cases[f"{row['metric']} {row['statistic']}"]
        children = [child.tag for child in case]
        expected = {"pass": [], "fail": ["failure"]}.get(row["result"], ["skipped"])
        assert children == expected
        sign = "<=" if row["direction"] == "lower" else ">="
        assert all(f"wanted {sign} {row['bound']}" in child.get("message", "") for child in case)
    assert any(len(cases[f"{row['metric']} {row['statistic']}"]) for row in targets)


def test_a_run_without_a_profile_has_values_and_no_verdict(folder: Path) -> None:
    """Nothing was asked, so nothing is met or missed."""
    verdict = judge(open_run(folder)).verdict
    assert (verdict["verdict"], verdict["limits"], verdict["valid"]) == ("none", [], True)


def test_client_figures_come_from_the_end(folder: Path) -> None:
    """CPU per token is CPU of all workers by tokens of all workers."""
    run = open_run(folder)
    client = judge(run).summary["client"]
    assert run.end is not None
    tokens = run.end["client"]["workers"][0]["tokens"]
    assert client["cpu_us_per_token"] == pytest.approx(client["cpu_s"] * 1e6 / tokens)
    assert client["schedule_lag_p99_s"] < 0.005


@pytest.mark.parametrize(
    ("stall_s", "verdict", "broken"), [(0.01, "pass", []), (0.5, "invalid", ["loop_stall"])]
)
def test_half_an_hour(synthetic_run: Make, stall_s: float, verdict: str, broken: list[str]) -> None:
    """18,000 requests in 30 min, all as they should be, pass; with half a second of stall not."""
    run = open_run(synthetic_run(requests=18_000, rate_rps=10, tokens_per_request=20))
    run.journal[900]["stall_max_s"] = stall_s
    extra = ("server_restarts", 0.0), ("jitter", 0.1), ("error_rate", 0.001), ("availability", 0.99)
    limits = [
        Limit(metric=metric, statistic="value", bound=bound, window_s=1800, source="§0")
        for metric, bound in extra
    ]
    profile = load_profile("test-plan")
    found = judge(run, profile.model_copy(update={"limits": (*profile.limits, *limits)})).verdict
    assert found["verdict"] == verdict
    assert [reason["rule"] for reason in found["reasons"]] == broken
    unknown = {row["rule"] for row in found["validity"] if row["result"] == "unknown"}
    assert unknown <= {"cache_excess"}, "half an hour of everything that can be known"
