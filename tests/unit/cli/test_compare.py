"""`bench compare` and `bench nightly baseline` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli.compare import command
from bench.cli.nightly import command as nightly
from bench.errors import UsageError

MakeRun = Callable[..., Path]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.fixture
def folders(synthetic_run: MakeRun) -> dict[str, list[Path]]:
    """Two runs on each of three sides: the same twice, and one with a TTFT 20 % longer."""
    medians = {"base": 0.05, "same": 0.05, "slow": 0.06}
    return {
        side: [
            synthetic_run(f"{side}{k}", requests=2000, seed=10 * place + k, ttft_s=(median, 0.2))
            for k in range(2)
        ]
        for place, (side, median) in enumerate(medians.items())
    }


def test_worse_is_exit_code_3(folders: dict[str, list[Path]]) -> None:
    """A slower run is worse: exit code 3, and the table says so within 80 columns."""
    found = run(folders["base"][0], folders["slow"][0])
    assert found.exit_code == 3, found.output
    assert "✗ worse     ttft p50" in found.output
    assert max(map(len, found.output.splitlines())) <= 80


def test_json_is_one_object_that_agrees_with_the_exit_code(
    folders: dict[str, list[Path]],
) -> None:
    """--json prints one object with verdict, exit code and every metric."""
    found = run(folders["base"][0], folders["slow"][0], "--json")
    answer = json.loads(found.stdout)
    assert answer["exit_code"] == found.exit_code == 3
    assert answer["verdict"] == "worse"
    assert {"metric", "base", "new", "change", "low", "high", "p_adjusted", "result"} <= set(
        answer["metrics"][0]
    )


def test_several_runs_on_each_side(folders: dict[str, list[Path]]) -> None:
    """--base and --new repeat; the runs are named in the answer."""
    base, slow = folders["base"], folders["slow"]
    found = run("--base", base[0], "--base", base[1], "--new", slow[0], "--new", slow[1], "--json")
    answer = json.loads(found.stdout)
    assert (answer["base"], answer["new"]) == (["base0", "base1"], ["slow0", "slow1"])


def test_documents_are_written(folders: dict[str, list[Path]], tmp_path: Path) -> None:
    """-o leaves JSON, JUnit, Markdown and a page; the page is in the language asked for."""
    out = tmp_path / "diff"
    run(folders["base"][0], folders["slow"][0], "-o", out, "--lang", "zh")
    assert {path.name for path in out.iterdir()} == {
        "compare.json", "junit.xml", "summary.md", "compare.html",
    }  # fmt: skip
    page = (out / "compare.html").read_text()
    assert "变差" in page
    assert "Least that matters" not in page


def test_unlike_runs_are_refused_and_forced(
    folders: dict[str, list[Path]], synthetic_run: MakeRun
) -> None:
    """Runs with another number of workers are refused by name; --force compares and says so."""
    other = synthetic_run("other", requests=2000, seed=40, workers=2)
    refused = run(folders["base"][0], other)
    assert isinstance(refused.exception, UsageError)
    assert "workers (1 / 2)" in refused.exception.message
    forced = run(folders["base"][0], other, "--force", "--json")
    assert json.loads(forced.stdout)["unlike"][0]["condition"] == "workers"


def test_what_to_compare_has_to_be_clear(folders: dict[str, list[Path]]) -> None:
    """One folder, three folders, a run against itself and both forms at once are refused."""
    base, slow = folders["base"], folders["slow"]
    for arguments in (
        (base[0],),
        (*base, slow[0]),
        (base[0], base[0]),
        (base[0], slow[0], "--new", slow[1]),
        ("--base", base[0]),
        ("--base", base[0], "--base", base[0], "--new", slow[0]),
    ):
        assert isinstance(run(*arguments).exception, UsageError)


def test_baselines_are_listed(tmp_path: Path) -> None:
    """`bench nightly baseline list` works before any night, and prints one JSON object."""
    path = tmp_path / "nightly.yaml"
    path.write_text("name: n\ntarget: {url: 'http://127.0.0.1:1'}\nworkload: chat\n")
    found = CliRunner().invoke(nightly, ["-c", str(path), "baseline", "list", "--json"])
    assert json.loads(found.stdout) == {"baselines": []}
