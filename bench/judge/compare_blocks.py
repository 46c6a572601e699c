"""What one run says of one metric, in blocks of time, and how much it would vary.

A run's window is divided into `BLOCKS` equal stretches.  Resampling whole stretches keeps the
correlation of requests that share queues and batches (blocked bootstrap: Carlstein, Ann. Stat. 14
(1986); Künsch, Ann. Stat. 17 (1989)).  Neighbouring stretches of a slow process are themselves
correlated; the variance is enlarged by (1 + r) / (1 - r) for their lag-1 correlation r, as in
`bench.judge.stats`.

The same weights serve every run and every metric.  So two runs of one plan are resampled at the
same stretches of the plan (paired), and exchanging the two sides of a comparison changes the sign
of its result and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.judge.stats import Floats, correlation_factor, rank_of

BLOCKS = 20
REPLICATES = 1000
FEWEST_BEYOND = 10
"""Values that have to lie on either side of a quantile for its blocks to tell how it varies."""

_SEED = 20_240_229
_MOST_THRESHOLDS = 2048
_REACH = 6.0


@cache
def block_weights() -> Floats:
    """(REPLICATES, BLOCKS): how often each replicate draws each block; rows sum to BLOCKS."""
    rng = np.random.default_rng(_SEED)
    drawn = rng.multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), REPLICATES)
    return drawn.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Values of single requests for a nearest-rank quantile `q`.

    `ascending` holds no NaN; `block[i]` is the block of `ascending[i]`.
    """

    ascending: Floats
    block: NDArray[np.int64]
    q: float

    @property
    def n(self) -> int:
        return len(self.ascending)

    @property
    def enough(self) -> bool:
        """Whether there are enough values for blocks of them to tell how the quantile varies."""
        return self.n * min(self.q, 1 - self.q) >= FEWEST_BEYOND - 1e-9

    @property
    def value(self) -> float:
        return float(self.ascending[rank_of(self.q, self.n) - 1]) if self.n else math.nan

    def per_block(self) -> tuple[Floats, Floats]:
        """Values at most the quantile, and all values, of each block."""
        within = self.ascending <= self.value
        part = np.bincount(self.block, within, BLOCKS).astype(np.float64)
        return part, np.bincount(self.block, minlength=BLOCKS).astype(np.float64)

    def replicates(self) -> Floats:
        """(REPLICATES,) quantiles of the run with its blocks resampled; +inf where that is it."""
        weights = block_weights()
        counts, thresholds = self._counted()
        total = weights @ np.bincount(self.block, minlength=BLOCKS)
        needed = np.maximum(np.ceil(np.round(self.q * total, 6)), 1) - 0.5
        low, high = np.zeros(len(total), np.int64), np.full(len(total), len(thresholds) - 1)
        while (low < high).any():
            middle = (low + high) // 2
            reached = np.einsum("rb,rb->r", weights, counts[middle]) >= needed
            low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
        drawn: Floats = thresholds[high]
        return drawn

    def _counted(self) -> tuple[Floats, Floats]:
        """Values of each block at most each threshold, (thresholds, BLOCKS), and the thresholds.

        The thresholds are ranks around the quantile, as far as the resampled share can move.
        """
        n, weights = self.n, block_weights()
        part, whole = self.per_block()
        moved = (weights @ part) / np.maximum(weights @ whole, 1)
        reach = _REACH * float(moved.std()) + 2 / n
        low = max(int((self.q - reach) * n) - 1, 0)
        high = min(math.ceil((self.q + reach) * n) + 1, n - 1)
        ranks = np.unique(np.linspace(low, high, _MOST_THRESHOLDS).round().astype(np.int64))
        thresholds = self.ascending[ranks]
        counts = np.empty((len(ranks), BLOCKS))
        for k in range(BLOCKS):
            counts[:, k] = np.searchsorted(
                self.ascending[self.block == k], thresholds, side="right"
            )
        return counts, thresholds


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """A rate, a mean or a share: the sum of `part` over the sum of `whole`, (BLOCKS,) each.

    `n` values stand behind it; `counts` says that they are yes or no.
    """

    part: Floats
    whole: Floats
    n: int
    counts: bool = False

    @property
    def enough(self) -> bool:
        """Whether every block has something in it."""
        return bool((self.whole > 0).all())

    @property
    def value(self) -> float:
        total = float(self.whole.sum())
        return float(self.part.sum()) / total if total > 0 else math.nan

    def per_block(self) -> tuple[Floats, Floats]:
        return self.part, self.whole

    def replicates(self) -> Floats:
        """(REPLICATES,) values of the run with its blocks resampled; NaN of an empty draw."""
        weights = block_weights()
        whole = weights @ self.whole
        values: Floats = np.full(len(whole), np.nan)
        np.divide(weights @ self.part, whole, out=values, where=whole > 0)
        return values


Sample = Ranked | Sums


def ranked(values: Floats, blocks: NDArray[np.int64], q: float) -> Ranked:
    """A `Ranked` sample of unsorted values; NaN ones are left out."""
    known = ~np.isnan(values)
    values, blocks = values[known], blocks[known]
    order = np.argsort(values, kind="stable")
    return Ranked(values[order], blocks[order], q)


def neighbour_factor(sample: Sample) -> float:
    """What correlated neighbours add to the variance of `sample`; at least 1."""
    part, whole = sample.per_block()
    share = float(part.sum()) / max(float(whole.sum()), 1e-300)
    return correlation_factor(part - share * whole)
