"""The measured window, and what happened in each second of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.judge.metric import column, outcome_is
from bench.judge.stats import Flags, Floats, mser5, rank_of

Rule = Literal["mser", "fixed", "whole"]

SLIDING_BINS = 300
"""The 5 minutes of §5.3.2's sliding window."""

_SAME_INSTANT_S = 1e-9


@dataclass(frozen=True, slots=True)
class Grid:
    """The run's time in bins of one second, laid so that the main phase begins with a bin.

    Bin k is [origin_s + k, origin_s + k + 1), with −1 < origin_s <= 0.
    """

    origin_s: float
    bins: int

    def count(self, instants_s: Floats, weights: Floats | None = None) -> Floats:
        """How many instants, or what weight of them, fall into each bin; NaN falls into none."""
        unknown = np.isnan(instants_s)
        if unknown.any():
            instants_s = instants_s[~unknown]
            weights = None if weights is None else weights[~unknown]
        return np.bincount(self.bin_of(instants_s), weights, self.bins).astype(np.float64)

    def bin_of(self, instants_s: Floats) -> NDArray[np.int64]:
        """The bin of each instant; one outside the run goes to the nearest bin."""
        place = (instants_s - self.origin_s).astype(np.int64)
        return np.clip(place, 0, self.bins - 1, out=place)


@dataclass(frozen=True, slots=True)
class Window:
    """[start_s, end_s) after the run's start, and by which rule it was cut.

    `cut_head_s` and `cut_tail_s` are what the rule took from the main phase.  A request belongs to
    the window by its intended start; tokens and completions by their own instant.
    """

    start_s: float
    end_s: float
    rule: Rule
    cut_head_s: float = 0.0
    cut_tail_s: float = 0.0

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def uncut_s(self) -> float:
        """The length of the main phase."""
        return self.length_s + self.cut_head_s + self.cut_tail_s

    def spans(self, other: Window) -> bool:
        """Whether it is the same stretch of time."""
        return (self.start_s, self.end_s) == (other.start_s, other.end_s)

    def holds(self, instants_s: Floats) -> Flags:
        """Which of the instants lie in the window; NaN does not."""
        return (instants_s >= self.start_s) & (instants_s < self.end_s)

    def bins(self, grid: Grid) -> slice:
        """The bins that make up the window; it begins with one, its last may reach beyond it."""
        first = round(self.start_s - grid.origin_s)
        return slice(first, first + math.ceil(self.length_s - _SAME_INSTANT_S))

    def as_json(self) -> dict[str, float | str]:
        return {
            "start_s": self.start_s,
            "end_s": self.end_s,
            "rule": self.rule,
            "cut_head_s": self.cut_head_s,
            "cut_tail_s": self.cut_tail_s,
        }


WHOLE_RUN = Window(-math.inf, math.inf, "whole")
"""All of a run, warm-up and drain included."""


def whole_window(judged: pd.DataFrame) -> Window:
    """From the first intended start to the last instant of any of these requests.

    Empty at 0 where there are none.
    """
    if judged.empty:
        return Window(0.0, 0.0, "whole")
    start = float(column(judged, "intended_s").min())
    return Window(start, _last_instant(judged) + _SAME_INSTANT_S, "whole")


def grid_of(frame: pd.DataFrame, whole: Window) -> Grid:
    """The grid that holds every instant of the run and begins a bin where `whole` begins."""
    origin = whole.start_s - math.ceil(whole.start_s)
    latest = _last_instant(frame) if len(frame) else 0.0
    return Grid(origin, math.floor(latest - origin) + 1)


def _last_instant(frame: pd.DataFrame) -> float:
    names = ("intended_s", "sent_s", "last_s", "done_s")
    return max(float(np.fmax.reduce(column(frame, name), initial=0.0)) for name in names)


def cut(
    whole: Window, grid: Grid, tokens: Floats, rule: Rule, fixed: tuple[float, float]
) -> Window:
    """The steady part of the main phase.

    `mser` cuts warm-up and drain by MSER-5 on the tokens per bin, from either end; `fixed` cuts the
    given seconds from head and tail, rounded up to whole bins, so that counts per bin add up;
    `whole` cuts nothing.  What would leave nothing cuts nothing.
    """
    if rule == "whole":
        return whole
    bins = math.floor(whole.length_s)
    if rule == "mser":
        first = whole.bins(grid).start
        series = tokens[first : first + bins]
        head, tail = mser5(series), mser5(series[::-1])
    else:
        head, tail = math.ceil(fixed[0]), math.ceil(fixed[1])
    if head + tail >= bins:
        return whole
    end = whole.start_s + bins - tail if tail else whole.end_s
    return Window(whole.start_s + head, end, rule, head, whole.end_s - end)


