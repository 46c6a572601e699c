"""Is a limit met, not met, or not decided by this run?  (metric system §9)

Percentile limits are decided by counting, on the effective sample size; means and rates by batch
means; counted values as they are.  Unknown values are taken as bad for a pass and as good for a
fail, so that they can only leave a limit undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bench.judge.metric import (
    ABSENT,
    REQUESTS,
    Kind,
    Measured,
    Metric,
    Reading,
    Scope,
    Text,
    outcome_is,
)
from bench.judge.metrics import METRICS
from bench.judge.profile import Limit, quantile_of
from bench.judge.ranked import Ranked
from bench.judge.stats import (
    Estimate,
    Flags,
    batch_means,
    design_effect,
    more_needed,
    nearest_rank,
    proportion,
    quantile_ranks,
    ratio_of_sums,
)
from bench.judge.tokens import count_beyond, sum_per_request

MAX_UNKNOWN_FRACTION = 0.01
"""Share of requests whose value may be unknown for a mean to be judged all the same."""

MAX_LOST_FRACTION = 0.01
"""Share of requests that may have failed or been dropped for a mean to be judged by the others."""

WHOLE_FRACTION = 0.99
"""Of the time that a limit speaks of, how much has to be judged: a start and an end are ragged."""

_MAX_ADVICE = 10**8


class Result(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not_applicable"


class Verdict(StrEnum):
    """Of a whole run.  NONE: no profile, or one without a target that applies."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"
    INVALID = "invalid"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Judged:
    """A limit's result and what it was decided on.

    `unknown` values are not among the `n` of the estimate.  `advice` says what would decide an
    undecided limit, or why there is no value.
    """

    result: Result
    estimate: Estimate
    unknown: int = 0
    advice: Text | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The values of one run's window: by request, by run, and by token.

    `gaps` are the ITL values in two parts: of the steady window, and of the rest of this one.
    """

    measured: Measured
    readings: Mapping[str, Reading]
    gaps: tuple[Ranked, Ranked]

    @property
    def itl_s(self) -> Ranked:
        """The gaps of the steady window, on which limits are judged."""
        return self.gaps[0]


def overall(results: Sequence[Result], valid: bool) -> Verdict:
    """The run's verdict from the results of its targets."""
    decided = [result for result in results if result is not Result.NOT_APPLICABLE]
    if not valid:
        return Verdict.INVALID
    if not decided:
        return Verdict.NONE
    if Result.FAIL in decided:
        return Verdict.FAIL
    return Verdict.UNDECIDED if Result.UNDECIDED in decided else Verdict.PASS


def judge_limit(limit: Limit, evidence: Evidence) -> Judged:
    """Decide one limit.  Where the window judges no request, nothing is decided."""
    if not len(evidence.measured.requests):
        return Judged(Result.UNDECIDED, Estimate(math.nan), advice=_EMPTY)
    judged = _judge(limit, evidence)
    judged_s = evidence.measured.window.uncut_s
    if judged.result is not Result.PASS or judged_s >= WHOLE_FRACTION * (limit.window_s or 0.0):
        return judged
    advice = _shorter(judged_s, limit.window_s or 0.0)
    return Judged(Result.UNDECIDED, judged.estimate, judged.unknown, advice)


def _judge(limit: Limit, evidence: Evidence) -> Judged:
    metric = METRICS[limit.metric]
    if metric.scope is Scope.RUN:
        return _judge_reading(evidence, metric, limit)
    if metric.scope is Scope.TOKEN:
        return _judge_gaps(evidence, metric, limit)
    return _judge_requests(evidence, metric, limit)


def _judge_requests(evidence: Evidence, metric: Metric, limit: Limit) -> Judged:
    found, confidence = evidence.measured.columns[metric.name], evidence.measured.confidence
    values = found.values
    if found.not_applicable is not None:
        values = values[~found.not_applicable]
    if not len(values):
        return Judged(Result.NOT_APPLICABLE, Estimate(math.nan), advice=_NOTHING)
    unknown = int(np.isnan(values).sum())
    if limit.statistic == "max":
        return _judge_max(values[~np.isnan(values)], unknown, metric, limit)
    if limit.statistic == "mean":
        finite = values[np.isfinite(values)]
        estimate = batch_means(finite, confidence)
        if unknown > MAX_UNKNOWN_FRACTION * len(values):
            return Judged(Result.UNDECIDED, estimate, unknown, _too_many_unknown(unknown))
        judged = _judge_interval(estimate, metric, limit, unknown, REQUESTS)
        return _with_lost(judged, np.isinf(values), MAX_LOST_FRACTION, confidence)

    def effect(threshold: float) -> float:
        return design_effect(values <= threshold)

    known = Ranked(values[~np.isnan(values)])
    return _judge_quantile(known, unknown, metric, limit, effect, confidence)


