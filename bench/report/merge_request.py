"""summary.md: a judged run in a few lines for a merge request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.judge.judgement import Judgement
from bench.record.files import write_whole
from bench.record.frame import Run
from bench.report.evidence import Evidence
from bench.report.numbers import DASH, count
from bench.report.sections.band import SYMBOLS, band
from bench.report.words import Words

NAME = "summary.md"


def write_summary(run: Run, judgement: Judgement, folder: Path, language: str) -> Path:
    """Write summary.md into `folder` and return its path.

    Raises NotValidError where the disk refuses it.
    """
    path = folder / NAME
    write_whole(path, markdown(Evidence(run, judgement, Words(language))).encode())
    return path


def markdown(evidence: Evidence) -> str:
    """Verdict, limits, what ran against what; the counts and the diagnosis in one line each."""
    words, top = evidence.words, band(evidence)
    lines = [
        f"### {top.symbol} {_plain(top.title)}: {top.verdict_word}",
        "",
        _plain(top.because),
        "",
    ]
    if evidence.limits:
        lines += [*_limits(evidence), ""]
    lines.append(words("page.list_break").join(f"{name}: {_plain(v)}" for name, v in top.facts))
    lines += ["", *_notes(evidence)]
    return "\n".join(lines) + "\n"


def _limits(evidence: Evidence) -> Iterator[str]:
    words = evidence.words
    heads = ("column.metric", "limits.limit", "column.value", "limits.result", "limits.source")
    titles = [words(head) for head in heads]
    titles.insert(3, evidence.interval_title)
    yield f"| {' | '.join(titles)} |"
    yield "|---|---:|---:|---:|---|---|"
    for limit in evidence.limits:
        yield f"| {' | '.join(_plain(cell) for cell in _cells(evidence, limit))} |"


def _cells(evidence: Evidence, limit: Mapping[str, Any]) -> tuple[str, ...]:
    words, result = evidence.words, limit["result"]
    bound = evidence.bound(limit)
    if limit["level"] != "target":
        bound = words("limits.of_level", bound=bound, level=words(f"limits.level_{limit['level']}"))
    infinite = "value" in limit["infinite"]
    return (
        evidence.limit_name(limit),
        bound,
        "∞" if infinite else evidence.show(limit["metric"], limit["value"]),
        evidence.interval(limit) or DASH,
        f"{SYMBOLS[result]} {words(f'result.{result}')}",
        limit["source"],
    )


def _notes(evidence: Evidence) -> Iterator[str]:
    """The balance of requests, and the symptoms that this run shows."""
    words, counts = evidence.words, evidence.summary["counts"]
    ended = {name: counts[name] for name in ("ok", "dropped", "aborted")}
    ended["failed"] = sum(counts["failed"].values())
    planned = counts["planned"]
    shown = {name: count(n) for name, n in ended.items()}
    yield words("balance.reading", planned=DASH if planned is None else count(planned), **shown)
    for rule in evidence.summary["diagnosis"]:
        if rule["result"] == "fires":
            yield f"- {evidence.own(rule['symptom'])} → {evidence.own(rule['cause'])}"


def _plain(text: str) -> str:
    """Text that ends no table cell, opens no link and no element."""
    escaped = text.replace("\u00a0", " ").replace("\n", " ")
    for sign in ("\\", "|", "<", "[", "`", "*"):
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped
