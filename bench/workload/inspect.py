"""What a trace is, in numbers: rate, burstiness, lengths, sessions, cache ceiling.

Gaps are between successive times in order of time.  Their CV is population standard deviation over
mean; the index of dispersion at w seconds is the variance over the mean of the number of requests
in each whole bin of w seconds (Poisson: 1; Cox and Lewis, "Statistical Analysis of Series of
Events", 1966, §4.5).  Percentiles are exact nearest-rank.  What can't be known is None.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.workload.ceiling import CacheCeiling
from bench.workload.readers.reading import TraceReading

DISPERSION_WIDTHS_S = (1, 10, 60)

_MOST_BINS = 10_000_000
_QUANTUM_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Distribution:
    """Whole numbers summed up: `n` known, `unknown` not; None where none is known."""

    n: int
    unknown: int
    total: int | None
    mean: float | None
    min: int | None
    p50: int | None
    p90: int | None
    p95: int | None
    p99: int | None
    max: int | None


def _no_dispersion() -> dict[int, float | None]:
    return dict.fromkeys(DISPERSION_WIDTHS_S)


@dataclass(frozen=True, slots=True)
class Times:
    """When requests arrive.  `rate_rps` is one over the mean gap; `timed` rows have a time.

    `quantum_s`: the step the times are rounded to, where more than half of the gaps are 0 and the
    others are multiples of one value.
    """

    timed: int
    duration_s: float | None = None
    rate_rps: float | None = None
    iat_cv: float | None = None
    dispersion: dict[int, float | None] = field(default_factory=_no_dispersion)
    zero_gap_fraction: float | None = None
    quantum_s: float | None = None


@dataclass(frozen=True, slots=True)
class TraceStats:
    """All of it.  `ceiling_blocks`, `ceiling_tokens` are fractions of blocks and input tokens."""

    format: str
    rows: int
    times: Times
    input_tokens: Distribution
    output_tokens: Distribution
    sessions: int | None
    turns: Distribution
    block_tokens: int | None
    block_rule: str | None
    ceiling_blocks: float | None
    ceiling_tokens: float | None
    counts: dict[str, int]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The contract of `bench trace inspect --json` (docs/traces.md)."""
        dispersion = {str(width_s): value for width_s, value in self.times.dispersion.items()}
        return {
            "format": self.format,
            "rows": self.rows,
            "duration_s": self.times.duration_s,
            "rate_rps": self.times.rate_rps,
            "iat_cv": self.times.iat_cv,
            "dispersion": dispersion,
            "zero_gap_fraction": self.times.zero_gap_fraction,
            "quantum_s": self.times.quantum_s,
            "timed_rows": self.times.timed,
            "input_tokens": asdict(self.input_tokens),
            "output_tokens": asdict(self.output_tokens),
            "sessions": self.sessions,
            "turns": asdict(self.turns),
            "block_tokens": self.block_tokens,
            "block_rule": self.block_rule,
            "ceiling": {"blocks": self.ceiling_blocks, "tokens": self.ceiling_tokens},
            "counts": self.counts,
            "warnings": list(self.warnings),
        }


def inspect(
    reading: TraceReading,
    *,
    server_block_tokens: int | None = None,
) -> TraceStats:
    """Read a trace to its end and sum it up.

    `server_block_tokens` makes the ceiling that of a server with such blocks, which computes the
    last token of every prompt.  Memory is 8 bytes for each timed
    row and about 60 for each distinct block.
    """
    ceiling = None
    if reading.block_tokens is not None:
        ceiling = CacheCeiling(
            reading.block_tokens,
            server_block_tokens=server_block_tokens,
            recompute_last=server_block_tokens is not None,
        )
    rows = 0
    times = array("d")
    inputs: Counter[int | None] = Counter()
    outputs: Counter[int | None] = Counter()
    turns: Counter[str] = Counter()
    for row in reading:
        rows += 1
        inputs[row.input_tokens] += 1
        outputs[row.output_tokens] += 1
        if row.at_s is not None:
            times.append(row.at_s)
        if row.session is not None:
            turns[row.session] += 1
        if ceiling is not None and row.input_tokens is not None:
            ceiling.add(row.block_ids or (), row.input_tokens)
    measured = _times(np.frombuffer(times, np.float64) if times else np.empty(0))
    return TraceStats(
        format=reading.format,
        rows=rows,
        times=measured,
        input_tokens=_distribution(inputs),
        output_tokens=_distribution(outputs),
        sessions=len(turns) or None,
        turns=_distribution(Counter(turns.values())),
        block_tokens=reading.block_tokens,
        block_rule=reading.block_rule,
        ceiling_blocks=ceiling.block_fraction if ceiling else None,
        ceiling_tokens=ceiling.token_fraction if ceiling else None,
        counts={name: count for name, count in reading.counts.items() if count},
        warnings=(*reading.warnings, *_warnings(rows, measured, inputs[None])),
    )


