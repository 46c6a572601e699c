"""Long series cut to what a screen can show.  What is cut is said beside the figure."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reals = NDArray[np.float64] | NDArray[np.float32]

_STRETCH = 1 << 18


def thin(y: Floats, points: int) -> NDArray[np.intp]:
    """Positions of at most `points` values of `y` that keep every bucket's least and greatest.

    The series is split into `points // 2` buckets of equal count; each keeps the positions of its
    minimum and maximum, in order, so a spike is never lost.  NaN counts as neither.
    """
    if len(y) <= points:
        return np.arange(len(y))
    edges = np.linspace(0, len(y), points // 2 + 1).astype(np.intp)
    kept = []
    for low, high in itertools.pairwise(edges):
        bucket = y[low:high]
        if np.isnan(bucket).all():
            continue
        kept += [low + np.nanargmin(bucket), low + np.nanargmax(bucket)]
    return np.unique(np.array(kept, dtype=np.intp))


def cdf(values: Floats, points: int = 300) -> tuple[Floats, Floats]:
    """Exact points (value, share of values ≤ it) of the distribution, denser towards the tail.

    Infinite values count and are not drawn: the curve ends below 1 by their share.

    Half of the probabilities are even, half approach 1 in even steps of log(1 − p), so that the
    last step is the maximum.  Values are nearest-rank quantiles, never interpolated.
    """
    ordered = np.sort(values)
    n = len(ordered)
    even = np.linspace(1 / n, 1, points // 2)
    tail = 1 - np.logspace(-0.3, -np.log10(n) - 0.3, points // 2) if n > 1 else even
    ranks = np.unique(np.clip(np.ceil(np.concatenate([even, tail]) * n), 1, n)).astype(np.intp)
    ranks = np.append(ranks, np.searchsorted(ordered, np.inf))
    ranks = np.unique(ranks[(ranks > 0) & np.isfinite(ordered[ranks - 1])])
    return ordered[ranks - 1], ranks / n


def log_bins(values: Reals, bins: int = 60) -> tuple[Floats, NDArray[np.int64]]:
    """Edges (bins + 1) and counts of a histogram with bins of equal ratio; zeros go to the first.

    Values are finite.  Counted by arithmetic on the logarithm, a stretch at a time: of hundreds of
    millions of values no copy is made.
    """
    low, high = extent(values)
    if np.isinf(low):
        return np.array([0.0, 1.0]), np.array([len(values)])
    if high <= low * 1.0001:
        return np.array([low * 0.99, high * 1.01]), np.array([len(values)])
    scale, counts = bins / np.log(high / low), np.zeros(bins, np.int64)
    for part in _stretches(values):
        where = ((np.log(np.maximum(part, low)) - np.log(low)) * scale).astype(np.intp)
        counts += np.bincount(np.minimum(where, bins - 1), minlength=bins)
    return np.geomspace(low, high, bins + 1), counts


def extent(values: Reals) -> tuple[float, float]:
    """The least and the greatest of the positive finite values; (inf, 0) where there is none."""
    low, high = np.inf, 0.0
    for part in _stretches(values):
        known = part[(part > 0) & np.isfinite(part)]
        low = min(low, float(known.min(initial=np.inf)))
        high = max(high, float(known.max(initial=0)))
    return low, high


def _stretches(values: Reals) -> list[Reals]:
    """The values in stretches whose temporary arrays are small."""
    return [values[at : at + _STRETCH] for at in range(0, len(values), _STRETCH)]


def rounded(values: Floats, digits: int = 6) -> list[float | None]:
    """Values to `digits` significant digits, NaN and infinities as None, ready for JSON."""
    array = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(array)
    sized = np.where(finite & (array != 0), np.abs(array), 1.0)
    places = digits - 1 - np.floor(np.log10(sized))
    scale = 10.0 ** np.minimum(np.abs(places), 300)
    up = np.where(places >= 0, np.round(array * scale) / scale, np.round(array / scale) * scale)
    return [v if ok else None for v, ok in zip(up.tolist(), finite.tolist(), strict=True)]
