"""`bench trace` as a user calls it."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import bench
from bench.cli.trace import command
from bench.errors import TraceError
from bench.workload.readers import COUNTS, read
from bench.workload.synthesize import Synthesis

ROWS = [
    {"timestamp": at, "input_length": 600, "output_length": 5, "hash_ids": [0, second]}
    for at, second in ((0, 1), (1000, 2), (3000, 1))
]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False)


def answer(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def test_inspect_json_is_one_object(trace: Path) -> None:
    """The answer has the contract's numbers, and no `whole` where the whole was read."""
    found = answer("inspect", trace)
    assert (found["format"], found["rows"], found["duration_s"]) == ("mooncake", 3, 3.0)
    assert found["ceiling"]["tokens"] == pytest.approx((512 + 600) / 1800)
    assert found["whole"] is None


def test_inspect_tells_the_slice_beside_the_whole(trace: Path) -> None:
    """With --limit both ceilings are there, the slice's on top."""
    found = answer("inspect", trace, "--limit", 2)
    assert found["rows"] == 2
    assert found["ceiling"]["tokens"] == pytest.approx(512 / 1200)
    assert found["whole"]["rows"] == 3
    shown = run("inspect", trace, "--limit", 2).stdout
    assert re.search(r"cache ceiling, tokens +42\.67% +61\.78%", shown)


def test_inspect_rounds_to_the_servers_blocks(trace: Path) -> None:
    """With blocks of 256 a fully repeated prompt of 600 tokens hits 512, as does one of 512."""
    found = answer("inspect", trace, "--server-block", 256)
    assert found["ceiling"]["tokens"] == pytest.approx((512 + 512) / 1800)


def test_inspect_says_why_a_value_is_absent(tmp_path: Path) -> None:
    """What is not known is a dash with its reason, never a 0, in at most 80 columns."""
    path = tmp_path / "text.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "hi"}]}\n')
    shown = run("inspect", path).stdout
    assert "— cache ceiling: the trace has no block ids" in shown
    assert "— rate, burstiness: the trace has no times" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_inspect_counts_what_fitting_did_in_words(trace: Path) -> None:
    """Clamped inputs are told with their number."""
    assert "3 inputs cut to the largest allowed" in run("inspect", trace, "--max-input", 9).stdout


def test_convert_writes_a_trace_that_reads_back_the_same(trace: Path, tmp_path: Path) -> None:
    """Converted rows are the fitted rows, and the header says where they are from."""
    out = tmp_path / "out.jsonl.gz"
    told = answer("convert", trace, out, "--scale-input", 0.5, "--limit", 2)
    assert told == {
        "out": str(out), "rows": 2, "counts": {"input_scaled": 2}, "warnings": [],
    }  # fmt: skip
    reading = read(out)
    assert reading.block_tokens == 256
    assert [(row.at_s, row.input_tokens, row.block_ids) for row in reading] == [
        (0.0, 300, (0, 1)), (1.0, 300, (0, 2)),
    ]  # fmt: skip


def test_convert_never_writes_over_its_input(trace: Path) -> None:
    """Writing onto the file being read is refused, and the file is untouched."""
    before = trace.read_bytes()
    with pytest.raises(Exception, match="is the file being read"):
        run("convert", trace, trace)
    assert trace.read_bytes() == before


def test_bad_rows_end_the_command_or_are_counted(trace: Path) -> None:
    """A bad row is a TraceError, with --skip-bad a count."""
    trace.write_text(trace.read_text() + "{}\n")
    with pytest.raises(TraceError, match="line 4: field 'input_length' is missing"):
        run("inspect", trace)
    assert answer("inspect", trace, "--skip-bad", 1)["counts"] == {"bad": 1}


def test_synthesize_writes_equal_bytes_for_equal_options(tmp_path: Path) -> None:
    """Two calls with the same options write the same file; it can be inspected."""
    for name in ("a.jsonl", "b.jsonl"):
        assert answer("synthesize", tmp_path / name, "--requests", 50)["rows"] == 50
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert answer("inspect", tmp_path / "a.jsonl")["rows"] == 50


@pytest.mark.parametrize("verb", ["inspect", "convert", "synthesize"])
def test_help_has_examples_and_explains_every_option(verb: str) -> None:
    """`--help` shows an example, and every option has words."""
    shown = run(verb, "--help").stdout
    assert f"bench trace {verb}" in shown
    assert isinstance(command, click.Group)
    for parameter in command.commands[verb].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_synthesize_offers_every_parameter_with_its_default() -> None:
    """The command's options are the fields of Synthesis, and their defaults are the same."""
    assert isinstance(command, click.Group)
    options = {each.name: each.default for each in command.commands["synthesize"].params}
    parameters = {each.name: each.default for each in fields(Synthesis)}
    assert {name: options[name] for name in parameters} == parameters
    assert options.keys() - parameters.keys() == {"out", "as_json"}


def test_every_count_has_words() -> None:
    """Each key that a reader or the fitting counts under is in the table of counts, and back."""
    room = Path(bench.__file__).parent / "workload"
    files = [*room.glob("readers/*.py"), room / "fit.py"]
    used = {key for file in files for key in re.findall(r'counts\["(\w+)"\]', file.read_text())}
    assert used == COUNTS.keys()
