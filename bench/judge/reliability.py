"""Reliability and service quality (metric system §5): values of the whole window."""

from __future__ import annotations

import math

import numpy as np

from bench.judge.metric import (
    SECONDS,
    Absence,
    Kind,
    Measured,
    Metric,
    Reading,
    absent,
    column,
    exact,
    outcome_is,
)
from bench.judge.stats import Floats, nearest_rank, proportion, quantiles
from bench.judge.throughput import share

_JITTER_INTERVALS = 20
_BURST_S = 5


def error_rate(measured: Measured) -> Reading:
    failed = outcome_is(measured.requests, "failed")
    return share(failed, outcome_is(measured.requests, "aborted"), measured.confidence)


def timeout_rate(measured: Measured) -> Reading:
    classes = measured.requests["error_class"].astype(object).fillna("").astype(str)
    timed_out = classes.str.endswith("timeout").to_numpy(np.bool_)
    return share(timed_out, outcome_is(measured.requests, "aborted"), measured.confidence)


def availability(measured: Measured) -> Reading:
    """Seconds in which something succeeded, of those in which it would have been seen.

    A second without any end or arrival tells something only where a request was open that failed
    later: a server that hangs is not there, one that is long in its prefill is.
    """
    seconds = measured.seconds
    alive = column(seconds, "achieved") + column(seconds, "output_tokens") > 0
    telling = alive | (column(seconds, "failed") > 0) | (_failing(measured) > 0)
    if not telling.any():
        return absent(Absence.NO_SAMPLES)
    return Reading(proportion(alive[telling], measured.confidence))


def _failing(measured: Measured) -> Floats:
    """In each second of the window, how many requests were open that failed in the end."""
    lost = outcome_is(measured.requests, "failed")
    bins, start_s = len(measured.seconds), measured.window.start_s
    begin, end = (
        np.nan_to_num(column(measured.requests, name)[lost] - start_s, nan=-1.0)
        for name in ("intended_s", "done_s")
    )
    known = end >= begin
    first = np.clip(np.floor(begin[known]), 0, bins).astype(np.int64)
    after = np.clip(np.floor(end[known]) + 1, 0, bins).astype(np.int64)
    steps = np.bincount(first, minlength=bins + 1) - np.bincount(after, minlength=bins + 1)
    open_at: Floats = np.cumsum(steps)[:bins].astype(np.float64)
    return open_at


def request_availability(measured: Measured) -> Reading:
    aborted = outcome_is(measured.requests, "aborted")
    return share(measured.ok, aborted, measured.confidence)


def recovery_s(measured: Measured) -> Reading:
    """The longest outage: failures in the order of their end, until the next success."""
    done = column(measured.requests, "done_s")
    ended = np.flatnonzero(~np.isnan(done) & ~outcome_is(measured.requests, "aborted"))
    order = ended[np.argsort(done[ended], kind="stable")]
    at_s, ok = done[order], measured.ok[order]
    begins = np.flatnonzero(~ok & np.concatenate(([True], ok[:-1])))
    if not len(begins):
        return absent(Absence.NO_FAILURE)
    successes = at_s[ok]
    place = np.searchsorted(successes, at_s[begins], side="left")
    ends = np.append(successes, math.inf)[place]
    return exact(float((ends - at_s[begins]).max()), len(begins))


def jitter(measured: Measured) -> Reading:
    """Coefficient of variation of the median E2E latency of 20 equal parts of the window."""
    values, at_s = _ended(measured)
    window = measured.window
    if len(values) < 2 * _JITTER_INTERVALS:
        return absent(Absence.NO_INTERVALS)
    part = (at_s - window.start_s) / window.length_s * _JITTER_INTERVALS
    place = np.clip(part.astype(np.int64), 0, _JITTER_INTERVALS - 1)
    parts = [np.sort(values[place == k]) for k in range(_JITTER_INTERVALS)]
    medians = np.array([nearest_rank(part, 0.5) for part in parts if len(part)])
    if len(medians) < _JITTER_INTERVALS:
        return absent(Absence.NO_INTERVALS)
    if np.isinf(medians).any():
        return exact(math.inf, len(values))
    return exact(float(medians.std(ddof=1) / medians.mean()), len(values))


def latency_spread(measured: Measured) -> Reading:
    values, _ = _ended(measured)
    ascending = np.sort(values)
    median, high = nearest_rank(ascending, 0.5), nearest_rank(ascending, 0.95)
    if not median > 0:
        return absent(Absence.NO_SAMPLES)
    if math.isinf(high):
        return exact(math.inf, len(values))
    return exact((high - median) / median, len(values))


