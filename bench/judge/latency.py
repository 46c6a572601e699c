"""Latency metrics (metric system §2): values of each request or token, in seconds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from bench.judge.metric import Column, Metric, Scope, column
from bench.judge.stats import Flags, Floats

_NS_DIGITS = 9


def ttft_s(frame: pd.DataFrame) -> Column:
    return Column(_between(frame, "intended_s", "first_s"))


def ttft_from_send_s(frame: pd.DataFrame) -> Column:
    return Column(_between(frame, "sent_s", "first_s"))


def e2e_s(frame: pd.DataFrame) -> Column:
    return Column(_between(frame, "intended_s", "done_s"))


def tpot_s(frame: pd.DataFrame) -> Column:
    """A request of one token has no time per further token: not applicable, which is not 0."""
    tokens = column(frame, "output_tokens")
    gaps = np.where(tokens >= 2, tokens - 1, np.nan)
    return Column(_between(frame, "first_s", "last_s") / gaps, tokens < 2)


def normalized_latency_s(frame: pd.DataFrame) -> Column:
    tokens = column(frame, "output_tokens")
    divisor = np.where(tokens >= 1, tokens, np.nan)
    return Column(_between(frame, "intended_s", "done_s") / divisor, tokens < 1)


def tbt_top10_s(frame: pd.DataFrame) -> Column:
    return Column(column(frame, "tbt_top10_s"), column(frame, "output_tokens") < 2)


def fluidity(frame: pd.DataFrame) -> Column:
    return Column(column(frame, "fluidity"))


def schedule_lag_s(frame: pd.DataFrame) -> Column:
    return Column(_between(frame, "intended_s", "sent_s"), _never_sent(frame))


def client_queue_s(frame: pd.DataFrame) -> Column:
    """The engine queues nothing: an open loop sends or drops, and a closed loop's intended start is
    the instant its slot fell free.  So it applies to no request.
    """
    n = len(frame)
    return Column(np.full(n, np.nan), np.ones(n, np.bool_))


def connect_s(frame: pd.DataFrame) -> Column:
    """Requests on a connection that was open already have no connect time."""
    values = column(frame, "connect_s")
    return Column(np.where(values > 0, values, np.nan), _never_sent(frame) | (values == 0))


def _between(frame: pd.DataFrame, start: str, end: str) -> Floats:
    """Seconds from one instant to another, to the nanosecond that they are known to."""
    seconds: Floats = np.round(column(frame, end) - column(frame, start), _NS_DIGITS)
    return seconds


def _never_sent(frame: pd.DataFrame) -> Flags:
    return np.isnan(column(frame, "sent_s"))


_SENT = "requests that were sent"
_ALL = "planned requests; +inf where failed or dropped"
_TWO_TOKENS = "requests with at least 2 output tokens; +inf where failed or dropped"

LATENCY: tuple[Metric, ...] = (
    Metric(
        name="ttft_s",
        title_zh="首 Token 延迟（TTFT）",
        title_en="Time to first token (TTFT)",
        unit="s",
        formula="first − intended",
        applies_to=_ALL,
        direction="lower",
        source="§5.3.2, appendix A.1",
        scope=Scope.REQUEST,
        request=ttft_s,
        failed_as=math.inf,
    ),
    Metric(
        name="ttft_from_send_s",
        title_zh="首 Token 延迟（自发送起）",
        title_en="Time to first token, from the send",
        unit="s",
        formula="first − sent",
        applies_to=_ALL,
        direction="lower",
        source="§5.3.2",
        scope=Scope.REQUEST,
        request=ttft_from_send_s,
        failed_as=math.inf,
    ),
    Metric(
        name="e2e_s",
        title_zh="端到端延迟（E2E）",
        title_en="End-to-end latency (E2E)",
        unit="s",
        formula="end of the body − intended",
        formula_zh="响应结束 − intended",
        applies_to=_ALL,
        direction="lower",
        source="§5.3.2, §3.5.2.1, §4.5.1",
        scope=Scope.REQUEST,
        request=e2e_s,
        failed_as=math.inf,
    ),
    Metric(
        name="tpot_s",
        title_zh="每输出 Token 时间（TPOT）",
        title_en="Time per output token (TPOT)",
        unit="s",
        formula="(last − first) / (output_tokens − 1)",
        applies_to=_TWO_TOKENS,
        direction="lower",
        source="§5.3.2, §4.5.1, appendix A.1",
        scope=Scope.REQUEST,
        request=tpot_s,
        failed_as=math.inf,
    ),
    Metric(
        name="itl_s",
        title_zh="Token 间延迟（ITL）",
        title_en="Inter-token latency (ITL)",
        unit="s",
        formula="gap between successive token events / tokens of the later event, once per token",
        formula_zh="相邻 Token 事件间隔 / 后一事件的 Token 数，每个 Token 记一次",
        applies_to="tokens that arrived, after the first event of their request",
        direction="lower",
        source="§5.3.2, §1.1.2",
        scope=Scope.TOKEN,
    ),
    Metric(
        name="normalized_latency_s",
        title_zh="归一化延迟",
        title_en="Normalized latency",
        unit="s",
        formula="e2e / output_tokens",
        applies_to="requests with an output token; +inf where failed or dropped",
        direction="lower",
        source="metric system §2; Orca (OSDI 2022)",
        scope=Scope.REQUEST,
        request=normalized_latency_s,
        failed_as=math.inf,
    ),
    Metric(
        name="tbt_top10_s",
        title_zh="最长 10% Token 间隔均值（TBT）",
        title_en="Mean of the longest 10 % of token gaps (TBT)",
        unit="s",
        formula="mean of the longest ⌈10 %⌉ of the request's per-token gaps",
        formula_zh="该请求最长的 ⌈10 %⌉ Token 间隔的均值",
        applies_to=_TWO_TOKENS,
        direction="lower",
        source="metric system §2; Mooncake (FAST 2025)",
        scope=Scope.REQUEST,
        request=tbt_top10_s,
        failed_as=math.inf,
    ),
    Metric(
        name="fluidity",
        title_zh="流畅度",
        title_en="Fluidity",
        unit="fraction",
        formula="tokens on time / tokens, deadlines first_s and later_s, slack carried over",
        formula_zh="按时到达的 Token / 全部 Token，时限为 first_s 与 later_s，余量可结转",
        applies_to="profiles with `fluidity` deadlines; 0 for requests that failed or were dropped",
        direction="higher",
        source="metric system §2; Etalon (arXiv 2407.07000)",
        scope=Scope.REQUEST,
        request=fluidity,
        failed_as=0.0,
        needs="fluidity",
    ),
    Metric(
        name="schedule_lag_s",
        title_zh="发送滞后",
        title_en="Schedule lag",
        unit="s",
        formula="sent − intended",
        applies_to=_SENT,
        direction="lower",
        source="metric system §2; a property of the client",
        scope=Scope.REQUEST,
        request=schedule_lag_s,
    ),
    Metric(
        name="client_queue_s",
        title_zh="客户端排队时间",
        title_en="Client queue time",
        unit="s",
        formula="time a planned request waited for a slot beyond its intended start",
        formula_zh="计划请求在其 intended 之后等待空位的时间",
        applies_to="no request of this engine: it sends on time or drops, and counts what it drops",
        direction="lower",
        source="metric system §2",
        scope=Scope.REQUEST,
        request=client_queue_s,
        needs="a client that queues",
    ),
    Metric(
        name="connect_s",
        title_zh="建连时间",
        title_en="Connect time",
        unit="s",
        formula="TCP and TLS handshake, outside sent",
        formula_zh="TCP 与 TLS 握手，不计入 sent",
        applies_to="requests that opened their connection",
        direction="lower",
        source="metric system §1",
        scope=Scope.REQUEST,
        request=connect_s,
    ),
)
