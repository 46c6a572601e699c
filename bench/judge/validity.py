"""Can this run be trusted?  The client is judged before the server (metric system §10).

Each rule has a value, a limit and what to do.  A rule whose inputs are absent is unknown: it is
listed, and it is no proof of anything.  A violated rule makes the run not valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bench.judge import client as measures
from bench.judge.client import Client
from bench.judge.metric import Text
from bench.judge.profile import ValidityLimits


class State(StrEnum):
    OK = "ok"
    VIOLATED = "violated"
    UNKNOWN = "unknown"
    WAIVED = "waived"


@dataclass(frozen=True, slots=True)
class Rule:
    """`measure` gives a value to hold against `limit`, or None where it can't know."""

    name: str
    title: Text
    unit: str
    limit: Callable[[Client], float]
    measure: Callable[[Client], float | None]
    advice: Text
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule held against one run; `standard` is the limit of metric system §10."""

    rule: Rule
    state: State
    value: float | None
    limit: float
    standard: float

    @property
    def wider(self) -> bool:
        """The profile lets through what the metric system does not."""
        return self.limit < self.standard if self.rule.at_least else self.limit > self.standard

    def as_json(self) -> dict[str, Any]:
        rule = self.rule
        return {
            "rule": rule.name,
            "title": rule.title.as_json(),
            "result": self.state.value,
            "value": self.value,
            "limit": self.limit,
            "standard": self.standard if self.wider else None,
            "direction": "higher" if rule.at_least else "lower",
            "unit": rule.unit,
            "advice": rule.advice.as_json() if self.state is State.VIOLATED else None,
        }


def check(client: Client) -> list[Finding]:
    """Every rule, in the order of the table."""
    standard = replace(client, limits=ValidityLimits())
    return [_hold(rule, client, rule.limit(standard)) for rule in RULES]


def is_valid(findings: Sequence[Finding]) -> bool:
    return all(finding.state is not State.VIOLATED for finding in findings)


def _hold(rule: Rule, client: Client, standard: float) -> Finding:
    value, limit = rule.measure(client), rule.limit(client)
    if value is None or math.isnan(value):
        return Finding(rule, State.UNKNOWN, None, limit, standard)
    if rule.name == "output_length" and client.limits.waive_output_length:
        return Finding(rule, State.WAIVED, value, limit, standard)
    good = value >= limit if rule.at_least else value <= limit
    return Finding(rule, State.OK if good else State.VIOLATED, value, limit, standard)


RULES: tuple[Rule, ...] = (
    Rule(
        name="schedule_lag_p99",
        title=Text("发送滞后 P99", "Schedule lag P99"),
        unit="s",
        limit=measures.lag_limit_s,
        measure=measures.lag_p99_s,
        advice=Text(
            "客户端发送太晚：增加 --workers，或换更空闲的机器。",
            "The client sent late: use more --workers or a quieter machine.",
        ),
    ),
    Rule(
        name="sent",
        title=Text("实际发送 / 计划发送", "Sent of planned"),
        unit="fraction",
        limit=lambda client: client.limits.sent_fraction,
        measure=measures.sent_fraction,
        advice=Text(
            "未能按计划发送：提高并发上限，或降低速率。",
            "Planned requests were not sent: raise --max-concurrency or lower the rate.",
        ),
        at_least=True,
    ),
    Rule(
        name="ended",
        title=Text("运行未正常结束", "Run without an end"),
        unit="1",
        limit=lambda _: 0.0,
        measure=measures.without_end,
        advice=Text(
            "运行被中止，没有 end.json，请求数无法对账：请重新运行。",
            "The run was killed and has no end.json, so nothing balances: run it again.",
        ),
    ),
    Rule(
        name="left_by_hand",
        title=Text("手动停止时剩余的计划比例", "Plan left when it was stopped by hand"),
        unit="fraction",
        limit=lambda client: round(1 - client.limits.sent_fraction, 9),
        measure=measures.left_by_hand,
        advice=Text(
            "运行被手动停止：请完整运行，或把计划改短。",
            "The run was stopped by hand: run it whole, or plan a shorter one.",
        ),
    ),
    Rule(
        name="balance",
        title=Text("未入账的请求", "Requests unaccounted for"),
        unit="requests",
        limit=lambda _: 0.0,
        measure=measures.unaccounted,
        advice=Text(
            "计划数 ≠ 成功 + 失败 + 丢弃 + 中止：运行目录不完整，请重新运行。",
            "Planned ≠ ok + failed + dropped + aborted: the run folder is incomplete, run again.",
        ),
    ),
    Rule(
        name="record",
        title=Text("运行目录损坏或缺失之处", "Damage to the run folder"),
        unit="1",
        limit=lambda _: 0.0,
        measure=measures.damage,
        advice=Text(
            "运行目录的部分文件损坏、重复或缺失：从测试机重新复制整个目录。",
            "Parts of the run folder are damaged, doubled or missing: copy it whole from where it "
            "was made.",
        ),
    ),
    Rule(
        name="workers_alive",
        title=Text("异常退出的压测进程", "Load processes that died"),
        unit="1",
        limit=lambda _: 0.0,
        measure=measures.dead_workers,
        advice=Text(
            "有压测进程中途退出：检查内存与系统日志后重新运行。",
            "A load process died: look at memory and the system log, run again.",
        ),
    ),
    Rule(
        name="loop_stall",
        title=Text("事件循环最长停顿", "Longest event loop stall"),
        unit="s",
        limit=lambda client: client.limits.loop_stall_s,
        measure=measures.stall_s,
        advice=Text(
            "客户端停顿：关闭同机的其他负载。", "The client stalled: stop what else runs beside it."
        ),
    ),
    Rule(
        name="uncertain_first_tokens",
        title=Text("首 Token 到达时刻不确定的比例", "First tokens of uncertain arrival"),
        unit="fraction",
        limit=lambda client: client.limits.uncertain_first_fraction,
        measure=measures.uncertain_fraction,
        advice=Text(
            "读取太晚：增加 --workers，或降低每进程的并发。",
            "Reads came late: use more --workers or fewer streams for each.",
        ),
    ),
    Rule(
        name="client_cpu",
        title=Text("客户端 CPU 占其核的比例", "Client CPU of its cores"),
        unit="fraction",
        limit=lambda client: client.limits.client_cpu_fraction,
        measure=measures.cpu_fraction,
        advice=Text(
            "客户端已满载：增加 --workers 或机器。",
            "The client is saturated: use more --workers or machines.",
        ),
    ),
    Rule(
        name="clock_steps",
        title=Text("墙上时钟跳变", "Wall clock steps"),
        unit="1",
        limit=lambda _: 0.0,
        measure=measures.clock_steps,
        advice=Text(
            "时钟在运行中被调整：让 NTP 平滑校时后重新运行。",
            "The clock was set during the run: let NTP slew it, run again.",
        ),
    ),
    Rule(
        name="no_socket",
        title=Text("客户端没有可用套接字的请求", "Requests without a socket at the client"),
        unit="requests",
        limit=lambda _: 0.0,
        measure=measures.without_socket,
        advice=Text(
            "客户端的文件描述符或本地端口用尽：提高 ulimit -Hn，或执行 "
            "sysctl -w net.ipv4.ip_local_port_range='1024 65535'，或增加 --workers。",
            "The client ran out of open files or local ports: raise ulimit -Hn, or "
            "sysctl -w net.ipv4.ip_local_port_range='1024 65535', or use more --workers.",
        ),
    ),
    Rule(
        name="server_restarts",
        title=Text("服务端重启", "Server restarts"),
        unit="1",
        limit=lambda _: 0.0,
        measure=measures.restarts,
        advice=Text(
            "服务端在运行中重启：查看其日志后重新运行。",
            "The server restarted during the run: look at its log, run again.",
        ),
    ),
    Rule(
        name="request_count",
        title=Text("服务端少计的请求比例", "Requests the server did not count"),
        unit="fraction",
        limit=lambda client: client.limits.request_count_fraction,
        measure=measures.missing_at_server,
        advice=Text(
            "服务端计数少于客户端：抓取的是否是全部副本？",
            "The server counted fewer than the client: were all replicas scraped?",
        ),
    ),
    Rule(
        name="cache_excess",
        title=Text("首轮命中超出计划上限", "First-turn hits above the ceiling"),
        unit="fraction",
        limit=lambda client: client.limits.cache_excess_fraction,
        measure=measures.cache_excess,
        advice=Text(
            "缓存里有本次运行之外的内容：清空缓存、换盐值（--salt auto），或停止其他流量。",
            "The cache held what this run did not put there: empty it, use a new salt "
            "(--salt auto), or stop other traffic.",
        ),
    ),
    Rule(
        name="output_length",
        title=Text("输出长度与要求之差", "Output length off what was asked"),
        unit="fraction",
        limit=lambda client: client.limits.output_length_fraction,
        measure=measures.output_length,
        advice=Text(
            "输出长度不符：服务端是否支持 ignore_eos？不支持时在 SLO 配置设 waive_output_length。",
            "Output lengths differ: does the server honour ignore_eos? If it can't, set "
            "waive_output_length in the profile.",
        ),
    ),
)
