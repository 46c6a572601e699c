"""What runs at rising load tell together: where the attainment ends, where throughput does.

`max_goodput_rps` is DistServe's goodput (OSDI 2024; metric system §3): the highest offered rate at
which the attainment holds.  `scaling_coefficient` is §5.5.1's.  Both hold runs of one recipe
against each other; runs that are not valid are no points of anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.judgement import Judgement
from bench.judge.metric import Absence, Reading, absent, column
from bench.judge.stats import (
    UNKNOWN,
    Estimate,
    design_effect,
    nearest_rank,
    quantile_ranks,
    ratio_of_sums,
)

SUSTAINED_FRACTION = 0.95
"""Of an open loop: a server that ends fewer of what it is offered falls behind."""

FOLLOWING_FRACTION = 0.1
"""Of a closed loop: the least share of proportional growth that more slots have to bring."""

SHOWN = (
    "offered_rps", "request_rps", "ttft_s", "tpot_s", "e2e_s", "output_tps", "goodput_rps",
    "goodput_fraction", "error_rate",
)  # fmt: skip
"""Metrics of each step that are kept beside the step."""

PERCENTILES: Mapping[str, tuple[str, ...]] = {"ttft_s": ("p50", "p99"), "tpot_s": ("p50", "p99")}
"""Percentiles of a step that get an interval."""

_QUANTILES = {"p50": 0.5, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Point:
    """A share that a run reached at a load, with its interval (NaN where unknown), and the one
    that was wanted."""

    load: float
    share: float
    low: float
    high: float
    wanted: float

    @property
    def held(self) -> bool:
        return self.share >= self.wanted

    @property
    def shown(self) -> bool:
        """Its whole interval is at least what was wanted."""
        return self.low >= self.wanted

    @property
    def refuted(self) -> bool:
        """Its whole interval is below what was wanted."""
        return self.high < self.wanted

    @property
    def doubtful(self) -> bool:
        """It did not hold, but may have missed by chance."""
        return not self.held and self.high >= self.wanted


@dataclass(frozen=True, slots=True)
class Step:
    """One run of a sweep, judged.

    `load`: planned requests per second of an open loop, or slots of a closed one.  `run`: the run
    folder's link.  `reasons`: broken rules of validity.  `metrics`: entries of summary.json by
    name.  `percentiles`: (metric, percentile) → estimate.  `sustained`: see `sustained_share`.
    """

    load: float
    run: str
    verdict: str
    reasons: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, Any]]
    percentiles: Mapping[tuple[str, str], Estimate]
    sustained: Estimate

    @property
    def valid(self) -> bool:
        return not self.reasons

    def value(self, metric: str) -> Estimate:
        """A run metric; NaN where unknown."""
        entry = self.metrics[metric]
        value, low, high = (
            math.nan if entry[name] is None else float(entry[name])
            for name in ("value", "low", "high")
        )
        return Estimate(value, low, high, entry["n"])


def step_of(load: float, run: str, judgement: Judgement) -> Step:
    """The step that a judged run is."""
    summary, verdict = judgement.summary, judgement.verdict
    requests = judgement.requests[judgement.requests["in_window"]].sort_values("intended_s")
    return Step(
        load=load,
        run=run,
        verdict=verdict["verdict"],
        reasons=tuple(reason["rule"] for reason in verdict["reasons"]),
        metrics={name: summary["metrics"][name] for name in SHOWN},
        percentiles={
            (metric, name): _percentile(requests, metric, _QUANTILES[name], verdict["confidence"])
            for metric, names in PERCENTILES.items()
            for name in names
        },
        sustained=sustained_share(judgement.series, verdict["confidence"]),
    )


def _percentile(requests: pd.DataFrame, metric: str, q: float, confidence: float) -> Estimate:
    """A percentile of requests in time order, by counting (metric system §9); NaN is left out."""
    values = column(requests, metric)
    values = values[~np.isnan(values)]
    if not len(values):
        return UNKNOWN
    ascending = np.sort(values)
    value = nearest_rank(ascending, q)
    effective = len(values) / design_effect(values < value)
    low, high = quantile_ranks(q, len(values), effective, confidence)
    upper = float(ascending[high - 1]) if high <= len(values) else math.inf
    return Estimate(value, float(ascending[low - 1]), upper, len(values), effective)


def sustained_share(series: pd.DataFrame, confidence: float) -> Estimate:
    """Requests that ended by those offered, over the second half of the planned time.

    A server that keeps up ends as many as it is offered once the first answers are through; one
    that does not lets them queue, whatever the drain brings.  `series` is a judgement's.
    """
    offered = column(series, "offered")
    due = np.flatnonzero(offered > 0)
    if not len(due):
        return UNKNOWN
    half = slice((due[0] + due[-1] + 1) // 2, due[-1] + 1)
    ended = (column(series, "achieved") + column(series, "failed"))[half]
    return ratio_of_sums(ended, offered[half], confidence)


def attainment_points(steps: Sequence[Step], wanted: float) -> list[Point]:
    """Valid steps by the share of requests that met every limit of the good set."""
    return [
        point
        for step in steps
        if step.valid and not math.isnan((point := _attained(step, wanted)).share)
    ]


def _attained(step: Step, wanted: float) -> Point:
    found = step.value("goodput_fraction")
    return Point(step.load, found.value, found.low, found.high, wanted)


def sustained_points(steps: Sequence[Step]) -> list[Point]:
    """Valid steps of an open loop by the share of the offered requests that ended in time."""
    return [
        Point(step.load, step.sustained.value, step.sustained.low, step.sustained.high,
              SUSTAINED_FRACTION)
        for step in steps
        if step.valid and not math.isnan(step.sustained.value)
    ]  # fmt: skip


def following_points(steps: Sequence[Step]) -> list[Point]:
    """Valid steps of a closed loop by what their slots added to the output throughput.

    The share is the growth since the step before by the growth of the slots; the first step has
    nothing to be held against and follows.  One step alone is no point.
    """
    ascending = sorted((step for step in steps if step.valid), key=lambda step: step.load)
    points = []
    before: tuple[float, float] | None = None
    for step in ascending:
        tokens = step.value("output_tps").value
        if math.isnan(tokens) or tokens <= 0:
            continue
        share = 1.0
        if before is not None:
            share = (tokens / before[1] - 1) / (step.load / before[0] - 1)
        points.append(Point(step.load, share, math.nan, math.nan, FOLLOWING_FRACTION))
        before = step.load, tokens
    return points if len(points) > 1 else []


def bracket(points: Sequence[Point]) -> tuple[float | None, float | None]:
    """The highest load that held below every one that did not, and the lowest that did not.

    Where a higher load held, a doubtful one is chance: what a server bears falls with the load.
    """
    top = max((point.load for point in points if point.held), default=-math.inf)
    lost = [p.load for p in points if not p.held and not (p.doubtful and p.load < top)]
    above = min(lost, default=None)
    held = [p.load for p in points if p.held and (above is None or p.load < above)]
    return max(held, default=None), above


def highest_held(points: Sequence[Point]) -> Estimate:
    """The highest load that held.

    Its interval goes from the highest load up to it that is shown to hold to the lowest above it
    that is shown not to; NaN and +∞ where no run shows that.
    """
    held, _ = bracket(points)
    value = math.nan if held is None else held
    floor = -math.inf if held is None else held
    shown = [p.load for p in points if p.shown and p.load <= floor]
    refuted = [p.load for p in points if p.refuted and p.load > floor]
    low, high = max(shown, default=math.nan), min(refuted, default=math.inf)
    return Estimate(value, low, high, len(points))


def max_goodput(steps: Sequence[Step], wanted: float | None, *, open_loop: bool) -> Reading:
    """`max_goodput_rps` of a sweep over rates; `wanted` is the profile's attainment."""
    if wanted is None:
        return absent(Absence.NO_GOOD_SET)
    if not open_loop:
        return absent(Absence.CLOSED_LOOP)
    points = attainment_points(steps, wanted)
    if not points:
        return absent(Absence.NO_VALID_RUNS)
    found = highest_held(points)
    return Reading(found, Absence.NONE_HELD if math.isnan(found.value) else None)


