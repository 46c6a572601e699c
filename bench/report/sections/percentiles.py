"""The percentile table (metric system §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.judge.metric import Scope
from bench.judge.metrics import METRICS
from bench.judge.stats import nearest_rank
from bench.report.blocks import Block, Cell, Column, Note, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import count

_STATISTICS = ("mean", "std", "min", "p50", "p90", "p95", "p99", "p999", "max")
_CLEANED = ("trimmed_10", "below_p99")


def blocks(evidence: Evidence) -> list[Block]:
    """The table, and how it counts failed requests where there are any."""
    entries = evidence.summary["metrics"].values()
    failed = any(entry.get("infinite_n") for entry in entries)
    note = [Note(evidence.words("latency.percentiles_failed"))] if failed else []
    return [_percentile_table(evidence), *note]


def _percentile_table(evidence: Evidence) -> Table:
    """One row for each metric of requests or tokens that some request has."""
    words = evidence.words
    rows = []
    for name, metric in METRICS.items():
        entry = evidence.summary["metrics"].get(name)
        if metric.scope is Scope.RUN or not entry or not entry["n"]:
            continue
        rows.append(
            (
                Cell(evidence.title(name), note=evidence.definition(name)),
                *(_value(evidence, name, entry, key) for key in _STATISTICS),
                *(Cell(count(entry[key])) for key in ("n", "unknown", "not_applicable")),
            )
        )
    heads = [
        evidence.statistic(key) if key[0] == "p" else words(f"column.{key}") for key in _STATISTICS
    ]
    heads += [words(f"column.{key}") for key in ("n", "unknown", "not_applicable")]
    columns = [Column(words("column.metric")), *(Column(head, "number") for head in heads)]
    return Table(words("latency.percentiles"), columns, rows)


def other_views(evidence: Evidence) -> Table:
    """The window beside the uncut phase, and the means that the documents call cleaned."""
    words, summary = evidence.words, evidence.summary
    uncut = summary["uncut"]["metrics"]
    rows = []
    for name, cleaned in summary["cleaned"].items():
        views = [(summary["metrics"][name], key) for key in ("p50", "p99", "mean")]
        whole = [(uncut[name], key) for key in ("p50", "p99", "mean")]
        pairs = [view for both in zip(views, whole, strict=True) for view in both]
        rows.append(
            (
                Cell(evidence.title(name), note=name),
                *(_value(evidence, name, entry, key) for entry, key in pairs),
                _answered_p99(evidence, name),
                *(_value(evidence, name, cleaned, key) for key in _CLEANED),
            )
        )
    heads = [
        words(f"latency.{view}", statistic=evidence.statistic(key))
        for key in ("p50", "p99", "mean")
        for view in ("in_window", "uncut")
    ]
    heads += [words(f"latency.{key}") for key in ("answered_p99", *_CLEANED)]
    columns = [Column(words("column.metric")), *(Column(head, "number") for head in heads)]
    return Table(words("latency.other_views"), columns, rows)


def _answered_p99(evidence: Evidence, name: str) -> Cell:
    """What tools report that leave failed requests out."""
    values = np.sort(evidence.answered(name))
    if not len(values):
        return absent(evidence.words("absent.no_value"))
    return Cell(evidence.show(name, nearest_rank(values, 0.99)))


def _value(evidence: Evidence, name: str, entry: Mapping[str, Any], key: str) -> Cell:
    if key in entry.get("infinite", ()):
        return Cell("∞", note=evidence.words("absent.infinite"))
    return evidence.cell(name, entry[key], evidence.words("absent.no_value"))
