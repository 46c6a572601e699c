"""The composite score of a run (metric system §7, §5.4.4).

Score = Σ (metric score × weight × coefficient) / Σ (weight × coefficient).  The scenario gives each
dimension its weight, shared evenly by the dimension's metrics; the profile gives each metric its
coefficient.  A metric scores 100 at its target or better and falls linearly to 0 at its worst
bound.  Where a value is absent, or a dimension has no metric, there is no score: it is incomplete.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.judge.metric import ABSENT, Scope, Text
from bench.judge.metrics import METRICS
from bench.judge.ranked import Ranked
from bench.judge.score_weights import DIMENSIONS, SCENARIOS
from bench.judge.stats import finite_or_none, nearest_rank
from bench.judge.verdict import MAX_LOST_FRACTION, Evidence, lost_allowed, lost_in

if TYPE_CHECKING:
    from bench.judge.profile import Score, Scored

_FULL = 100.0
_NO_VALUE = Text("窗口内没有值", "no value in the window")
_NO_METRIC = Text("SLO 配置未给出该维度的指标", "the profile gives it no metric")
_NOT_VALID = Text("运行无效", "the run is not valid")


@dataclass(frozen=True, slots=True)
class _Row:
    scored: Scored
    value: float
    points: float | None
    weight: float
    missing: Text | None


def score_of(score: Score | None, evidence: Evidence, valid: bool) -> dict[str, Any] | None:
    """The `score` part of verdict.json; None for a profile without one.

    `value` is None where anything is missing; `missing` names what, with the reason.
    """
    if score is None:
        return None
    scenario = SCENARIOS[score.scenario]
    rows = [_row(scored, scenario.weights, score, evidence) for scored in score.metrics]
    missing = [
        {"what": METRICS[row.scored.metric].title.as_json(), "why": row.missing.as_json()}
        for row in rows
        if row.missing
    ]
    given = {scored.dimension for scored in score.metrics}
    missing += [
        {"what": DIMENSIONS[name].as_json(), "why": _NO_METRIC.as_json()}
        for name in DIMENSIONS
        if name not in given
    ]
    if not valid:
        missing.insert(0, {"what": scenario.title.as_json(), "why": _NOT_VALID.as_json()})
    return {
        "scenario": {"name": score.scenario, "title": scenario.title.as_json()},
        "value": None if missing else _total(rows),
        "missing": missing,
        "metrics": [_as_json(row, evidence) for row in rows],
    }


def points(value: float, target: float, worst: float) -> float:
    """100 at the target or better, 0 at the worst bound or beyond, linear between."""
    share = (value - worst) / (target - worst)
    return _FULL * min(max(share, 0.0), 1.0)


def _total(rows: list[_Row]) -> float:
    counted = [(row.points or 0.0, row.weight * row.scored.coefficient) for row in rows]
    return math.fsum(p * w for p, w in counted) / math.fsum(w for _, w in counted)


def _row(scored: Scored, weights: Mapping[str, float], score: Score, evidence: Evidence) -> _Row:
    sharing = sum(other.dimension == scored.dimension for other in score.metrics)
    weight = weights[scored.dimension] / sharing
    value = _value(scored, evidence)
    if math.isnan(value):
        return _Row(scored, value, None, weight, _why(scored, evidence))
    return _Row(scored, value, points(value, scored.target, scored.worst), weight, None)


def _value(scored: Scored, evidence: Evidence) -> float:
    """The statistic of the window; NaN where it has none, +inf where failed requests reach it."""
    metric = METRICS[scored.metric]
    if metric.scope is Scope.RUN:
        return evidence.readings[metric.name].estimate.value
    if metric.scope is Scope.TOKEN:
        lost = lost_in(evidence.measured)
        if len(lost) and lost.mean() > lost_allowed(scored.statistic):
            return math.inf
        return _statistic(scored, evidence.itl_s)
    values = evidence.measured.columns[metric.name].values
    return _statistic(scored, Ranked(values[~np.isnan(values)]))


def _statistic(scored: Scored, known: Ranked) -> float:
    if not len(known):
        return math.nan
    if scored.statistic == "mean":
        finite = known.values[np.isfinite(known.values)]
        if len(known) - len(finite) > MAX_LOST_FRACTION * len(known):
            return math.inf
        return float(finite.mean(dtype=np.float64)) if len(finite) else math.nan
    quantile = scored.quantile
    return float(known.values.max()) if quantile is None else nearest_rank(known, quantile)


def _why(scored: Scored, evidence: Evidence) -> Text:
    reading = evidence.readings.get(scored.metric)
    return ABSENT[reading.absent] if reading and reading.absent else _NO_VALUE


def _as_json(row: _Row, evidence: Evidence) -> dict[str, Any]:
    scored, profile = row.scored, evidence.measured.profile
    unit = METRICS[scored.metric].unit if profile is None else profile.unit_of(scored.metric)
    return {
        "dimension": {"name": scored.dimension, "title": DIMENSIONS[scored.dimension].as_json()},
        "metric": scored.metric,
        "title": METRICS[scored.metric].title.as_json(),
        "unit": unit,
        "statistic": scored.statistic,
        "value": finite_or_none(row.value),
        "infinite": math.isinf(row.value),
        "target": scored.target,
        "worst": scored.worst,
        "points": row.points,
        "weight": row.weight,
        "coefficient": scored.coefficient,
        "source": scored.source,
    }
