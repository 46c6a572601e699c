"""The load as it was offered and as it went out: rate, concurrency, schedule lag."""

from __future__ import annotations

import numpy as np

from bench.judge.stats import nearest_rank
from bench.report import axes, figures, thin
from bench.report.blocks import Block, Figure, Note
from bench.report.evidence import Evidence
from bench.report.numbers import count, seconds, significant

_POINTS = 1500


def blocks(evidence: Evidence) -> list[Block]:
    return [_rates(evidence), _concurrency(evidence), _lag(evidence)]


def _rates(evidence: Evidence) -> Figure:
    words = evidence.words
    at, offered = evidence.per_second("offered")
    _, achieved = evidence.per_second("achieved")
    unit = words("unit.1/s")
    traces = [
        figures.line(
            words(f"load.{name}"),
            at[kept],
            values[kept],
            colour,
            hover=f"{words(f'load.{name}')}: %{{y:,.4~r}} {unit}",
            dash=dash,
        )
        for name, values, colour, dash in (
            ("offered", offered, "@grey", "dot"),
            ("achieved", achieved, "@blue", "solid"),
        )
        for kept in (thin.thin(values, _POINTS),)
    ]
    return Figure(
        key="load-rate",
        title=words("load.rate"),
        reading=words(
            "load.reading_rate",
            offered=evidence.show("offered_rps", evidence.scalar("offered_rps")),
            achieved=evidence.show("achieved_rps", evidence.scalar("achieved_rps")),
        ),
        spec=figures.figure(
            traces,
            axes.Axis(words("axis.run_time"), from_zero=True),
            axes.Axis(words("axis.requests_per_s"), from_zero=True),
            marks=evidence.window_marks(),
            together=True,
        ),
        table=evidence.series_table(
            words("load.rate"),
            {"offered": words("load.offered"), "achieved": words("load.achieved")},
        ),
        note=evidence.thinned(_POINTS, len(at)),
    )


def _concurrency(evidence: Evidence) -> Figure:
    words = evidence.words
    at, running = evidence.per_second("running")
    kept = thin.thin(running, _POINTS)
    start, end = evidence.window
    inside = running[(at >= start) & (at < end)]
    hover = f"%{{x:,.0f}} s<br>{words('load.running')}: %{{y:,.4~r}}"
    line = figures.line(
        words("load.running"), at[kept], running[kept], "@purple", hover=hover, fill=True
    )
    return Figure(
        key="load-running",
        title=words("load.concurrency"),
        reading=words(
            "load.reading_running",
            mean=significant(float(np.nanmean(inside))) if len(inside) else "—",
            max=count(float(np.nanmax(inside))) if len(inside) else "—",
        ),
        spec=figures.figure(
            [line],
            axes.Axis(words("axis.run_time"), from_zero=True),
            axes.Axis(words("load.running"), from_zero=True),
            marks=evidence.window_marks(),
        ),
        table=evidence.series_table(words("load.concurrency"), {"running": words("load.running")}),
        note=evidence.thinned(len(kept), len(running)),
    )


def _lag(evidence: Evidence) -> Figure | Note:
    words = evidence.words
    frame = evidence.requests
    sent = frame["schedule_lag_s"].notna().to_numpy()
    lags = frame["schedule_lag_s"].to_numpy()[sent]
    if len(lags) == 0:
        return Note(words("absent.no_lag"), tone="absent")
    at = frame["intended_s"].to_numpy()[sent]
    order = np.argsort(at, kind="stable")
    kept = order[thin.thin(lags[order], _POINTS)]
    hover = f"%{{x:,.1f}} s<br>{evidence.short('schedule_lag_s')}: %{{y:.4~s}}s"
    ordered = np.sort(lags)
    return Figure(
        key="load-lag",
        title=words("load.lag"),
        reading=words(
            "load.reading_lag",
            p50=seconds(nearest_rank(ordered, 0.5)),
            p99=seconds(nearest_rank(ordered, 0.99)),
            max=seconds(float(ordered[-1])),
        ),
        spec=figures.figure(
            [
                figures.points(
                    words("load.lag"), at[kept], lags[kept], "@orange", hover=hover, size=4
                )
            ],
            axes.Axis(words("axis.start_time"), from_zero=True),
            axes.duration(evidence.short("schedule_lag_s"), lags),
            marks=evidence.window_marks(),
        ),
        note=evidence.thinned(len(kept), len(lags)),
        wide=True,
    )