def _judge_gaps(evidence: Evidence, metric: Metric, limit: Limit) -> Judged:
    """ITL: every token counts; the tokens of lost requests never came, and are over every limit."""
    judged, measured = _judge_arrived_gaps(evidence, metric, limit), evidence.measured
    return _with_lost(judged, lost_in(measured), lost_allowed(limit.statistic), measured.confidence)


def lost_in(measured: Measured) -> Flags:
    """Which requests failed or were dropped: their tokens never came."""
    return outcome_is(measured.requests, "failed", "dropped")


def lost_allowed(statistic: str) -> float:
    """The share of lost requests from which on a statistic of gaps is infinite."""
    quantile = quantile_of(statistic)
    if quantile is not None:
        return 1 - quantile
    return 0.0 if statistic == "max" else MAX_LOST_FRACTION


def _with_lost(judged: Judged, lost: Flags, allowed: float, confidence: float) -> Judged:
    """What is judged on the other requests, held against how many were lost.

    Where more than `allowed` of them were, and that is no chance, the value is +∞; where it may be
    chance, there is no pass.
    """
    found = proportion(lost, confidence)
    if not found.value > allowed:
        return judged
    advice = _lost(int(lost.sum()), len(lost))
    if found.low > allowed:
        endless = Estimate(math.inf, math.inf, math.inf, judged.estimate.n)
        return Judged(Result.FAIL, endless, judged.unknown, advice)
    if judged.result in (Result.PASS, Result.NOT_APPLICABLE):
        return Judged(Result.UNDECIDED, judged.estimate, judged.unknown, advice)
    return judged


def _judge_arrived_gaps(evidence: Evidence, metric: Metric, limit: Limit) -> Judged:
    """By the gaps that were seen; the tokens of one request are one cluster."""
    gaps, measured = evidence.itl_s, evidence.measured
    if not len(gaps):
        return Judged(Result.NOT_APPLICABLE, Estimate(math.nan), advice=_NOTHING)
    rows = measured.requests.index.to_numpy()
    batches, n = measured.tokens.per_token, len(measured.tokens.tbt_top10_s)
    if limit.statistic == "max":
        return _judge_max(gaps.values, 0, metric, limit)
    if limit.statistic == "mean":
        sums, counts = sum_per_request(batches, n)
        estimate = ratio_of_sums(sums[rows], counts[rows], measured.confidence)
        return _judge_interval(estimate, metric, limit, 0, REQUESTS)

    def effect(threshold: float) -> float:
        beyond, counts = count_beyond(batches, threshold, n)
        return design_effect(beyond[rows], counts[rows])

    return _judge_quantile(gaps, 0, metric, limit, effect, measured.confidence)


def _judge_quantile(
    known: Ranked,
    unknown: int,
    metric: Metric,
    limit: Limit,
    effect: Callable[[float], float],
    confidence: float,
) -> Judged:
    """By counting how many values are within the bound.

    The design effect is the larger of those at the bound and just short of the sample's own
    quantile: values that are all within the bound say nothing of how those beyond it cluster.
    """
    q = quantile_of(limit.statistic)
    assert q is not None
    value, n = nearest_rank(known, q), len(known) + unknown
    lower = metric.direction == "lower"
    one = max(effect(_below(known, value)), effect(limit.bound))
    low_rank, high_rank = quantile_ranks(q, n, n / one, confidence)
    low, high = low_rank - unknown, high_rank
    estimate = Estimate(
        value,
        known[low - 1] if low >= 1 else -math.inf,
        known[high - 1] if high <= len(known) else math.inf,
        len(known),
        n / one,
    )
    result = _compare(estimate, metric, limit.bound)
    if result is not Result.UNDECIDED:
        return Judged(result, estimate, unknown)
    within = known.values <= limit.bound if lower else known.values < limit.bound
    share = np.count_nonzero(within) / n
    more = more_needed(share, q, n / one, confidence) * one
    words = Text("个 Token", "tokens") if metric.scope is Scope.TOKEN else REQUESTS
    advice = _too_many_unknown(unknown) if unknown and not more else _more(more, words)
    return Judged(result, estimate, unknown, advice)


