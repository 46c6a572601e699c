"""Statistics of one run: exact quantiles, intervals that allow for correlation, the steady window.

Requests of one run are correlated (they share queues and batches), so no interval here takes them
for independent: proportions use an effective sample size, means and rates use batch means.

Sources
    nearest rank       Hyndman & Fan, "Sample Quantiles in Statistical Packages", Am. Stat. 50
                       (1996), definition 1.
    exact binomial     Clopper & Pearson, Biometrika 26 (1934); with an effective sample size:
                       Korn & Graubard, Survey Methodology 24 (1998).
    batch means        Schmeiser, "Batch Size Effects in the Analysis of Simulation Output",
                       Oper. Res. 30 (1982): 10 to 30 batches.
    correlated batches the factor (1 + r) / (1 - r) for lag-1 correlation r of the batch means:
                       Tafazzoli, Steiger & Wilson, "N-Skart", IEEE Trans. Autom. Control 56 (2011).
    ratio of sums      Cochran, "Sampling Techniques" (1977), §6.3, linearised over batches.
    steady window      MSER-5: White, Simulation 69 (1997); Spratt (1998); at most half is cut, and
                       only a transient (see `mser5`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.judge.ranked import Ranked
from bench.judge.special import beta_cdf, beta_quantile, t_quantile

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ordered = NDArray[np.floating] | Ranked

BATCHES = 20
FEW_BATCHES = 10
_MAX_LAG_CORRELATION = 0.9
_MSER_BATCH = 5
_MSER_MIN_BATCHES = 8
_TRANSIENT_ERRORS = 3.0
_QUANTILE_SCALE = 10**6
_MAX_ADVICE = 10**9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval.  NaN where unknown; `n` is how many values it was made from.

    `effective_n` independent values would tell as much.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    effective_n: float = math.nan


UNKNOWN = Estimate(math.nan)


def finite_or_none(value: float | None) -> float | None:
    """A number that JSON can hold."""
    return value if value is not None and math.isfinite(value) else None


def rank_of(q: float, n: int) -> int:
    """1-based nearest rank of quantile `q` in `n` values: ceil(q n), in integer arithmetic."""
    return max(1, -(-round(q * _QUANTILE_SCALE) * n // _QUANTILE_SCALE))


def nearest_rank(ascending: Ordered, q: float) -> float:
    """Quantile of sorted or ranked values (no NaN); NaN when there are none."""
    n = len(ascending)
    return float(ascending[rank_of(q, n) - 1]) if n else math.nan


def quantiles(values: Floats, qs: Sequence[float]) -> list[float]:
    """Exact nearest-rank quantiles of unsorted values; NaN values are left out, +inf is ranked."""
    ascending = np.sort(values[~np.isnan(values)])
    return [nearest_rank(ascending, q) for q in qs]


def nearest_rank_of_two(first: Ordered, second: Ordered, q: float) -> float:
    """Quantile of both taken together, without joining them; NaN for no values."""
    n = len(first) + len(second)
    if not n:
        return math.nan
    rank = rank_of(q, n)
    low, high = max(0, rank - len(second)), min(rank, len(first))
    while low < high:  # how many of the rank's values come from `first`
        middle = (low + high) // 2
        if first[middle] < second[rank - middle - 1]:
            low = middle + 1
        else:
            high = middle
    of_first = float(first[low - 1]) if low else -math.inf
    of_second = float(second[rank - low - 1]) if rank > low else -math.inf
    return max(of_first, of_second)


def clopper_pearson(good: float, n: float, confidence: float) -> tuple[float, float]:
    """Exact two-sided interval of a proportion; `good` and `n` may be effective, so real numbers.

    (0, 1) when n is 0.
    """
    if n <= 0:
        return 0.0, 1.0
    tail, bad = (1 - confidence) / 2, n - good
    low = beta_quantile(tail, good, bad + 1) if good > 0 else 0.0
    high = beta_quantile(1 - tail, good + 1, bad) if bad > 0 else 1.0
    return low, high


def _batches_for(n: int) -> int:
    """How many batches a series of `n` values gives; 0 when it is too short for any."""
    if n >= 2 * BATCHES:
        return BATCHES
    return FEW_BATCHES if n >= FEW_BATCHES else 0


def _means(values: Floats, batches: int) -> Floats:
    """Means of `batches` equal runs of consecutive values; what is left over at the end is cut."""
    size = len(values) // batches
    means: Floats = values[: size * batches].reshape(batches, size).mean(axis=1)
    return means


def correlation_factor(series: Floats) -> float:
    """(1 + r) / (1 - r) for the lag-1 correlation r of a series, held between 0 and 0.9."""
    centred = series - series.mean()
    square = float(centred @ centred)
    if square <= 0:
        return 1.0
    r = float(centred[1:] @ centred[:-1]) / square
    r = min(max(r, 0.0), _MAX_LAG_CORRELATION)
    return (1 + r) / (1 - r)


def _standard_error(series: Floats) -> tuple[float, int]:
    """Standard error of a series' mean over its batches, and how many; NaN for under 10 values."""
    batches = _batches_for(len(series))
    if not batches:
        return math.nan, 0
    means = _means(series, batches)
    return math.sqrt(float(means.var(ddof=1)) * correlation_factor(means) / batches), batches


