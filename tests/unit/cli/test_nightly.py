"""`bench nightly`: what a night that is stopped leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import cli
from bench.conduct.run import Done, Order, Watch
from bench.errors import ExitCode
from bench.nightly import rounds
from bench.record.synthetic import SyntheticRun, write_synthetic_run


@pytest.mark.parametrize("stopped_at", [0, 2])
def test_an_interrupted_night_is_no_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    """Its runs stay; it is not kept, judged or published as a night of fewer rounds."""
    path = tmp_path / "nightly.yaml"
    path.write_text(
        "name: n\ntarget: {url: 'http://127.0.0.1:1'}\nworkload: chat\nfolder: out\n"
        "warmup_rounds: 0\nreports: false\n"
    )
    made: list[Path] = []

    def conduct(order: Order, watch: Watch) -> Done:
        made.append(
            write_synthetic_run(order.folder / f"run{len(made)}", SyntheticRun(requests=60))
        )
        return Done(made[-1], {}, interrupted=len(made) > stopped_at)

    monkeypatch.setattr(rounds, "conduct", conduct)
    found = CliRunner().invoke(cli, ["nightly", "-c", str(path)])
    assert found.exit_code == ExitCode.INTERRUPTED
    assert "no night was kept" in found.stderr
    assert len(made) == stopped_at + 1, "the night ends there"
    assert not (tmp_path / "out" / "nights").exists()
    assert not (tmp_path / "out" / "index.html").exists()
