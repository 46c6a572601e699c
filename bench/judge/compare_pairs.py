"""The same request on both sides: runs of one plan, joined by the request's index.

A server does not do the same thing twice, so single pairs mean little; their median says how a
typical request fared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.judge.compare_blocks import BLOCKS, neighbour_factor, ranked
from bench.judge.compare_samples import Slice
from bench.judge.compare_stats import Spread
from bench.judge.metric import column

PAIRED_METRICS = ("ttft_s", "tpot_s", "e2e_s")


@dataclass(frozen=True, slots=True)
class Pair:
    """One metric over the `n` requests that have it in every run.

    `change` is the logarithm of the median ratio NEW / BASE, with its interval; `slower_fraction`
    the share of requests that took longer in NEW.
    """

    metric: str
    n: int
    change: float
    low: float
    high: float
    slower_fraction: float


def pairs_of(base: Sequence[Slice], new: Sequence[Slice], confidence: float) -> tuple[Pair, ...]:
    """A pair for each metric that enough requests have in every run."""
    blocks = pd.Series(base[0].block, index=column(base[0].requests, "index").astype(np.int64))
    found = (_pair(metric, base, new, blocks, confidence) for metric in PAIRED_METRICS)
    return tuple(pair for pair in found if pair is not None)


def _pair(
    metric: str,
    base: Sequence[Slice],
    new: Sequence[Slice],
    blocks: pd.Series[int],
    confidence: float,
) -> Pair | None:
    ratio = (_mean_log(metric, new) - _mean_log(metric, base)).dropna()
    ratio = ratio[ratio.index.isin(blocks.index)]
    logs = np.asarray(ratio, np.float64)
    sample = ranked(logs, np.asarray(blocks[ratio.index], np.int64), 0.5)
    if not sample.enough:
        return None
    variance = float(sample.replicates().var(ddof=1)) * neighbour_factor(sample)
    error = float(np.sqrt(variance * BLOCKS / (BLOCKS - 1)))
    half = Spread(error, BLOCKS - 1).half_width(confidence)
    change = sample.value
    slower = float((sample.ascending > 0).mean())
    return Pair(metric, sample.n, change, change - half, change + half, slower)


def _mean_log(metric: str, side: Sequence[Slice]) -> pd.Series[float]:
    """Mean logarithm over a side's runs by request; NaN where one run has no finite value."""
    columns = []
    for found in side:
        values = column(found.requests, metric)
        usable = np.isfinite(values) & (values > 0)
        logs = np.log(values, out=np.full(len(values), np.nan), where=usable)
        columns.append(pd.Series(logs, index=column(found.requests, "index").astype(np.int64)))
    return pd.concat(columns, axis=1).mean(axis=1, skipna=False)
