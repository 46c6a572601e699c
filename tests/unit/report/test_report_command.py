"""`bench report`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.report import command
from bench.errors import RunFolderError


def test_it_writes_into_the_run_folder(synthetic_run: Callable[..., Path]) -> None:
    """By default the page lies in the run folder, and the path is told on stderr."""
    run = synthetic_run(requests=30, tokens_per_request=5)
    done = CliRunner().invoke(command, [str(run), "--lang", "zh"])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert str(run / "report.html") in done.stderr
    assert 'lang="zh-CN"' in (run / "report.html").read_text(encoding="utf-8")


def test_json_is_one_object(synthetic_run: Callable[..., Path], tmp_path: Path) -> None:
    """`--json` says where the page is and what it came to."""
    run, page = synthetic_run(requests=30, tokens_per_request=5), tmp_path / "deep" / "page.html"
    options = ["--json", "-o", str(page), "--plotlyjs", "directory", "--lang", "en"]
    done = CliRunner().invoke(command, [str(run), *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "report": str(page),
        "language": "en",
        "bytes": page.stat().st_size,
        "valid": True,
        "verdict": "none",
    }


def test_another_profile_can_be_asked_for(
    synthetic_run: Callable[..., Path], tmp_path: Path
) -> None:
    """An old run is judged anew under the profile that is given."""
    profile = tmp_path / "strict.yaml"
    profile.write_text(
        "name: strict\ntitle: {zh: 严格, en: Strict}\n"
        "limits:\n- {metric: ttft_s, statistic: p50, bound: 0.03, source: test}\n",
        encoding="utf-8",
    )
    run = synthetic_run(requests=60, tokens_per_request=5)
    options = ["-p", str(profile), "--json", "--plotlyjs", "directory"]
    done = CliRunner().invoke(command, [str(run), *options])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["verdict"] == "fail"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """The error is the run folder's own."""
    with pytest.raises(RunFolderError):
        CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)