def batch_means(series: Floats, confidence: float) -> Estimate:
    """Mean of a series in time order (no NaN), with a Student-t interval over its batches.

    The interval is unknown for fewer than 10 values.
    """
    if not len(series):
        return UNKNOWN
    mean = float(series.mean())
    error, batches = _standard_error(series)
    if not batches:
        return Estimate(mean, n=len(series))
    half = t_quantile((1 + confidence) / 2, batches - 1) * error
    return Estimate(mean, mean - half, mean + half, len(series))


def ratio_of_sums(part: Floats, whole: Floats, confidence: float) -> Estimate:
    """sum(part) / sum(whole) of pairs in time order (no NaN), interval by linearised batch means.

    Unknown where the whole sums to 0.
    """
    total = float(whole.sum())
    if total <= 0:
        return UNKNOWN
    ratio = float(part.sum()) / total
    residual = batch_means(part - ratio * whole, confidence)
    half = (residual.high - residual.value) / (total / len(whole))
    return Estimate(ratio, ratio - half, ratio + half, len(whole))


def design_effect(good: Floats | Flags, total: Floats | None = None) -> float:
    """How many correlated samples tell as much about a share as one independent one; at least 1.

    `good[i]` of `total[i]` samples of request i were good (one each by default), in time order;
    counting the bad ones instead gives the same.  It is the variance of the share over batches, by
    what independent samples would have.
    """
    hits = good.astype(np.float64)
    counts = np.ones(len(hits)) if total is None else total
    samples = float(counts.sum())
    share = float(hits.sum()) / samples if samples else 0.0
    error, batches = _standard_error(hits - share * counts)
    if not batches or share in (0.0, 1.0):
        return 1.0
    variance = (error * len(hits) / samples) ** 2
    return max(1.0, variance * samples / (share * (1 - share)))


def proportion(flags: Flags, confidence: float) -> Estimate:
    """Share of true flags (in time order) with the exact interval on the effective sample size."""
    n = len(flags)
    if n == 0:
        return UNKNOWN
    share = float(flags.mean())
    effective = n / design_effect(flags)
    low, high = clopper_pearson(share * effective, effective, confidence)
    return Estimate(share, low, high, n, effective)


def quantile_ranks(q: float, n: int, effective: float, confidence: float) -> tuple[int, int]:
    """1-based ranks (l, u) in `n` values between which quantile `q` lies with this confidence.

    By counting: u is the least rank whose share is shown to be at least q by the exact binomial
    interval on the effective sample size, n + 1 where no rank is; l the least one not shown to be
    below q.  So "quantile <= bound" is shown where u values are within it, and refuted where fewer
    than l are.
    """

    tail = (1 - confidence) / 2

    def least(shown: Callable[[float], bool]) -> int:
        low, high = 0, n + 1
        while high - low > 1:
            middle = (low + high) // 2
            if middle == n or shown(middle / n * effective):
                high = middle
            else:
                low = middle
        return high

    # Clopper-Pearson's bounds against q, by the distribution and not by its inverse.
    def may_reach(good: float) -> bool:
        return beta_cdf(q, good + 1, effective - good) <= 1 - tail

    def reaches(good: float) -> bool:
        return beta_cdf(q, good, effective - good + 1) <= tail

    upper = least(reaches)
    if upper == n and beta_cdf(q, effective, 1.0) > tail:
        upper = n + 1
    return least(may_reach), upper


def more_needed(share: float, required: float, effective: float, confidence: float) -> float:
    """Effective samples to add before a proportion that stays at `share` is decided.

    0 when it is decided already; inf when `share` equals `required`, which no number decides.
    """
    if share == required or math.isnan(share):
        return math.inf

    tail = (1 - confidence) / 2

    def decided(n: float) -> bool:
        good = share * n
        if share > required:
            return beta_cdf(required, good, n - good + 1) <= tail
        return beta_cdf(required, good + 1, n - good) > 1 - tail

    if decided(effective):
        return 0.0
    upper = max(2 * effective, 2.0)
    while not decided(upper):
        upper *= 2
        if upper > _MAX_ADVICE:
            return math.inf
    lower = effective
    while upper - lower > 1:
        middle = (lower + upper) / 2
        lower, upper = (lower, middle) if decided(middle) else (middle, upper)
    return math.ceil(upper - effective)


def mser5(series: Floats) -> int:
    """How many leading values of a series to cut as warm-up (MSER-5); 0 for fewer than 40 values.

    The cut d, a multiple of 5 up to half the series, with the least sum of squares about the mean
    of what remains divided by the square of how many batches remain.  A series without a transient
    has its minimum anywhere, so what would be cut must also differ from what remains, by three
    standard errors of their means; else nothing is cut.
    """
    batches = len(series) // _MSER_BATCH
    if batches < _MSER_MIN_BATCHES:
        return 0
    means = _means(series[: batches * _MSER_BATCH], batches)
    tail = means[::-1]
    count = np.arange(1, batches + 1)
    total, squares = np.cumsum(tail), np.cumsum(tail**2)
    spread = np.maximum(squares - total**2 / count, 0.0)
    score = (spread / count**2)[::-1]
    cut = int(np.argmin(score[: batches // 2 + 1]))
    if not cut:
        return 0
    rest = means[cut:]
    error = float(rest.std(ddof=1)) * math.sqrt(1 / cut + 1 / len(rest))
    differs = abs(float(means[:cut].mean() - rest.mean())) > _TRANSIENT_ERRORS * error
    return cut * _MSER_BATCH if differs else 0
