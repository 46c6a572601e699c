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
    offered = evidence.per_second("offered")[1]
    failed = evidence.per_second("failed")[1]
    achieved = evidence.per_second("achieved")[1] + failed
    drawn = [("offered", offered, "@grey", "dot"), ("achieved", achieved, "@blue", "solid")]
    if failed.any():
        drawn.append(("failed", failed, "@vermilion", "solid"))
    unit = words("unit.1/s")
    traces = [
        figures.line(
            words(f"load.{name}"),
            *evidence.second_steps(values, _POINTS),
            colour,
            hover=f"{words(f'load.{name}')}: %{{y:,.4~r}} {unit}",
            shape="hv",
            dash=dash,
        )
        for name, values, colour, dash in drawn
    ]
    return Figure(
        key="load-rate",
        title=words("load.rate"),
        reading=words(
            "load.reading_empty" if evidence.window_empty else "load.reading_rate",
            offered=evidence.show("offered_rps", evidence.scalar("offered_rps")),
            achieved=evidence.show("achieved_rps", evidence.scalar("achieved_rps")),
            ok=evidence.show("request_rps", evidence.scalar("request_rps")),
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
            {words(f"load.{name}"): values for name, values, _, _ in drawn},
        ),
        note=evidence.thinned(_POINTS, len(offered)),
    )


def _concurrency(evidence: Evidence) -> Figure:
    words = evidence.words
    at, running = evidence.per_second("running")
    kept = thin.thin(running, _POINTS)
    ends = evidence.second_ends
    mean, most = _in_flight(evidence)
    hover = f"%{{x:,.0f}} s<br>{words('load.running')}: %{{y:,.4~r}}"
    line = figures.line(
        words("load.running"), ends[kept], running[kept], "@purple", hover=hover, fill=True
    )
    return Figure(
        key="load-running",
        title=words("load.concurrency"),
        reading=words(
            "load.reading_empty" if evidence.window_empty else "load.reading_running",
            mean=significant(mean),
            max=count(most),
        ),
        spec=figures.figure(
            [line],
            axes.Axis(words("axis.run_time"), from_zero=True),
            axes.Axis(words("load.running"), from_zero=True),
            marks=evidence.window_marks(),
        ),
        table=evidence.series_table(
            words("load.concurrency"), {words("load.running"): running * (ends - at)}
        ),
        note=evidence.thinned(len(kept), len(running)),
    )


def _in_flight(evidence: Evidence) -> tuple[float, int]:
    """Mean and most requests in flight over the window, from each one's send and end.

    The series has the ends of seconds only, between which short requests come and go.
    """
    start, end = evidence.window
    frame = evidence.requests
    sent = frame["sent_s"].to_numpy(np.float64)
    ended = frame["done_s"].fillna(evidence.duration_s).to_numpy(np.float64)
    seen = (sent < end) & (ended > start)
    began, gone = np.clip(sent[seen], start, end), np.clip(ended[seen], start, end)
    # An end comes before a beginning at the same instant.
    times = np.concatenate([gone, began])
    steps = np.repeat([-1, 1], len(began))[np.argsort(times, kind="stable")]
    mean = float((gone - began).sum()) / (end - start) if end > start else 0.0
    return mean, int(np.cumsum(steps).max(initial=0))


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
