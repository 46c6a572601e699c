"""Diagnosis, resources and score on the page, and the same in summary.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli.main import cli
from bench.judge.profile import Profile
from bench.report.blocks import Note, Table
from bench.report.evidence import Evidence
from bench.report.merge_request import markdown
from bench.report.sections import diagnosis, resources, score
from bench.report.sections.latency import sliding_mean
from bench.report.words import LANGUAGES

_SCORE = {
    "scenario": "batch",
    "metrics": [
        {"dimension": dimension, "metric": metric, "statistic": statistic,
         "target": target, "worst": worst, "source": "§0"}
        for dimension, metric, statistic, target, worst in (
            ("latency", "ttft_s", "p50", 0.01, 1.0),
            ("throughput", "request_rps", "value", 1000.0, 0.0),
            ("cost", "cost_per_request", "value", 0.0001, 1.0),
            ("quality", "error_rate", "value", 0.001, 0.1),
            ("availability", "availability", "value", 0.999, 0.5),
        )
    ],
}  # fmt: skip


def texts(blocks: list[Any]) -> str:
    """Everything the blocks show."""
    shown = [block.text for block in blocks if isinstance(block, Note)]
    tables = [block for block in blocks if isinstance(block, Table)]
    shown += [cell.text for table in tables for row in table.rows for cell in row]
    return "\n".join(shown).replace("\u00a0", " ")


@pytest.fixture
def judged(evidence_of: Callable[..., Evidence], profile: Profile) -> Callable[..., Evidence]:
    """A run that is judged under a profile with these fields more."""

    def make(language: str = "en", more: dict[str, Any] | None = None, **run: Any) -> Evidence:
        fields = {**profile.model_dump(mode="json"), **(more or {})}
        rules = Profile.model_validate_json(json.dumps(fields))
        return evidence_of(language, rules, **run)

    return make


def test_a_rule_that_fires_shows_evidence_cause_and_next_step(judged: Callable[..., Any]) -> None:
    """Refused requests: the share with its threshold, what it means, what to do."""
    shown = diagnosis.blocks(judged(failures={"http_429": 0.1}))
    assert [type(block) for block in shown] == [Note, Table, Table]
    text = texts(shown[:2])
    assert text.startswith("1 of ")
    assert re.search(r"Share failed with 429 or 503 [\d.]+ % \(≥ 0\.1 %\)", text)
    assert "An admission limit or a rate limit is reached." in text


def test_a_quiet_run_names_no_cause_and_what_was_not_seen(judged: Callable[..., Any]) -> None:
    """No rule fires; rules without evidence are counted and say what is missing."""
    shown = diagnosis.blocks(judged(server_interval_s=None))
    assert [type(block) for block in shown] == [Note, Table]
    text = texts(shown)
    assert "None of" in text
    assert "the evidence is missing" in text
    assert "Accelerator utilisation" in text


def test_resources_stand_beside_their_ideal_range(judged: Callable[..., Any]) -> None:
    """What was not scraped is a dash with its reason; the range is there all the same."""
    (table,) = resources.blocks(judged())
    rows = {row[0].text: row for row in table.rows}
    cpu = rows["Host CPU in use"]
    assert cpu[1].text == "—"
    assert "not scraped" in cpu[1].note
    assert cpu[2].text.replace("\u00a0", " ") == "60 – 80 %"
    assert rows["KV cache usage"][1].text != "—"


def test_a_complete_score_is_a_number(judged: Callable[..., Any]) -> None:
    """The sentence has the total, the table the points of every metric."""
    prices = {"accelerators": 1, "per_accelerator_hour": 1.0}
    shown = score.blocks(judged(more={"score": _SCORE, "prices": prices}))
    assert re.fullmatch(r"[\d.]+ of 100 for batch\.", shown[0].text)
    assert all(row[5].text != "—" for row in shown[1].rows)
    costs = [row for row in shown[1].rows if row[0].text == "Cost per request"]
    assert costs and all(row[2].text.endswith("USD") for row in costs)


def test_an_incomplete_score_says_what_is_missing(judged: Callable[..., Any]) -> None:
    """Without prices there is no cost, and no total."""
    shown = score.blocks(judged(more={"score": _SCORE}))
    assert shown[0].text.startswith("Incomplete for batch: there is no score.")
    assert "Cost per request (the profile gives no prices)" in shown[0].text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_summary_holds_verdict_limits_and_conditions(
    judged: Callable[..., Any], language: str
) -> None:
    """A heading, one table row for each limit, the facts, the balance, the symptoms."""
    evidence = judged(language, failures={"http_429": 0.1})
    text = markdown(evidence)
    lines = text.splitlines()
    assert lines[0].startswith("### ✗ ")
    assert len([line for line in lines if line.startswith("| ")]) == 1 + len(evidence.limits)
    assert {line.count("|") for line in lines if line.startswith("|")} == {7}
    assert "120" in text
    assert lines[-1].startswith("- ")
    assert ("429" in lines[-1]) and bool(re.search("[一-鿿]", text)) == (language == "zh")


def test_text_from_outside_breaks_no_table_and_opens_no_element(
    judged: Callable[..., Any],
) -> None:
    """A model's name with markup stays text."""
    hostile = "a|b\n# <img src=x>[x](y)`"

    def change(run: Any) -> None:
        run.manifest["target"] = {"model": hostile}

    text = markdown(judged(change=change))
    assert r"a\|b # \<img src=x>\[x](y)\`" in text


def test_bench_judge_writes_it(synthetic_run: Callable[..., Path]) -> None:
    """summary.md lies beside verdict.json, in the language asked for, the same each time."""
    folder = synthetic_run(requests=50)
    written = []
    for _ in range(2):
        done = CliRunner().invoke(
            cli, ["judge", str(folder), "-p", "realtime-chat", "--lang", "zh"]
        )
        assert "score incomplete (real-time chat)" in done.stdout
        written.append((folder / "summary.md").read_text(encoding="utf-8"))
    assert written[0] == written[1]
    assert "| 指标 |" in written[0]


def test_the_sliding_mean_is_drawn_where_the_run_is_long_enough(
    judged: Callable[..., Any],
) -> None:
    """A run of over five minutes has the line, from its 300th second on; a short one has none."""
    column = "ttft_mean_5min_s"
    assert sliding_mean(judged(), column) == []
    (line,) = sliding_mean(judged("zh", requests=80, rate_rps=0.2), column)
    assert line["name"] == "5 分钟滑动平均"
    assert min(line["x"]) >= 300 - 1
    assert np.isfinite(line["y"]).all()
