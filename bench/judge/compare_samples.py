"""Samples of a judged run for a comparison: which rows and seconds go into which block of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.judge.compare_blocks import BLOCKS, Sample, Sums, ranked
from bench.judge.metric import column, outcome_is
from bench.judge.stats import Flags, Floats
from bench.judge.usage import prompt_usage
from bench.judge.window import Window

Ints = NDArray[np.int64]

_SAME_INSTANT_S = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One window of a judged run.

    `requests`: the rows whose intended start lies in it, with their metrics as columns;
    `not_applicable` the masks of those; `block` the block of each, by equal parts of the time
    from the window's start to the last intended start.  `seconds`: the rows of the run's series
    that lie wholly in it; `second_block` the block of each.
    """

    requests: pd.DataFrame
    not_applicable: Mapping[str, Flags]
    block: Ints
    seconds: pd.DataFrame
    second_block: Ints


def slice_of(
    requests: pd.DataFrame,
    not_applicable: Mapping[str, Flags],
    series: pd.DataFrame,
    window: Window,
    *,
    cold_start: bool = False,
) -> Slice:
    """The part of a judgement's `requests` and `series` in `window`.

    Requests of the warm-up phase are left out unless `cold_start`.
    """
    intended = column(requests, "intended_s")
    kept = window.holds(intended)
    if not cold_start:
        kept &= (requests["phase"] == "main").to_numpy(np.bool_)
    after = intended[kept] - window.start_s
    place = after / max(float(after.max(initial=0.0)), _SAME_INSTANT_S)
    begins = column(series, "second")
    first, last = window.start_s - _SAME_INSTANT_S, window.end_s + _SAME_INSTANT_S
    chosen = np.flatnonzero((begins >= first) & (begins + 1 <= last))
    return Slice(
        requests=requests[kept],
        not_applicable={name: mask[kept] for name, mask in not_applicable.items()},
        block=np.clip((place * BLOCKS).astype(np.int64), 0, BLOCKS - 1),
        seconds=series.iloc[chosen],
        second_block=np.arange(len(chosen)) * BLOCKS // max(len(chosen), 1),
    )


def sample_of(found: Slice, metric: str, q: float | None) -> Sample | None:
    """The sample of one metric: of its quantile `q`, or its mean or value where `q` is None.

    None where the run does not have it.
    """
    if metric in SUMS:
        return SUMS[metric](found)
    values, block = column(found.requests, metric), found.block
    known = ~np.isnan(values)
    if metric in found.not_applicable:
        known &= ~found.not_applicable[metric]
    if q is None:
        known &= np.isfinite(values)
    if not known.any():
        return None
    if q is not None:
        return ranked(values[known], block[known], q)
    return _sums(block[known], values[known], np.ones(int(known.sum())))


def _sums(block: Ints, part: Floats, whole: Floats, *, counts: bool = False) -> Sums | None:
    """None where the whole is nothing."""
    if not whole.sum() > 0:
        return None
    parts, wholes = (
        np.bincount(block, values, BLOCKS).astype(np.float64) for values in (part, whole)
    )
    return Sums(parts, wholes, len(block), counts)


def _rate(*names: str) -> Callable[[Slice], Sums | None]:
    """The sum of columns of the series, per second."""

    def per_second(found: Slice) -> Sums | None:
        total = np.sum([column(found.seconds, name) for name in names], axis=0)
        if not len(total) or np.isnan(total).any():
            return None
        return _sums(found.second_block, total, np.ones(len(total)))

    return per_second


def _error_rate(found: Slice) -> Sums | None:
    failed = outcome_is(found.requests, "failed")
    return _sums(found.block, failed.astype(np.float64), np.ones(len(failed)), counts=True)


def _goodput_fraction(found: Slice) -> Sums | None:
    if column(found.seconds, "good").size == 0 or np.isnan(column(found.seconds, "good")).any():
        return None
    good = found.requests["good"].to_numpy(np.float64)
    return _sums(found.block, good, np.ones(len(good)), counts=True)


def _cache_client(found: Slice) -> Sums | None:
    usage = prompt_usage(found.requests)
    return _sums(found.block[usage.rows], usage.cached, usage.prompt)


SUMS: Mapping[str, Callable[[Slice], Sums | None]] = {
    "request_rps": _rate("achieved"),
    "output_tps": _rate("output_tokens"),
    "total_tps": _rate("output_tokens", "input_tokens"),
    "goodput_rps": _rate("good"),
    "goodput_tps": _rate("good_tokens"),
    "goodput_fraction": _goodput_fraction,
    "error_rate": _error_rate,
    "cache_client": _cache_client,
}
"""Run metrics that are a sum over a sum, and so can be resampled.  Rates are over whole seconds of
the window, so they differ from the table's by what lies in the last part of one."""