def burst_degradation(measured: Measured) -> Reading:
    """P95 of E2E latency in bursts over P95 before the first one, less 1.

    A burst is 5 s with more than twice the median of planned starts, and more than chance: over
    three standard deviations of a Poisson count above it.
    """
    offered = column(measured.seconds, "offered")
    parts = len(offered) // _BURST_S
    if parts < 2:
        return absent(Absence.NO_INTERVALS)
    counts = offered[: parts * _BURST_S].reshape(parts, _BURST_S).sum(axis=1)
    median = float(np.median(counts))
    bursts = np.flatnonzero(counts > 2 * median + 3 * math.sqrt(2 * median))
    values, at_s = _ended(measured)
    part = ((at_s - measured.window.start_s) // _BURST_S).astype(np.int64)
    inside = np.isin(part, bursts)
    before = part < (bursts[0] if len(bursts) else 0)
    if not inside.any() or not before.any():
        return absent(Absence.NO_BURST)
    during, calm = quantiles(values[inside], [0.95])[0], quantiles(values[before], [0.95])[0]
    if not 0 < calm < math.inf:
        return absent(Absence.NO_SAMPLES)
    return exact(during / calm - 1, int(np.count_nonzero(inside)))


def scaling_coefficient(_: Measured) -> Reading:
    return absent(Absence.NEEDS_RUNS)


def load_balance(measured: Measured) -> Reading:
    """1 − CV of the requests that each replica (engine of a source) finished."""
    shares = np.array(list(measured.server.increase_by_replica("requests_finished").values()))
    if not len(shares):
        return absent(Absence.NOT_SCRAPED)
    if len(shares) < 2 or not shares.sum():
        return absent(Absence.ONE_REPLICA)
    return exact(float(1 - shares.std() / shares.mean()), int(shares.sum()))


def _ended(measured: Measured) -> tuple[Floats, Floats]:
    """E2E latency (+inf where the request failed or was dropped) and intended start of requests."""
    latency = measured.columns["e2e_s"].values
    known = ~np.isnan(latency)
    return latency[known], column(measured.requests, "intended_s")[known]


RELIABILITY: tuple[Metric, ...] = (
    Metric(
        name="error_rate",
        title_zh="错误率",
        title_en="Error rate",
        unit="fraction",
        formula="failed requests / planned requests of the window",
        formula_zh="失败请求 / 窗口内计划请求",
        applies_to="the window; by class in counts",
        direction="lower",
        source="§5.4.1",
        run=error_rate,
        kind=Kind.PROPORTION,
    ),
    Metric(
        name="timeout_rate",
        title_zh="超时率",
        title_en="Timeout rate",
        unit="fraction",
        formula="requests that ended in one of the client's timeouts / planned requests",
        formula_zh="因客户端超时而结束的请求 / 计划请求",
        applies_to="the window",
        direction="lower",
        source="§5.4.1",
        run=timeout_rate,
        kind=Kind.PROPORTION,
    ),
    Metric(
        name="availability",
        title_zh="可用性（按时间）",
        title_en="Availability, by time",
        unit="fraction",
        formula="seconds in which a request succeeded or a token arrived / those in which anything "
        "ended or arrived, or a request was open that failed later",
        formula_zh="有请求成功或 Token 到达的秒数 / 有任何结束或到达、或有后来失败的请求在途的秒数",
        applies_to="the window's 1 s slots; any other silent second tells nothing and is left out",
        direction="higher",
        source="§5.4.1",
        run=availability,
        kind=Kind.PROPORTION,
        samples=SECONDS,
    ),
    Metric(
        name="request_availability",
        title_zh="可用性（按请求）",
        title_en="Availability, by request",
        unit="fraction",
        formula="requests that ended well / planned requests of the window",
        formula_zh="成功结束的请求 / 窗口内计划请求",
        applies_to="the window",
        direction="higher",
        source="§5.4.1",
        run=request_availability,
        kind=Kind.PROPORTION,
    ),
    Metric(
        name="recovery_s",
        title_zh="故障恢复时间",
        title_en="Recovery time",
        unit="s",
        formula="longest time from the first failure of an outage to the first success after it",
        formula_zh="从一次故障的首个失败到其后首个成功的最长时间",
        applies_to="windows with a failure; +inf where nothing succeeded after it",
        direction="lower",
        source="§5.4.1",
        run=recovery_s,
        kind=Kind.EXACT,
    ),
    Metric(
        name="jitter",
        title_zh="延迟抖动",
        title_en="Latency jitter",
        unit="fraction",
        formula="standard deviation / mean of the E2E medians of 20 equal parts of the window",
        formula_zh="窗口 20 等分各段 E2E 中位数的标准差 / 均值",
        applies_to="windows of at least 40 ended requests; +inf where failed ones reach a median",
        direction="lower",
        source="§5.5, §13 (< 10 %)",
        run=jitter,
        kind=Kind.EXACT,
    ),
    Metric(
        name="latency_spread",
        title_zh="延迟离散度",
        title_en="Latency spread",
        unit="fraction",
        formula="(P95 − P50) / P50 of E2E latency",
        formula_zh="E2E 延迟的 (P95 − P50) / P50",
        applies_to="planned requests; +inf where failed or dropped ones reach P95",
        direction="lower",
        source="§5.5",
        run=latency_spread,
        kind=Kind.EXACT,
    ),
    Metric(
        name="burst_degradation",
        title_zh="突发负载性能下降",
        title_en="Degradation under bursts",
        unit="fraction",
        formula="P95 of E2E latency in bursts / before the first burst − 1",
        formula_zh="突发期 E2E 延迟 P95 / 首次突发前的 P95 − 1",
        applies_to="windows with 5 s of more than twice the median arrivals; +inf where failed "
        "requests reach the P95 of a burst",
        direction="lower",
        source="§5.5.2 (< 50 %)",
        run=burst_degradation,
        kind=Kind.EXACT,
    ),
    Metric(
        name="scaling_coefficient",
        title_zh="扩展系数",
        title_en="Scaling coefficient",
        unit="fraction",
        formula="throughput at n replicas / (n × throughput at 1)",
        formula_zh="n 个副本的吞吐量 /（n × 单副本吞吐量）",
        applies_to="several runs",
        direction="higher",
        source="§5.5.1 (> 0.8)",
        run=scaling_coefficient,
        kind=Kind.EXACT,
        needs="several runs",
    ),
    Metric(
        name="load_balance",
        title_zh="负载均衡度",
        title_en="Load balance",
        unit="fraction",
        formula="1 − coefficient of variation of the requests each replica finished",
        formula_zh="1 − 各副本完成请求数的变异系数",
        applies_to="servers with several replicas that count requests",
        direction="higher",
        source="§5.5.1 (> 90 %)",
        run=load_balance,
        kind=Kind.EXACT,
    ),
)
