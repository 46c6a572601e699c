"""Throughput and goodput (metric system §3): values of the whole window."""

from __future__ import annotations

import math

from bench.judge.goodput import within
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
)
from bench.judge.stats import Estimate, Flags, Floats, batch_means, proportion


def request_rps(measured: Measured) -> Reading:
    return _rate(measured, column(measured.seconds, "achieved"))


def output_tps(measured: Measured) -> Reading:
    return _rate(measured, column(measured.seconds, "output_tokens"))


def total_tps(measured: Measured) -> Reading:
    seconds = measured.seconds
    return _rate(measured, column(seconds, "output_tokens") + column(seconds, "input_tokens"))


def offered_rps(measured: Measured) -> Reading:
    return _rate(measured, column(measured.seconds, "offered"))


def achieved_rps(measured: Measured) -> Reading:
    seconds = measured.seconds
    return _rate(measured, column(seconds, "achieved") + column(seconds, "failed"))


def goodput_rps(measured: Measured) -> Reading:
    if measured.good is None:
        return absent(Absence.NO_GOOD_SET)
    return _rate(measured, column(measured.seconds, "good"))


def goodput_tps(measured: Measured) -> Reading:
    if measured.good is None:
        return absent(Absence.NO_GOOD_SET)
    return _rate(measured, column(measured.seconds, "good_tokens"))


def goodput_fraction(measured: Measured) -> Reading:
    if measured.good is None or measured.undecided is None:
        return absent(Absence.NO_GOOD_SET)
    return share(measured.good, measured.undecided, measured.confidence)


def slo_attainment(measured: Measured) -> Reading:
    """The limit of the good set that the fewest requests meet, alone."""
    good = measured.profile.good if measured.profile else None
    if good is None:
        return absent(Absence.NO_GOOD_SET)
    shares = [
        share(*within(measured.columns[limit.metric], limit), measured.confidence)
        for limit in good.limits
    ]
    return min(shares, key=lambda reading: reading.estimate.value)


def max_goodput_rps(_: Measured) -> Reading:
    return absent(Absence.NEEDS_SEARCH)


def batch_rate(measured: Measured) -> Reading:
    """Engine steps per second, summed over engines; each by the time between its scrapes."""
    grown = measured.server.growth("iteration_tokens")
    if not grown:
        return absent(Absence.NOT_SCRAPED)
    rate = sum(each.value / each.length_s for each in grown)
    return exact(rate, round(sum(each.value for each in grown)))


def batch_size_requests(measured: Measured) -> Reading:
    """Mean over the scrapes, summed over engines."""
    tracks = measured.server.gauge("running")
    if not tracks:
        return absent(Absence.NOT_SCRAPED)
    return exact(sum(track.mean for track in tracks), sum(len(t.values) for t in tracks))


def multi_token_events_fraction(measured: Measured) -> Reading:
    tokens = measured.tokens
    if not tokens.events:
        return absent(Absence.NO_SAMPLES)
    return exact(tokens.several / tokens.events, tokens.events)


def share(good: Flags, unknown: Flags, confidence: float) -> Reading:
    """Share of good rows; the interval allows for unknown rows being all bad or all good."""
    if not len(good):
        return absent(Absence.NO_SAMPLES)
    worst = proportion(good, confidence)
    if not unknown.any():
        return Reading(worst)
    best = proportion(good | unknown, confidence)
    return Reading(Estimate(worst.value, worst.low, best.high, worst.n, worst.effective_n))


def _rate(measured: Measured, per_bin: Floats) -> Reading:
    """A sum over the window by its length; the interval by batch means of its whole seconds."""
    length_s = measured.window.length_s
    if not len(per_bin) or length_s <= 0:
        return absent(Absence.NO_SAMPLES)
    rate = float(per_bin.sum()) / length_s
    whole = per_bin[: math.floor(length_s)]
    spread = batch_means(whole, measured.confidence)
    half = spread.high - spread.value
    return Reading(Estimate(rate, max(rate - half, 0.0), rate + half, len(whole)))


_WINDOW = "the window"

