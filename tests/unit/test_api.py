"""The pandas door: `bench.open_run`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.errors import ConfigError, RunFolderError


@pytest.fixture
def run(synthetic_run: Callable[..., Path]) -> bench.Run:
    """200 requests of 20 tokens, some of which failed."""
    folder = synthetic_run(requests=200, tokens_per_request=20, failures={"http_503": 0.1})
    return bench.open_run(folder)


def test_requests_have_what_was_recorded_and_what_it_came_to(run: bench.Run) -> None:
    """A row for each request, with its TTFT beside the instants that it is made of."""
    frame = run.requests
    assert len(frame) == 200
    ok = frame[frame["outcome"] == "ok"]
    assert np.allclose(ok["ttft_s"], ok["first_s"] - ok["intended_s"], atol=1e-9)
    assert np.isinf(frame["ttft_s"][frame["outcome"] == "failed"]).all()


def test_tokens_are_those_of_the_requests(run: bench.Run) -> None:
    """Token events add up to each request's output tokens; the first is its first token."""
    tokens, requests = run.tokens, run.requests.set_index("index")
    assert list(tokens.columns) == ["index", "arrival_s", "tokens"]
    ok = requests[requests["outcome"] == "ok"]
    by_request = tokens.groupby("index")
    assert (by_request["tokens"].sum()[ok.index] == ok["output_tokens"]).all()
    assert np.allclose(by_request["arrival_s"].min()[ok.index], ok["first_s"], atol=1e-9)


def test_a_run_without_answers_has_no_tokens(synthetic_run: Callable[..., Path]) -> None:
    """Where every request failed the table of tokens is empty, with its columns."""
    run = bench.open_run(synthetic_run(requests=5, failures={"connect": 1.0}))
    assert run.tokens.empty
    assert list(run.tokens.columns) == ["index", "arrival_s", "tokens"]


def test_judging_takes_a_name_a_file_or_nothing(run: bench.Run, tmp_path: Path) -> None:
    """A shipped profile, a profile file, and the run's own, which here is none."""
    file = tmp_path / "own.yaml"
    file.write_text(
        "name: own\ntitle: {zh: 自, en: Own}\n"
        "limits: [{metric: error_rate, statistic: value, bound: 0.01, source: test}]\n"
    )
    assert run.judge().verdict["limits"] == []
    assert {row["metric"] for row in run.judge("realtime-chat").verdict["limits"]} >= {"ttft_s"}
    assert [row["result"] for row in run.judge(file).verdict["limits"]] == ["fail"]
    with pytest.raises(ConfigError):
        run.judge("no-such-profile")


def test_judging_writes_nothing(run: bench.Run) -> None:
    """The folder holds the same files before and after."""
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    run.judge("realtime-chat")
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_the_rest_of_the_folder_is_in_reach(run: bench.Run) -> None:
    """Manifest, end, defects and samples of the server are read as they were written."""
    assert run.manifest["schema"] >= 1
    assert run.end is not None and sum(run.end["failed"].values()) > 0
    assert run.defects == {}
    assert list(run.server.columns) == ["at_s", "source", "name", "labels", "value"]
    assert repr(run) == f"<bench.Run {run.path}>"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """A folder without a manifest is named in the error."""
    with pytest.raises(RunFolderError, match="not a run folder"):
        bench.open_run(tmp_path)


def test_importing_bench_imports_no_pandas() -> None:
    """The door costs nothing until it is used, and a wrong name is an AttributeError."""
    program = (
        "import sys, bench; print('pandas' in sys.modules);"
        "bench.open_run; print('pandas' in sys.modules); bench.nothing"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True"]
    assert "has no attribute 'nothing'" in done.stderr


def test_the_package_is_typed() -> None:
    """py.typed (PEP 561) lies beside the code, so that type checkers read its annotations."""
    assert (Path(bench.__file__).parent / "py.typed").is_file()
