"""The newcomer's path: `bench demo` in an empty folder, and what it promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.record.frame import open_run

HEADING = re.compile(r"<h[12][^>]*>.*?</h[12]>", re.DOTALL)
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def demo(checkout_bench: Any) -> Any:
    """`bench demo` in an empty folder, once for the tests of this file."""
    return checkout_bench("demo", env={"LANG": "zh_CN.UTF-8"})


@pytest.fixture(scope="module")
def run_folder(checkout_bench: Any, demo: Any) -> Path:
    assert demo.code == 0, f"{demo.out}\n{demo.err}"
    (folder,) = (checkout_bench.folder / "reports").iterdir()
    return Path(folder)


def test_the_demo_passes_and_says_where_its_report_lies(demo: Any, run_folder: Path) -> None:
    """Exit code 0, the verdict on stdout, and the path of a report that is there."""
    assert "PASS" in demo.out
    found = re.search(r"^report: (.+)$", demo.out, re.MULTILINE)
    assert found and found[1] == f"reports/{run_folder.name}/report.html"
    assert (run_folder / "report.html").stat().st_size > 100_000


def test_progress_stands_on_stderr(demo: Any, run_folder: Path) -> None:
    """What is going on is told on stderr, so that stdout is the result alone."""
    assert f"writing reports/{run_folder.name}" in demo.err
    assert "/300 done" in demo.err
    assert "/300 done" not in demo.out


def test_the_run_folder_is_whole(run_folder: Path) -> None:
    """All 300 requests of the sample trace are there, ended well, and balance."""
    end = json.loads((run_folder / "end.json").read_text())
    assert (end["planned"], end["ok"], end["failed"]) == (300, 300, {})
    assert (end["reason"], end["dropped"], end["aborted"]) == ("finished", 0, 0)
    run = open_run(run_folder)
    assert len(run.requests) == 300
    assert (run.requests["outcome"] == "ok").all()
    verdict = json.loads((run_folder / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["valid"]) == ("pass", True)
    targets = [row for row in verdict["limits"] if row["level"] == "target"]
    assert len(targets) == 5 and {row["result"] for row in targets} == {"pass"}


def test_the_simulated_server_was_measured(run_folder: Path) -> None:
    """The server's own counters agree with ours, and its cache was seen to be hit."""
    summary = json.loads((run_folder / "summary.json").read_text())
    cache = summary["metrics"]["cache_client"]["value"]
    assert cache == pytest.approx(summary["metrics"]["cache_server"]["value"], abs=0.01)
    assert 0.3 < cache <= summary["metrics"]["cache_ceiling"]["value"] + 0.005


def test_the_report_is_in_the_language_of_the_shell(run_folder: Path) -> None:
    """With LANG=zh_CN the page is Chinese, and has a Chinese heading."""
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh' in page
    assert any(CHINESE.search(heading) for heading in HEADING.findall(page))


def test_the_report_can_be_had_in_english(checkout_bench: Any, run_folder: Path) -> None:
    """The same run, reported again in English, has the same verdict and no Chinese heading."""
    target = checkout_bench.folder / "english.html"
    done = checkout_bench("report", run_folder, "--lang", "en", "-o", target, "--json")
    assert done.code == 0, done.err
    assert (done.json()["language"], done.json()["verdict"]) == ("en", "pass")
    page = target.read_text(encoding="utf-8")
    assert '<html lang="en' in page
    assert not any(CHINESE.search(heading) for heading in HEADING.findall(page))


def test_the_run_can_be_judged_again_under_another_profile(
    checkout_bench: Any, run_folder: Path, tmp_path: Path
) -> None:
    """A limit that the run does not meet ends with 3, and says which."""
    profile = tmp_path / "strict.yaml"
    profile.write_text(
        "name: strict\ntitle: {zh: 严, en: Strict}\nextends: demo\n"
        "limits: [{metric: tpot_s, statistic: p50, bound: 0.0001, source: test}]\n"
    )
    done = checkout_bench("judge", run_folder, "-p", profile, "--json")
    assert done.code == 3, done.err
    assert done.json()["verdict"] == "fail"
    failed = [row for row in done.json()["limits"] if row["result"] == "fail"]
    assert [(row["metric"], row["bound"]) for row in failed] == [("tpot_s", 0.0001)]


def test_no_key_of_the_environment_is_written(checkout_bench: Any, run_folder: Path) -> None:
    """The API key that the shell holds stands in no file of the run."""
    key = checkout_bench.key
    assert key not in open_run(run_folder).requests.to_csv()
    for path in run_folder.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path.name