THROUGHPUT: tuple[Metric, ...] = (
    Metric(
        name="request_rps",
        title_zh="请求吞吐量",
        title_en="Request throughput",
        unit="1/s",
        formula="requests that ended well inside the window / window",
        formula_zh="窗口内成功结束的请求 / 窗口时长",
        applies_to=_WINDOW,
        direction="higher",
        source="§5.3.1",
        run=request_rps,
        kind=Kind.RATE,
        samples=SECONDS,
    ),
    Metric(
        name="output_tps",
        title_zh="输出 Token 吞吐量",
        title_en="Output token throughput",
        unit="tokens/s",
        formula="output tokens that arrived inside the window / window",
        formula_zh="窗口内到达的输出 Token / 窗口时长",
        applies_to=_WINDOW,
        direction="higher",
        source="§5.3.1",
        run=output_tps,
        kind=Kind.RATE,
        samples=SECONDS,
    ),
    Metric(
        name="total_tps",
        title_zh="总 Token 吞吐量",
        title_en="Total token throughput",
        unit="tokens/s",
        formula="(output tokens + prompt tokens, by their first token's arrival) / window",
        formula_zh="（输出 Token + 按首 Token 到达时刻计的输入 Token）/ 窗口时长",
        applies_to=_WINDOW,
        direction="higher",
        source="§5.3.1",
        run=total_tps,
        kind=Kind.RATE,
        samples=SECONDS,
    ),
    Metric(
        name="offered_rps",
        title_zh="计划速率",
        title_en="Offered rate",
        unit="1/s",
        formula="planned starts inside the window / window",
        formula_zh="窗口内的计划发送数 / 窗口时长",
        applies_to=_WINDOW,
        direction="none",
        source="§5.3.1; metric system §3",
        run=offered_rps,
        kind=Kind.RATE,
        samples=SECONDS,
    ),
    Metric(
        name="achieved_rps",
        title_zh="完成速率",
        title_en="Achieved rate",
        unit="1/s",
        formula="requests that ended inside the window, well or not / window",
        formula_zh="窗口内结束的请求（无论成败）/ 窗口时长",
        applies_to=_WINDOW,
        direction="higher",
        source="§5.3.1; metric system §3",
        run=achieved_rps,
        kind=Kind.RATE,
        samples=SECONDS,
    ),
    Metric(
        name="goodput_rps",
        title_zh="有效吞吐量",
        title_en="Goodput",
        unit="1/s",
        formula="requests that ended well and met every limit of the good set / window",
        formula_zh="成功且满足 good 集合全部限值的请求 / 窗口时长",
        applies_to="a profile with a good set",
        direction="higher",
        source="§5.3.1; DistServe (OSDI 2024)",
        run=goodput_rps,
        kind=Kind.RATE,
        samples=SECONDS,
        needs="good",
    ),
    Metric(
        name="goodput_fraction",
        title_zh="有效请求占比（联合达标率）",
        title_en="Good fraction (joint SLO attainment)",
        unit="fraction",
        formula="good requests / all planned requests of the window",
        formula_zh="有效请求 / 窗口内全部计划请求",
        applies_to="a profile with a good set",
        direction="higher",
        source="§5.3.1, §7.2.2; DistServe (OSDI 2024)",
        run=goodput_fraction,
        kind=Kind.PROPORTION,
        needs="good",
    ),
    Metric(
        name="slo_attainment",
        title_zh="单项 SLA 达标率",
        title_en="SLO attainment of the hardest limit",
        unit="fraction",
        formula="least, over the good set, of the requests that meet a limit / planned requests",
        formula_zh="good 集合各限值中，满足者 / 计划请求 的最小值",
        applies_to="a profile with a good set; every limit alone and all jointly in summary.json",
        direction="higher",
        source="§7.2.2",
        run=slo_attainment,
        kind=Kind.PROPORTION,
        needs="good",
    ),
    Metric(
        name="goodput_tps",
        title_zh="有效 Token 吞吐量",
        title_en="Token goodput",
        unit="tokens/s",
        formula="output tokens of good requests / window",
        formula_zh="有效请求的输出 Token / 窗口时长",
        applies_to="a profile with a good set",
        direction="higher",
        source="§5.3.1",
        run=goodput_tps,
        kind=Kind.RATE,
        samples=SECONDS,
        needs="good",
    ),
    Metric(
        name="max_goodput_rps",
        title_zh="最大有效吞吐量",
        title_en="Highest rate with attainment",
        unit="1/s",
        formula="highest offered rate at which goodput_fraction stays at the profile's attainment",
        formula_zh="goodput_fraction 不低于 SLO 配置的达标率的最高计划速率",
        applies_to="a search over rates",
        direction="higher",
        source="§5.3.1; DistServe (OSDI 2024)",
        run=max_goodput_rps,
        kind=Kind.EXACT,
        needs="several runs",
    ),
    Metric(
        name="batch_rate",
        title_zh="批处理速率",
        title_en="Batch rate",
        unit="1/s",
        formula="engine steps that the server counted between its first and last scrape / that "
        "time, summed over engines",
        formula_zh="首末两次采样之间服务端计数的引擎步数 / 该时长，对引擎求和",
        applies_to="servers with a histogram of tokens per engine step",
        direction="none",
        source="§5.3.1",
        run=batch_rate,
        kind=Kind.EXACT,
    ),
    Metric(
        name="batch_size_requests",
        title_zh="平均批大小",
        title_en="Mean batch size",
        unit="requests",
        formula="mean of the server's running requests over the scrapes, summed over engines",
        formula_zh="服务端运行中请求数对采样取均值，对引擎求和",
        applies_to="servers that expose it",
        direction="none",
        source="§5.3.1",
        run=batch_size_requests,
        kind=Kind.EXACT,
    ),
    Metric(
        name="multi_token_events_fraction",
        title_zh="多 Token 事件占比",
        title_en="Events with several tokens",
        unit="fraction",
        formula="token events that carried more than one token / token events of the run",
        formula_zh="携带多个 Token 的事件 / 运行的全部 Token 事件",
        applies_to="streamed responses",
        direction="none",
        source="metric system §2",
        run=multi_token_events_fraction,
        kind=Kind.EXACT,
    ),
)
