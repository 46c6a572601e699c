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


def test_two_nights_leave_a_history(tmp_path: Path) -> None:
    """Each night makes its rounds and warm-up, is kept, judged and published."""
    (tmp_path / "k.yaml").write_text(RECIPE)
    path = tmp_path / "nightly.yaml"
    answers = []
    with running_sim(SimConfig(port=0)) as server:
        path.write_text(
            f"name: n\ntarget: {{url: '{server.url}'}}\nworkload: k.yaml\nrounds: 2\n"
            "warmup_rounds: 1\nfolder: out\n"
        )
        for label in ("one", "two"):
            found = CliRunner().invoke(command, ["-c", str(path), "--label", label, "--json"])
            assert found.exit_code in (0, 3, 4), found.output
            answers.append(json.loads(found.stdout))
    nights = read_nights(tmp_path / "out")
    assert [night.label for night in nights] == ["one", "two"]
    assert [night.id for night in nights] == [answer["night"] for answer in answers]
    assert all(len(night.rounds) == 2 for night in nights)
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 6
    assert nights[0].conditions["recipe"] == nights[1].conditions["recipe"]
    assert "two" in (tmp_path / "out" / "index.html").read_text()
    assert (tmp_path / "out" / "latest" / "junit.xml").is_file()