def saturation_points(steps: Sequence[Step], *, open_loop: bool) -> list[Point]:
    """The points on which it is decided up to which load throughput follows the load."""
    return sustained_points(steps) if open_loop else following_points(steps)


def peak_throughput(steps: Sequence[Step]) -> Estimate:
    """The highest output tokens per second of any valid step, with that step's interval."""
    found = [step.value("output_tps") for step in steps if step.valid]
    known = [estimate for estimate in found if not math.isnan(estimate.value)]
    return max(known, key=lambda estimate: estimate.value, default=UNKNOWN)


def scaling_coefficient(peak: Estimate, replicas: int | None, one: Estimate | None) -> Reading:
    """Throughput at n replicas / (n × throughput at 1), of the peaks of two sweeps (§5.5.1).

    The interval takes either end of both: it covers at least as often as each of them.
    """
    if replicas is None or one is None:
        return absent(Absence.NEEDS_RUNS)
    if not one.value > 0 or math.isnan(peak.value):
        return absent(Absence.NO_VALID_RUNS)
    low = peak.low / (replicas * one.high) if one.high > 0 else math.nan
    high = peak.high / (replicas * one.low) if one.low > 0 else math.inf
    if math.isnan(peak.high) or math.isnan(one.low):
        high = math.nan
    return Reading(Estimate(peak.value / (replicas * one.value), low, high, 2))
