"""TTFT, TPOT, ITL and E2E: percentiles, distributions, and how they moved over the run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from bench.judge.ranked import Ranked
from bench.judge.stats import nearest_rank
from bench.report import axes, figures, thin
from bench.report.blocks import Block, Cell, Column, Figure, Table
from bench.report.evidence import Evidence
from bench.report.numbers import clock, count, percent, seconds, span
from bench.report.sections import percentiles, selftest
from bench.report.thin import Floats, Reals

DRAWN = ("ttft_s", "tpot_s", "e2e_s")
_COLOURS = dict(zip(DRAWN, figures.PALETTE, strict=False))
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
_MOST_POINTS = 2000
_CELLS = (80, 36)
_ROWS = 12
_DRIFT = 0.2


def blocks(evidence: Evidence) -> list[Block]:
    drawn = [metric for metric in DRAWN if len(evidence.answered(metric))]
    return [
        *percentiles.blocks(evidence),
        *selftest.blocks(evidence),
        _cdf(evidence, drawn),
        *(_over_time(evidence, metric) for metric in drawn),
        *(
            histogram(evidence, metric, evidence.answered(metric), _COLOURS[metric])
            for metric in drawn
        ),
        percentiles.other_views(evidence),
    ]


def _cdf(evidence: Evidence, drawn: list[str]) -> Figure:
    words = evidence.words
    ranked = {metric: evidence.ranked(metric) for metric in drawn}
    traces, marks = [], []
    for metric, values in ranked.items():
        title = evidence.short(metric)
        hover = f"{title}: %{{y:.4~%}} ≤ %{{x:.4~s}}s"
        x, y = thin.cdf(values)
        traces.append(figures.line(title, x, y, _COLOURS[metric], hover=hover, shape="hv"))
        marks += evidence.marks(metric, named=True)
    rows = [
        (Cell(f"P{100 * q:g}"), *(Cell(seconds(nearest_rank(v, q))) for v in ranked.values()))
        for q in _QUANTILES
    ]
    columns = [Column(words("column.percentile"))]
    columns += [Column(evidence.short(metric), "number") for metric in drawn]
    sentences = (_cdf_reading(evidence, metric, values) for metric, values in ranked.items())
    return Figure(
        key="latency-cdf",
        title=words("latency.cdf"),
        reading=words("page.sentence_break").join(sentences),
        spec=figures.figure(
            traces,
            axes.duration(words("axis.latency"), _reach(list(ranked.values()), marks)),
            axes.share(words("axis.share_within")),
            marks=marks,
            height=340,
        ),
        table=Table(words("latency.cdf"), columns, rows),
        note=words("latency.cdf_note"),
        wide=True,
    )


def _cdf_reading(evidence: Evidence, metric: str, ranked: Floats) -> str:
    """The share within the profile's first target; without one, the spread."""
    words, name = evidence.words, evidence.short(metric)
    limit = evidence.first_limit(metric)
    if limit is not None:
        within = np.count_nonzero(ranked <= limit["bound"]) / len(ranked)
        share, bound = percent(within), seconds(limit["bound"])
        return words("latency.reading_limit", metric=name, share=share, bound=bound)
    p50, p99 = (seconds(nearest_rank(ranked, q)) for q in (0.5, 0.99))
    if np.isinf(ranked[-1]):
        key = "mostly_failed" if np.isinf(nearest_rank(ranked, 0.5)) else "failed"
        share = percent(np.count_nonzero(np.isfinite(ranked)) / len(ranked))
        most = seconds(float(ranked[np.isfinite(ranked)].max()))
        return words(f"latency.reading_{key}", metric=name, p50=p50, share=share, most=most)
    return words("latency.reading_spread", metric=name, p50=p50, p99=p99)


