"""`bench nightly` from configuration to page, against the simulated server."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from bench.cli.nightly import command
from bench.nightly.nights import read_nights
from bench.sim.config import SimConfig
from bench.sim.process import running_sim

RECIPE = """
name: k
title: {zh: 测试, en: k}
source:
  kind: synthetic
  input_tokens: {kind: fixed, value: 40}
  output_tokens: {kind: fixed, value: 3}
arrivals: {kind: constant, rate_rps: 60}
requests: 60
"""


def test_a_night_leaves_a_history(tmp_path: Path) -> None:
    """A night makes its warm-up round and its rounds, is kept, judged and published."""
    (tmp_path / "k.yaml").write_text(RECIPE)
    path = tmp_path / "nightly.yaml"
    with running_sim(SimConfig(port=0)) as server:
        path.write_text(
            f"name: n\ntarget: {{url: '{server.url}'}}\nworkload: k.yaml\nrounds: 2\n"
            "warmup_rounds: 1\nfolder: out\n"
        )
        found = CliRunner().invoke(command, ["-c", str(path), "--label", "one", "--json"])
    assert found.exit_code in (0, 4), found.output  # 4 where this machine was too busy
    (night,) = read_nights(tmp_path / "out")
    answer = json.loads(found.stdout)
    assert (night.id, night.label) == (answer["night"], "one")
    assert night.server.startswith("vLLM")
    assert len(night.rounds) == 2
    runs = tmp_path / "out" / "runs"
    assert len([each for each in runs.iterdir() if each.is_dir()]) == 3
    index = (tmp_path / "out" / "index.html").read_text()
    assert "one" in index
    for each in night.rounds:
        page = runs / each.run / "report.html"
        assert f'href="runs/{each.run}/report.html"' in index
        assert 'src="../plotly.min.js"' in page.read_text(), "the library is not in every page"
    assert (runs / "plotly.min.js").is_file()
    assert (tmp_path / "out" / "latest" / "junit.xml").is_file()
