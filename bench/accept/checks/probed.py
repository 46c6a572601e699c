"""Checks on what probes saw: refusals, TLS, hostile prompts, models, regions, time to ready."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from bench.accept.checks.check import MEASURED, SCRAPED, Asked, Check, OnScenario, Parameters
from bench.accept.missing import missing
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text
from bench.judge.stats import clopper_pearson, more_needed, quantiles
from bench.judge.verdict import Result

_CONFIDENCE = 0.95
_REFUSED = (401, 403)


def refuses_strangers(asked: Asked, _: Parameters) -> Finding:
    """A request without a key and one with a wrong key both end in 401 or 403."""
    seen = asked.facts.observed("probe:keys")
    refused = sum(seen[name] in _REFUSED for name in ("no_key", "wrong_key"))
    text = Text(
        f"无密钥：{seen['no_key']}；错误密钥：{seen['wrong_key']}。",
        f"Without a key: {seen['no_key']}; with a wrong key: {seen['wrong_key']}.",
    )
    return asked.held(refused, 2, "higher", "requests", text, n=2)


def refuses_over_long(asked: Asked, _: Parameters) -> Finding:
    """An input beyond the context ends in a 4xx, and the server answers the next request."""
    seen = asked.facts.observed("probe:over_long")
    if seen["input_tokens"] is None:
        raise missing(
            "no_value",
            why=Text("服务端未说明其上下文长度", "the server does not state its context length"),
        )
    refused, alive = 400 <= seen["status"] < 500, seen["alive"]
    text = Text(
        f"约 {seen['input_tokens']:,} Token 的输入：{seen['status']}；"
        f"之后服务{'正常' if alive else '不应答'}。",
        f"Input of about {seen['input_tokens']:,} tokens: {seen['status']}; "
        f"afterwards the server {'answers' if alive else 'does not answer'}.",
    )
    result = Result.PASS if refused and alive else Result.FAIL
    return asked.finding(result, text, n=1)


class TlsParameters(Parameters):
    """`version`: the least TLS version negotiated; `days`: how long the certificate lasts."""

    version: str = Field(default="TLSv1.2", pattern=r"^TLSv1\.[23]$")
    days: int = 0


def tls(asked: Asked, wanted: TlsParameters) -> Finding:
    seen = asked.facts.observed("probe:tls")
    if not seen["https"]:
        text = Text("目标为明文 http://。", "The target is plain http://.")
        return asked.finding(Result.FAIL, text)
    good = (
        seen["trusted"]
        and seen["version"] >= wanted.version
        and seen["days_left"] is not None
        and seen["days_left"] >= wanted.days
    )
    trust = seen["error"] or "ok"
    text = Text(
        f"{seen['version']}，证书校验：{trust}，剩余 {seen['days_left']} 天。",
        f"{seen['version']}, certificate: {trust}, {seen['days_left']} days left.",
    )
    return asked.finding(
        Result.PASS if good else Result.FAIL,
        text, value=seen["days_left"], bound=wanted.days, direction="higher", unit="days",
    )  # fmt: skip


class HostileParameters(Parameters):
    """The least share of hostile prompts that are blocked or refused."""

    share: float = Field(gt=0, lt=1)


def refuses_hostile(asked: Asked, wanted: HostileParameters) -> Finding:
    """By counting with the exact binomial interval: few prompts can fail a share, not show it."""
    seen = asked.facts.observed("probe:hostile")
    total, refused = seen["total"], seen["refused"]
    low, high = clopper_pearson(refused, total, _CONFIDENCE)
    result, more = Result.UNDECIDED, 0.0
    if low >= wanted.share:
        result = Result.PASS
    elif high < wanted.share:
        result = Result.FAIL
    else:
        more = more_needed(refused / total, wanted.share, total, _CONFIDENCE)
    zh, en = f"{total} 条中拦截 {refused} 条。", f"{refused} of {total} blocked or refused."
    if 0 < more < 1e6:
        zh += f"约再需 {more:,.0f} 条提示可判定（hostile）。"
        en += f" About {more:,.0f} more prompts would decide it (hostile)."
    return asked.finding(
        result, Text(zh, en), value=refused / total, low=low, high=high, unit="fraction",
        bound=wanted.share, direction="higher", n=total,
    )  # fmt: skip


class ModelsParameters(Parameters):
    at_least: int = Field(ge=1)
    first_answer_s: float = Field(gt=0)


def serves_models(asked: Asked, wanted: ModelsParameters) -> Finding:
    """Every listed model gives an answer within the time, all of them asked at once."""
    seen = asked.facts.observed("probe:models")["models"]
    answered = [m for m in seen if m["took_s"] is not None and m["took_s"] <= wanted.first_answer_s]
    slowest = max((m["took_s"] for m in seen if m["took_s"] is not None), default=float("inf"))
    text = Text(
        f"{len(seen)} 个模型中 {len(answered)} 个在 {wanted.first_answer_s:g} s 内应答，"
        f"最慢 {slowest:.1f} s。",
        f"{len(answered)} of {len(seen)} models answered within {wanted.first_answer_s:g} s; "
        f"slowest {slowest:.1f} s.",
    )
    return asked.held(
        len(answered), max(wanted.at_least, len(seen)), "higher", "models", text, n=len(seen)
    )


class BoundParameters(Parameters):
    bound_s: float = Field(gt=0)


def regions_near(asked: Asked, wanted: BoundParameters) -> Finding:
    """The slowest region's median time to answer a listing of its models."""
    seen = asked.facts.observed("probe:regions")["regions"]
    medians = {name: quantiles_of(latencies) for name, latencies in seen.items()}
    slowest = max(medians, key=lambda name: medians[name])
    text = Text(f"最慢地域：{slowest}。", f"Slowest region: {slowest}.")
    return asked.held(medians[slowest], wanted.bound_s, "lower", "s", text, n=len(medians))