def _below(known: Ranked, value: float) -> float:
    """The next smaller number of the array's precision, so that equal values lie beyond it."""
    kind = known.values.dtype.type
    return float(np.nextafter(kind(value), kind(-math.inf)))


def _judge_max(known: NDArray[np.floating], unknown: int, metric: Metric, limit: Limit) -> Judged:
    """The largest value is a fact of this run, not a sample of something."""
    value = float(known.max()) if len(known) else -math.inf
    estimate = Estimate(value, value, math.inf if unknown else value, len(known))
    result = _compare(estimate, metric, limit.bound)
    advice = _too_many_unknown(unknown) if result is Result.UNDECIDED else None
    return Judged(result, estimate, unknown, advice)


def _judge_reading(evidence: Evidence, metric: Metric, limit: Limit) -> Judged:
    reading = evidence.readings[metric.name]
    if reading.absent is not None:
        result = Result.UNDECIDED if reading.applies else Result.NOT_APPLICABLE
        return Judged(result, reading.estimate, advice=ABSENT[reading.absent])
    found = reading.estimate
    if metric.kind is not Kind.PROPORTION:
        return _judge_interval(found, metric, limit, 0, metric.samples)
    result = _compare(found, metric, limit.bound)
    if result is not Result.UNDECIDED:
        return Judged(result, found)
    confidence = evidence.measured.confidence
    more = more_needed(found.value, limit.bound, found.effective_n, confidence)
    return Judged(result, found, advice=_more(more * found.n / found.effective_n, metric.samples))


def _judge_interval(
    estimate: Estimate, metric: Metric, limit: Limit, unknown: int, words: Text
) -> Judged:
    """A mean or a rate; its interval narrows with the square root of the samples."""
    result = _compare(estimate, metric, limit.bound)
    if result is not Result.UNDECIDED:
        return Judged(result, estimate, unknown)
    if math.isnan(estimate.low):
        return Judged(result, estimate, unknown, _TOO_SHORT)
    half, distance = (estimate.high - estimate.low) / 2, abs(estimate.value - limit.bound)
    more = estimate.n * ((half / distance) ** 2 - 1) if distance else math.inf
    return Judged(result, estimate, unknown, _more(max(more, 1.0), words))


def _compare(estimate: Estimate, metric: Metric, bound: float) -> Result:
    """Pass with the whole interval on the good side of the bound, fail with it on the bad."""
    low, high = estimate.low, estimate.high
    if metric.direction == "higher":
        low, high, bound = -high, -low, -bound
    if high <= bound:
        return Result.PASS
    return Result.FAIL if low > bound else Result.UNDECIDED


_EMPTY = Text("窗口内没有被判定的请求。", "the window judges no request")
_NOTHING = Text("没有适用的样本。", "no sample that it applies to")
_TOO_SHORT = Text("窗口太短：至少需要 10 个样本。", "too short: an interval needs 10 samples")


def _shorter(judged_s: float, wanted_s: float) -> Text:
    return Text(
        f"运行了 {judged_s:,.0f} s，该限值针对 {wanted_s:,.0f} s。",
        f"the run lasted {judged_s:,.0f} s; the limit speaks of {wanted_s:,.0f} s",
    )


def _lost(count: int, of: int) -> Text:
    return Text(
        f"{of:,} 个请求中 {count:,} 个失败或被丢弃，计为超过限值。",
        f"{count:,} of {of:,} requests failed or were dropped, and count as over the limit",
    )


def _too_many_unknown(unknown: int) -> Text:
    return Text(f"{unknown:,} 个值未知。", f"{unknown:,} values are unknown")


def _more(count: float, words: Text) -> Text:
    if not math.isfinite(count) or count > _MAX_ADVICE:
        return Text(
            "值与限值太接近，增加样本也难以判定。",
            "too close to the bound for more samples to decide it",
        )
    n = math.ceil(count)
    return Text(
        f"约再需 {n:,} {words.zh}即可判定。", f"about {n:,} more {words.en} would decide it"
    )