def histogram(evidence: Evidence, metric: str, values: Reals, colour: str) -> Figure:
    """The histogram of one latency, with its limits; also used for gaps between tokens.

    `values` are reordered in place: the gaps of a run may be 200 million.
    """
    words, title = evidence.words, evidence.title(metric)
    edges, counts = thin.log_bins(values)
    together = max(1, len(counts) // _ROWS)
    ranked = Ranked(values)
    rows = [
        (
            Cell(span(seconds(a), seconds(b))),
            Cell(count(n)),
            Cell(percent(n / len(values))),
        )
        for (a, b), n in zip(
            pairwise(edges[::together]), counts.reshape(-1, together).sum(axis=1), strict=True
        )
    ]
    counted, marks = "gaps" if metric == "itl_s" else "requests", evidence.marks(metric)
    hover = f"%{{x:.4~s}}s – %{{customdata:.4~s}}s<br>{words(f'axis.{counted}')}: %{{y:,}}"
    return Figure(
        key=f"histogram-{metric}",
        title=words("latency.histogram", metric=title),
        reading=words(
            "latency.reading_histogram",
            low=seconds(nearest_rank(ranked, 0.25)),
            high=seconds(nearest_rank(ranked, 0.75)),
            max=seconds(float(values.max())),
            n=words(f"latency.n_{counted}", n=count(len(values))),
        ),
        spec=figures.figure(
            [figures.histogram(title, edges, counts, colour, hover=hover)],
            axes.duration(evidence.short(metric), _reach([values], marks)),
            axes.Axis(words(f"axis.{counted}"), from_zero=True, format=","),
            marks=marks,
        ),
        table=Table(
            words("latency.histogram", metric=title),
            [
                Column(words("column.range")),
                Column(words(f"axis.{counted}"), "number"),
                Column(words("column.share"), "number"),
            ],
            rows,
        ),
    )


def _reach(values: Sequence[Reals], marks: Sequence[figures.Mark]) -> list[float]:
    """What an axis has to reach: the values and the limits."""
    return [*(end for each in values for end in thin.extent(each)), *(mark.at for mark in marks)]


def _over_time(evidence: Evidence, metric: str) -> Figure:
    words = evidence.words
    started, values = evidence.started(metric)
    title, marks = evidence.title(metric), evidence.marks(metric, axis="y")
    if len(values) <= _MOST_POINTS:
        hover = f"%{{x:,.1f}} s<br>{evidence.short(metric)}: %{{y:.4~s}}s"
        trace = figures.points(title, started, values, _COLOURS[metric], hover=hover, size=4)
        note = words("latency.points_note")
    else:
        trace = _density(evidence, started, values)
        note = words("latency.density_note", n=count(len(values)))
    mean = sliding_mean(evidence, f"{metric.removesuffix('_s')}_mean_5min_s")
    if mean:
        note += words("page.sentence_break") + words("latency.mean_5min_note")
    if unanswered := len(evidence.requests) - len(values):
        note += words("page.sentence_break") + words("latency.failed_note", n=count(unanswered))
    return Figure(
        key=f"over-time-{metric}",
        title=words("latency.over_time", metric=title),
        reading=_drift(evidence, metric, started, values),
        spec=figures.figure(
            [trace, *mean],
            axes.Axis(words("axis.start_time"), from_zero=True),
            axes.duration(evidence.short(metric), _reach([values], marks)),
            marks=[*marks, *evidence.window_marks()],
        ),
        table=_intervals(evidence, metric, started, values),
        note=note,
    )


def sliding_mean(evidence: Evidence, column: str) -> list[figures.Trace]:
    """The 5 minute mean of a series as a line (§5.3.2); nothing where the run is shorter."""
    at, means = evidence.per_second(column)
    known = np.flatnonzero(~np.isnan(means))
    if not len(known):
        return []
    kept = known[thin.thin(means[known], _MOST_POINTS)]
    name = evidence.words("latency.mean_5min")
    unit = "s" if column.endswith("_s") else ""
    hover = f"%{{x:,.0f}} s<br>{name}: %{{y:.4~s}}{unit}"
    # A bin's mean is known at its end.
    return [figures.line(name, at[kept] + 1, means[kept], "@green", hover=hover)]


def _density(evidence: Evidence, started: Floats, values: Floats) -> figures.Trace:
    words = evidence.words
    columns, rows = _CELLS
    x = np.linspace(0, max(float(started.max()), 1e-9), columns + 1)
    floor = max(float(values[values > 0].min(initial=np.inf)), 1e-6)
    y = np.geomspace(floor, max(float(values.max()), floor * 1.01), rows + 1)
    counts, _, _ = np.histogram2d(np.clip(values, y[0], y[-1]), started, bins=[y, x])
    hover = f"%{{x:,.1f}} s, %{{y:.4~s}}s<br>{words('column.requests')}: %{{z:,}}"
    return figures.density(x, y, counts, hover=hover, legend=words("column.requests"))


def _drift(evidence: Evidence, metric: str, started: Floats, values: Floats) -> str:
    """Whether the latency moved: the medians of the first and last third of the window."""
    words = evidence.words
    start, end = evidence.window
    third = (end - start) / 3
    early = np.sort(values[(started >= start) & (started < start + third)])
    late = np.sort(values[(started >= end - third) & (started <= end)])
    if len(early) < 10 or len(late) < 10:
        return words("latency.reading_short", n=count(len(values)))
    before, after = nearest_rank(early, 0.5), nearest_rank(late, 0.5)
    change = after / before - 1 if before > 0 else 0.0
    trend = "rising" if change > _DRIFT else "falling" if change < -_DRIFT else "steady"
    return words(
        f"latency.reading_{trend}",
        metric=evidence.short(metric),
        before=seconds(before),
        after=seconds(after),
    )


def _intervals(evidence: Evidence, metric: str, started: Floats, values: Floats) -> Table:
    words = evidence.words
    edges = np.linspace(0, max(float(started.max()), 1e-9), _ROWS + 1)
    where = np.clip(np.searchsorted(edges, started, side="right") - 1, 0, _ROWS - 1)
    rows = []
    for k in range(_ROWS):
        part = np.sort(values[where == k])
        if len(part) == 0:
            continue
        quantiles = (nearest_rank(part, q) for q in (0.5, 0.99, 1.0))
        span = Cell(f"{clock(edges[k])} – {clock(edges[k + 1])}")
        rows.append((span, Cell(count(len(part))), *(Cell(seconds(q)) for q in quantiles)))
    columns = [Column(words("column.interval_of_run"))]
    columns += [Column(t, "number") for t in (words("column.requests"), "P50", "P99")]
    columns.append(Column(words("column.max"), "number"))
    return Table(words("latency.over_time", metric=evidence.title(metric)), columns, rows)