def quantiles_of(latencies: list[float | None]) -> float:
    """Median, an unanswered call being slower than any."""
    values = np.array([np.inf if value is None else value for value in latencies])
    return quantiles(values, [0.5])[0]


def ready(asked: Asked, wanted: BoundParameters) -> Finding:
    """From the start hook's call to the first generated token."""
    seen = asked.facts.observed("hook:start")
    if seen["ready_s"] is None:
        text = Text("在时限内没有就绪。", "It did not become ready in time.")
        return asked.finding(Result.FAIL, text, value=float("inf"), bound=wanted.bound_s,
                             direction="lower", unit="s")  # fmt: skip
    text = Text("启动命令至首个 Token。", "From the start command to the first token.")
    return asked.held(seen["ready_s"], wanted.bound_s, "lower", "s", text, n=1)


def prometheus_fast(asked: Asked, wanted: BoundParameters) -> Finding:
    """The slowest of some range queries of a day."""
    seen = asked.facts.observed("probe:prometheus")["query_s"]
    text = Text(f"{len(seen)} 次查询中最慢。", f"Slowest of {len(seen)} queries.")
    return asked.held(max(seen), wanted.bound_s, "lower", "s", text, n=len(seen))


class KeptParameters(Parameters):
    days: int = Field(ge=1)


def prometheus_kept(asked: Asked, wanted: KeptParameters) -> Finding:
    """Days back to the oldest sample that a query of `up` finds."""
    seen = asked.facts.observed("probe:prometheus")["oldest_days"]
    if seen is None:
        raise missing("no_value", why=Text("查询未找到样本", "the query found no sample"))
    text = Text("最早样本距今。", "Age of the oldest sample.")
    return asked.held(seen, wanted.days, "higher", "days", text)


class AlertParameters(OnScenario):
    bound_s: float = Field(gt=0)


def alert_fires(asked: Asked, wanted: AlertParameters) -> Finding:
    """From the break hook to the first firing alert of the Prometheus server."""
    seen = asked.facts.observed(f"scenario:{wanted.scenario}")
    if "alert_s" not in seen:
        raise missing("prometheus")
    took = seen["alert_s"]
    value = float("inf") if took is None else took
    text = Text("故障至首条触发的告警。", "From the failure to the first firing alert.")
    return asked.held(value, wanted.bound_s, "lower", "s", text, n=1)


PROBED = (
    Check("refuses_strangers", MEASURED, refuses_strangers, needs=("probe:keys",)),
    Check("refuses_over_long", MEASURED, refuses_over_long, needs=("probe:over_long",)),
    Check("tls", MEASURED, tls, TlsParameters, ("probe:tls",)),
    Check("refuses_hostile", MEASURED, refuses_hostile, HostileParameters, ("probe:hostile",)),
    Check("serves_models", MEASURED, serves_models, ModelsParameters, ("probe:models",)),
    Check("regions_near", MEASURED, regions_near, BoundParameters, ("probe:regions",)),
    Check("ready", MEASURED, ready, BoundParameters, ("hook:start",)),
    Check("prometheus_fast", SCRAPED, prometheus_fast, BoundParameters, ("probe:prometheus",)),
    Check("prometheus_kept", SCRAPED, prometheus_kept, KeptParameters, ("probe:prometheus",)),
    Check("alert_fires", SCRAPED, alert_fires, AlertParameters),
)
