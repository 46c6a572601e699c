"""summary.json: every metric of the window with its statistics (design, "Contracts")."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judge.goodput import within
from bench.judge.metric import ABSENT, Column, Measured, Reading
from bench.judge.ranked import Ranked
from bench.judge.stats import finite_or_none, nearest_rank, nearest_rank_of_two
from bench.judge.throughput import share

SCHEMA = 1
QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}

_TRIMMED_SHARE = 0.1
_BLOCK = 1_000_000


def metrics_of(
    columns: Mapping[str, Column],
    readings: Mapping[str, Reading],
    gaps: tuple[Ranked, Ranked],
) -> dict[str, Any]:
    """One entry for each metric, by name; `gaps` are ITL values in two parts."""
    entries = {name: distribution(found) for name, found in columns.items()}
    entries["itl_s"] = _gap_statistics(*gaps)
    return entries | {name: value_of(reading) for name, reading in readings.items()}


def distribution(found: Column) -> dict[str, Any]:
    """Statistics of a request metric.

    Percentiles and max rank failed requests (`infinite_n`) as +∞; where that is the answer, the
    number is null and the statistic is named in `infinite`.  Mean, std and min are over the others.
    """
    values = found.values
    skipped = np.zeros(len(values), np.bool_)
    if found.not_applicable is not None:
        skipped = found.not_applicable
    ranked = Ranked(values[~skipped & ~np.isnan(values)])
    finite = ranked.values[np.isfinite(ranked.values)]
    statistics = {
        "mean": _mean(finite),
        "std": float(finite.std(ddof=1)) if len(finite) > 1 else math.nan,
        "min": float(finite.min()) if len(finite) else math.nan,
        **{name: nearest_rank(ranked, q) for name, q in QUANTILES.items()},
        "max": float(ranked.values.max()) if len(ranked) else math.nan,
    }
    return {
        "n": len(ranked),
        "unknown": int((np.isnan(values) & ~skipped).sum()),
        "not_applicable": int(skipped.sum()),
        "infinite_n": len(ranked) - len(finite),
        **{name: finite_or_none(value) for name, value in statistics.items()},
        "infinite": [name for name, value in statistics.items() if math.isinf(value)],
    }


def _gap_statistics(first: Ranked, second: Ranked) -> dict[str, Any]:
    """The same of two parts, without a copy of them as float64."""
    n = len(first) + len(second)
    parts = [part.values for part in (first, second) if len(part)]
    total = math.fsum(float(part.sum(dtype=np.float64)) for part in parts)
    mean = total / n if n else math.nan
    squares = math.fsum(
        float(((block - mean) ** 2).sum(dtype=np.float64))
        for part in parts
        for block in np.array_split(part, len(part) // _BLOCK + 1)
    )
    statistics = {
        "mean": mean,
        "std": math.sqrt(squares / (n - 1)) if n > 1 else math.nan,
        "min": min((float(part.min()) for part in parts), default=math.nan),
        **{name: nearest_rank_of_two(first, second, q) for name, q in QUANTILES.items()},
        "max": max((float(part.max()) for part in parts), default=math.nan),
    }
    none = {"unknown": 0, "not_applicable": 0, "infinite_n": 0, "infinite": []}
    return {"n": n, **none, **{name: finite_or_none(value) for name, value in statistics.items()}}


def value_of(reading: Reading) -> dict[str, Any]:
    """A run metric: value and interval, or why there is none."""
    found = reading.estimate
    return {
        "value": finite_or_none(found.value),
        "low": finite_or_none(found.low),
        "high": finite_or_none(found.high),
        "n": found.n,
        "absent": ABSENT[reading.absent].as_json() if reading.absent else None,
    }


def attainment(measured: Measured) -> list[dict[str, Any]]:
    """How many requests met each limit of the good set alone, and all of them together."""
    good = measured.profile.good if measured.profile else None
    if good is None or measured.good is None or measured.undecided is None:
        return []
    rows = []
    for limit in good.limits:
        met, unknown = within(measured.columns[limit.metric], limit)
        alone = share(met, unknown, measured.confidence)
        rows.append({"metric": limit.metric, "bound": limit.bound, **value_of(alone)})
    jointly = share(measured.good, measured.undecided, measured.confidence)
    return [*rows, {"metric": None, "bound": None, **value_of(jointly)}]


def cleaned(columns: Mapping[str, Column], names: Sequence[str]) -> dict[str, Any]:
    """Means the documents call cleaned: shown beside the full ones, never judged.

    `trimmed_10`: without the first and last 10 % of the requests (§3.5.2.2).  `below_p99`: without
    those beyond P99 (§4.5.2).
    """
    views = {}
    for name in names:
        values = columns[name].values[np.isfinite(columns[name].values)]
        cut = int(len(values) * _TRIMMED_SHARE)
        ascending = np.sort(values)
        kept = ascending[ascending <= nearest_rank(ascending, 0.99)]
        views[name] = {
            "trimmed_10": finite_or_none(_mean(values[cut : len(values) - cut])),
            "below_p99": finite_or_none(_mean(kept)),
        }
    return views


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if len(values) else math.nan
