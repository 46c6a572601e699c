"""Values beyond three standard deviations, and the slowest requests (metric system §2)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.report.blocks import Block, Cell, Column, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import DASH, clock, count, percent, seconds

_METRICS = ("ttft_s", "tpot_s", "e2e_s")
_LISTED = ("schedule_lag_s", "ttft_s", "tpot_s", "e2e_s")
_SIGMAS = 3


def blocks(evidence: Evidence) -> list[Block]:
    return [_beyond(evidence), _slowest(evidence)]


def _beyond(evidence: Evidence) -> Table:
    words = evidence.words
    rows = []
    for metric in _METRICS:
        values = evidence.answered(metric)
        title = Cell(evidence.title(metric))
        if len(values) < 2:
            reason = absent(words("absent.too_few"))
            rows.append((title, Cell(count(len(values))), *([reason] * 5)))
            continue
        mean, sigma = float(values.mean()), float(values.std(ddof=1))
        over = int(np.count_nonzero(values > mean + _SIGMAS * sigma))
        rows.append(
            (
                title,
                Cell(count(len(values))),
                Cell(seconds(mean)),
                Cell(seconds(sigma)),
                Cell(seconds(mean + _SIGMAS * sigma)),
                Cell(count(over)),
                Cell(percent(over / len(values))),
            )
        )
    heads = ("column.n", "column.mean", "outliers.sigma", "outliers.threshold")
    columns = [Column(words("column.metric"))]
    columns += [Column(words(head), "number") for head in heads]
    columns += [Column(words(h), "number") for h in ("outliers.beyond", "column.share")]
    return Table(words("outliers.table"), columns, rows)


def _slowest(evidence: Evidence) -> Table:
    words = evidence.words
    rows = []
    for _, request in evidence.slowest.iterrows():
        index = str(int(request["index"]))
        tokens = ("prompt_tokens", "cached_tokens", "output_tokens")
        rows.append(
            (
                Cell(f"#{index}", href="#figure-timeline", focus=index),
                Cell(clock(request["intended_s"])),
                *(_duration(evidence, request, metric) for metric in _LISTED),
                *(
                    Cell(count(request[name]))
                    if pd.notna(request[name])
                    else absent(words("absent.not_told"))
                    for name in tokens
                ),
                Cell(str(request["finish_reason"]) if pd.notna(request["finish_reason"]) else DASH),
            )
        )
    columns = [
        Column(words("axis.request")),
        Column(words("outliers.at"), "number"),
        *(Column(evidence.short(metric), "number") for metric in _LISTED),
        *(Column(words(f"column.{name}"), "number") for name in ("prompt", "cached", "output")),
        Column(words("outliers.finish"), "code"),
    ]
    return Table(words("outliers.slowest"), columns, rows, key="slowest")


def _duration(evidence: Evidence, request: pd.Series, metric: str) -> Cell:
    value = request[metric]
    if pd.isna(value):
        return absent(evidence.words(f"absent.{metric}"))
    return Cell(seconds(float(value)))