def per_second(frame: pd.DataFrame, grid: Grid, tokens: Floats, good: Flags | None) -> pd.DataFrame:
    """One row for each bin of the run.

    `second` (the bin's start), `offered` (planned starts), `sent`, `achieved` (ended well),
    `failed`, `running` at the bin's end, `output_tokens` by arrival, `input_tokens` by their
    request's first token, `good` (starts that met the profile's good set) and `good_tokens`, NaN
    without one; `ttft_p50_s`, `ttft_p99_s`, `e2e_p50_s`, `tpot_p50_s` of the requests that were
    intended in the bin; `ttft_mean_5min_s`, `tpot_mean_5min_s`, `e2e_mean_5min_s` of those intended
    in the 5 minutes to the bin's end, and `output_tokens_mean_5min` of those bins (§5.3.2), NaN in
    the first 5 minutes.  Dropped requests are offered, and appear nowhere else.
    """
    intended, sent, done = (column(frame, f"{name}_s") for name in ("intended", "sent", "done"))
    first, was_sent = column(frame, "first_s"), ~np.isnan(sent)
    ok, failed = outcome_is(frame, "ok"), outcome_is(frame, "failed")
    seconds = pd.DataFrame({"second": grid.origin_s + np.arange(grid.bins)})
    seconds["offered"] = grid.count(intended)
    seconds["sent"] = grid.count(sent)
    seconds["achieved"] = grid.count(done[ok])
    seconds["failed"] = grid.count(done[failed])
    seconds["running"] = np.cumsum(seconds["sent"] - grid.count(done[was_sent]))
    seconds["output_tokens"] = tokens
    prompts = np.nan_to_num(column(frame, "prompt_tokens"))
    seconds["input_tokens"] = grid.count(np.where(np.isnan(first), done, first), prompts)
    if good is None:
        seconds["good"], seconds["good_tokens"] = np.nan, np.nan
    else:
        output = np.nan_to_num(column(frame, "output_tokens"))
        seconds["good"] = grid.count(intended[good])
        seconds["good_tokens"] = grid.count(intended[good], output[good])
    for metric, q in (("ttft", 0.5), ("ttft", 0.99), ("e2e", 0.5), ("tpot", 0.5)):
        values = column(frame, f"{metric}_s")
        seconds[f"{metric}_p{round(q * 100)}_s"] = _quantiles(grid, intended, values, q)
    for metric in ("ttft", "tpot", "e2e"):
        values = column(frame, f"{metric}_s")
        finite = np.isfinite(values)
        sums = grid.count(intended[finite], values[finite])
        seconds[f"{metric}_mean_5min_s"] = sliding_mean(sums, grid.count(intended[finite]))
    seconds["output_tokens_mean_5min"] = sliding_mean(tokens, np.ones(grid.bins))
    return seconds


def sliding_mean(sums: Floats, counts: Floats, width: int = SLIDING_BINS) -> Floats:
    """Mean of what lies in the last `width` bins, from sums and counts of each bin.

    NaN before `width` bins have passed, and where there was nothing in them.
    """
    means = np.full(len(sums), np.nan)
    if len(sums) < width:
        return means
    total, n = (np.concatenate(([0.0], np.cumsum(each))) for each in (sums, counts))
    n = n[width:] - n[:-width]
    means[width - 1 :][n > 0] = (total[width:] - total[:-width])[n > 0] / n[n > 0]
    return means


def _quantiles(grid: Grid, at_s: Floats, values: Floats, q: float) -> Floats:
    """Nearest-rank quantile of the finite values of each bin; NaN where there are none."""
    finite = np.isfinite(values)
    place, chosen = grid.bin_of(at_s[finite]), values[finite]
    in_time = chosen[np.argsort(place, kind="stable")]  # next to nothing for starts in order
    counts = np.bincount(place, minlength=grid.bins)
    ends = np.cumsum(counts)
    result = np.full(grid.bins, np.nan)
    for k in np.flatnonzero(counts).tolist():
        n, end = int(counts[k]), int(ends[k])
        rank = rank_of(q, n) - 1
        result[k] = np.partition(in_time[end - n : end], rank)[rank]
    return result