def _distribution(counted: Counter[int | None] | Counter[int]) -> Distribution:
    """Of a tally of values, None among them."""
    known = sorted((value, times) for value, times in counted.items() if value is not None)
    n = sum(times for _, times in known)
    unknown = sum(counted.values()) - n
    if not n:
        return Distribution(0, unknown, *[None] * 8)
    values = np.array([value for value, _ in known], np.int64)
    ranks = np.cumsum([times for _, times in known])
    p50, p90, p95, p99 = (
        int(values[np.searchsorted(ranks, math.ceil(share * n / 100))])
        for share in (50, 90, 95, 99)
    )
    total = sum(value * times for value, times in known)
    first, last = known[0][0], known[-1][0]
    return Distribution(n, unknown, total, total / n, first, p50, p90, p95, p99, last)


def _times(times_s: NDArray[np.float64]) -> Times:
    if times_s.size < 2:
        return Times(timed=times_s.size)
    gaps_s = np.diff(times_s)
    if gaps_s.min() < 0:
        times_s = np.sort(times_s)
        gaps_s = np.diff(times_s)
    duration_s = float(times_s[-1] - times_s[0])
    if duration_s == 0:
        return Times(timed=times_s.size, duration_s=0.0, zero_gap_fraction=1.0)
    positive_s = gaps_s[gaps_s > 0]
    zero_fraction = 1 - positive_s.size / gaps_s.size
    return Times(
        timed=times_s.size,
        duration_s=duration_s,
        rate_rps=gaps_s.size / duration_s,
        iat_cv=float(gaps_s.std() / gaps_s.mean()),
        dispersion={width_s: _dispersion(times_s, width_s) for width_s in DISPERSION_WIDTHS_S},
        zero_gap_fraction=zero_fraction,
        quantum_s=_quantum_s(positive_s) if zero_fraction > 0.5 else None,
    )


def _dispersion(times_s: NDArray[np.float64], width_s: int) -> float | None:
    """Variance over mean of the counts in whole bins; None under two bins."""
    bins = int((times_s[-1] - times_s[0]) // width_s)
    if not 2 <= bins <= _MOST_BINS:
        return None
    edges_s = times_s[0] + width_s * np.arange(bins + 1)
    counts = np.diff(np.searchsorted(times_s, edges_s))
    return float(counts.var() / counts.mean())


def _quantum_s(gaps_s: NDArray[np.float64]) -> float | None:
    """The value of which at least 95 % of the gaps are multiples, within 1 % of it."""
    step_s = float(np.median(gaps_s))
    for divisor in (1, 2, 3, 4):
        quantum_s = step_s / divisor
        off = np.abs(gaps_s - np.rint(gaps_s / quantum_s) * quantum_s)
        multiples = (off <= _QUANTUM_TOLERANCE * quantum_s) & (gaps_s > quantum_s / 2)
        if multiples.mean() >= 0.95:
            return quantum_s
    return None


def _warnings(rows: int, times: Times, unknown_inputs: int) -> list[str]:
    warnings = []
    if times.quantum_s is not None:
        warnings.append(
            f"times are rounded to {times.quantum_s:.3g} s ({times.zero_gap_fraction:.1%} of gaps "
            f"are 0): the bursts are the logger's; --dequantize {times.quantum_s:.3g} spreads them"
        )
    elif times.zero_gap_fraction is not None and times.zero_gap_fraction > 0.5:
        warnings.append(
            f"{times.zero_gap_fraction:.1%} of gaps are 0: requests leave in bursts, or the times "
            "are rounded"
        )
    if 0 < times.timed < rows:
        warnings.append(
            f"{rows - times.timed:,} of {rows:,} rows have no time of their own; "
            "rate and burstiness are of the others"
        )
    if unknown_inputs:
        warnings.append(f"{unknown_inputs:,} of {rows:,} inputs have no length in tokens")
    return warnings
