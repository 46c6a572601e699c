"""`bench judge`, `bench metrics`, `bench profiles`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import cli
from bench.cli.verdict_view import quantity
from bench.errors import ConfigError

Make = Callable[..., Path]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def profile_file(folder: Path, bound: float) -> Path:
    path = folder / "slo.yaml"
    path.write_text(
        "name: slo\ntitle: {zh: 试, en: test}\nlimits:\n"
        f"  - {{metric: ttft_s, statistic: p90, bound: {bound}, source: §1}}\n"
    )
    return path


@pytest.mark.parametrize(
    ("fields", "bound", "code", "verdict"),
    [
        ({"requests": 300}, 1.0, 0, "pass"),
        ({"requests": 300}, 0.02, 3, "fail"),
        ({"requests": 10}, 1.0, 4, "undecided"),
        ({"requests": 300, "killed": True}, 1.0, 4, "invalid"),
    ],
)
def test_exit_codes_tell_the_verdict(
    synthetic_run: Make,
    tmp_path: Path,
    fields: dict[str, Any],
    bound: float,
    code: int,
    verdict: str,
) -> None:
    """0 pass, 3 an objective failed, 4 undecided or not valid; the file says the same."""
    folder = synthetic_run(**fields)
    found = run("judge", folder, "-p", profile_file(tmp_path, bound), "--json")
    assert found.exit_code == code
    answer = json.loads(found.stdout)
    assert (answer["verdict"], answer["exit_code"], answer["run"]) == (verdict, code, str(folder))
    assert json.loads((folder / "verdict.json").read_text())["verdict"] == verdict


@pytest.mark.parametrize("killed", [False, True])
def test_the_table_fits_80_columns_and_needs_no_colour(synthetic_run: Make, killed: bool) -> None:
    """Results are words and signs; no line is wider than a terminal."""
    folder = synthetic_run(requests=400, failures={"http_500": 0.02}, killed=killed)
    found = run("judge", folder, "-p", "realtime-chat")
    *lines, path = found.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert path == f"wrote {folder / 'verdict.json'}"
    assert "\x1b[" not in found.stdout
    for words in ("TTFT", "undecided", "NOT VALID" if killed else "✗ FAIL"):
        assert words in found.stdout


def test_without_a_profile_there_are_values(synthetic_run: Make) -> None:
    """No limits, exit 0."""
    found = run("judge", synthetic_run(requests=20))
    assert found.exit_code == 0
    assert "no objective was judged" in found.stdout


def test_no_value_is_torn_from_its_name(synthetic_run: Make) -> None:
    """The rates take more than one line here, and it is broken behind a comma."""
    lines = run("judge", synthetic_run(requests=200)).stdout.splitlines()
    first = next(line for line in lines if line.startswith("request_rps"))
    assert first.endswith(",")
    parts = first.removesuffix(",").split(", ")
    assert [part for part in parts if not re.fullmatch(r"\w+ [\d,.]+ ?\S+", part)] == []


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    """The error says what is missing."""
    found = run("judge", tmp_path)
    assert found.exception is not None
    assert "not a run folder" in str(found.exception)


def test_metrics_are_shown_from_the_table() -> None:
    """All of them by name, one with its formula, or as JSON."""
    assert "goodput_rps" in run("metrics").stdout
    assert "first − intended" in run("metrics", "ttft_s").stdout
    assert json.loads(run("metrics", "tpot_s", "--json").stdout)["unit"] == "s"
    assert len(json.loads(run("metrics", "--json").stdout)["metrics"]) > 40


def test_profiles_are_listed_and_shown() -> None:
    """A child profile is shown with its parent's limits."""
    assert "realtime-chat" in run("profiles", "list").stdout
    shown = run("profiles", "show", "cluster-medium").stdout
    assert "e2e_s p99 ≤ 800 ms" in shown
    assert "tpot_s p99 ≤ 100 ms (alert)" in shown
    names = json.loads(run("profiles", "list", "--json").stdout)["profiles"]
    assert {"base", "realtime-chat", "deepseek-v3-h20"} <= {row["name"] for row in names}


def test_a_profile_file_is_checked(tmp_path: Path) -> None:
    """A good file is ok; a bad one names its line."""
    good = profile_file(tmp_path, 1.0)
    assert run("profiles", "check", good).stdout.endswith("1 limits: ok\n")
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace("p90", "p9x"))
    found = run("profiles", "check", bad)
    assert isinstance(found.exception, ConfigError)
    assert "bad.yaml:4" in found.exception.message


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0123, "s", "12.3 ms"),
        (12.34, "s", "12.3 s"),
        (0.9995, "fraction", "99.95 %"),
        (31234.5, "tokens/s", "31,234 tokens/s"),
        (48.9, "1/s", "48.9/s"),
        (None, "s", "—"),
        (float("nan"), "s", "—"),
        (0.0, "1", "0"),
    ],
)
def test_quantities_are_short_and_carry_units(value: float | None, unit: str, shown: str) -> None:
    """Milliseconds below a second, per cent for fractions, — for unknown."""
    assert quantity(value, unit) == shown
