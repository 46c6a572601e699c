"""`bench export`."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from bench.cli.export import command
from bench.errors import RunFolderError, UsageError
from bench.record.frame import open_run

Make = Callable[..., Path]


@pytest.fixture
def run(synthetic_run: Make) -> Path:
    return synthetic_run(requests=30, tokens_per_request=3, failures={"http_503": 0.3})


def export(*arguments: str | Path) -> bytes:
    """What the command writes to stdout; errors are raised."""
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout_bytes


def test_csv_is_the_default(run: Path) -> None:
    """One header, one line a request, empty where unknown, counts without a decimal point."""
    assert export(run) == export(run, "--csv")
    lines = list(csv.DictReader(export(run).decode().splitlines()))
    frame = open_run(run).requests
    assert len(lines) == 30 and list(lines[0]) == list(frame)
    for line, (_, row) in zip(lines, frame.iterrows(), strict=True):
        assert float(line["intended_s"]) == row["intended_s"]
        ok = row["outcome"] == "ok"
        assert line["output_tokens"] == ("3" if ok else "")
        assert line["error_class"] == ("" if ok else "http_503")


def test_json_lines(run: Path) -> None:
    """One object a request, null where unknown."""
    rows = [json.loads(line) for line in export(run, "--jsonl").splitlines()]
    assert [row["index"] for row in rows] == list(range(30))
    failed = [row for row in rows if row["outcome"] == "failed"]
    assert failed and all(row["first_s"] is None and row["status"] == 503 for row in failed)


def test_parquet_into_a_file(run: Path, tmp_path: Path) -> None:
    """-o writes the whole table and nothing to stdout."""
    out = tmp_path / "requests.parquet"
    assert export(run, "--parquet", "-o", out) == b""
    table = pq.read_table(out)
    assert table.num_rows == 30
    assert str(table.schema.field("output_tokens").type) == "int32"
    assert str(table.schema.field("first_s").type) == "double"
    assert table["output_tokens"].null_count == table["first_s"].null_count > 0


def test_an_empty_run_has_a_header(synthetic_run: Make) -> None:
    """A run that was killed before its first flush exports the header alone."""
    run = synthetic_run(requests=1)
    for part in (run / "requests").iterdir():
        part.unlink()
    assert len(export(run).splitlines()) == 1
    assert export(run, "--jsonl") == b""


def test_mistakes_are_told(run: Path, tmp_path: Path) -> None:
    """No run folder, or no place to write: one error, and nothing left behind."""
    with pytest.raises(RunFolderError, match="no run folder"):
        export(tmp_path / "none")
    with pytest.raises(UsageError, match=r"can't write .*none/out.csv"):
        export(run, "-o", tmp_path / "none" / "out.csv")
    (tmp_path / ".out.csv.tmp").symlink_to("/dev/full")
    with pytest.raises(UsageError, match="No space left"):
        export(run, "-o", tmp_path / "out.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_reader_that_stops_early_is_no_error(synthetic_run: Make) -> None:
    """`bench export RUN | head -1` ends quietly."""
    run = synthetic_run(requests=5_000, tokens_per_request=1)
    script = "from bench.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "export", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as bench:
        assert bench.stdout is not None and bench.stderr is not None
        bench.stdout.read(10)
        bench.stdout.close()
        assert bench.stderr.read() == b""
        assert bench.wait() == 0
