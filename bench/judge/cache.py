"""Cache hit rate in three views of one window, reconciled and never merged (metric system §4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.judge.metric import (
    Absence,
    Kind,
    Measured,
    Metric,
    Reading,
    Text,
    absent,
    column,
    exact,
)
from bench.judge.server_cache import cached_by_tier, hits, hits_by_replica
from bench.judge.stats import finite_or_none, nearest_rank, ratio_of_sums
from bench.judge.usage import prompt_usage

_NOTABLE = 0.01
_FULL_KV = 0.95
_SHARES: tuple[tuple[str, float, float], ...] = (
    ("0", -math.inf, 0.0),
    ("0–50 %", 0.0, 0.5),
    ("50–90 %", 0.5, 0.9),
    ("> 90 %", 0.9, math.inf),
)


def cache_ceiling(measured: Measured) -> Reading:
    if math.isnan(measured.ceiling_fraction):
        return absent(Absence.NOT_STATED)
    return exact(measured.ceiling_fraction, len(measured.requests))


def cache_client(measured: Measured) -> Reading:
    """Over the requests whose usage states both; a server that states no hits is not at 0."""
    usage = prompt_usage(measured.requests)
    if not len(usage.prompt):
        return absent(Absence.NOT_STATED)
    return Reading(ratio_of_sums(usage.cached, usage.prompt, measured.confidence))


def cache_server(measured: Measured) -> Reading:
    """A server with its cache switched off looks nothing up: absent, which is not 0."""
    found = hits(measured.server)
    if found is None:
        return absent(Absence.NOT_SCRAPED)
    if found.fraction is None:
        return absent(Absence.NOT_STATED)
    return exact(found.fraction, round(found.looked_up))


def cache_server_external(measured: Measured) -> Reading:
    hit = measured.server.increase("external_hit_tokens").value
    queried = measured.server.increase("external_queried_tokens").value
    if hit is None or queried is None:
        return absent(Absence.NOT_SCRAPED)
    if queried <= 0:
        return absent(Absence.NOT_STATED)
    return exact(hit / queried, round(queried))


def views(
    measured: Measured,
    values: Mapping[str, Reading],
    other_tokens: float | None,
    template_tokens: float,
) -> dict[str, Any]:
    """The `cache` part of summary.json.

    `other_tokens` are prompt tokens of other traffic, `template_tokens` those that the server puts
    around each prompt.
    `ceiling`, `client`, `server` as fractions or None, their differences, the reasons that this
    run gives for them, tiers and replicas where the server tells them apart, and TTFT by share of
    cached prompt.
    """
    view = {name: _number(values[f"cache_{name}"]) for name in ("ceiling", "client", "server")}
    gaps = {
        f"{a}_minus_{b}": finite_or_none(
            values[f"cache_{a}"].estimate.value - values[f"cache_{b}"].estimate.value
        )
        for a, b in (("ceiling", "client"), ("client", "server"), ("ceiling", "server"))
    }
    above = -(gaps["ceiling_minus_client"] or 0.0)
    return {
        **view,
        **gaps,
        "client_low": finite_or_none(values["cache_client"].estimate.low),
        "client_high": finite_or_none(values["cache_client"].estimate.high),
        "external": _number(values["cache_server_external"]),
        "tiers_tokens": dict(cached_by_tier(measured.server)),
        "replicas": _replicas(measured),
        "reasons": [
            text.as_json()
            for text in (
                *_reasons(measured, values, gaps, other_tokens),
                *_why_above_ceiling(measured, above, template_tokens),
            )
        ],
        "ttft_by_share": ttft_by_share(measured),
    }


def _replicas(measured: Measured) -> list[dict[str, Any]]:
    """Hit rate of each replica; empty where there is only one."""
    found = hits_by_replica(measured.server)
    if len(found) < 2:
        return []
    return [
        {
            "source": source,
            "engine": engine or None,
            "hit": each.hit,
            "looked_up": each.looked_up,
            "unit": each.unit,
            "fraction": each.fraction,
        }
        for (source, engine), each in found.items()
    ]


def ttft_by_share(measured: Measured) -> list[dict[str, Any]]:
    """TTFT of the requests that ended well, by which share of their prompt was cached."""
    usage = prompt_usage(measured.requests)
    share = usage.cached / usage.prompt
    ttft = measured.columns["ttft_s"].values[usage.rows]
    rows = []
    for label, above, to in _SHARES:
        inside = (share > above) & (share <= to) & np.isfinite(ttft)
        ordered = np.sort(ttft[inside])
        rows.append(
            {
                "share": label,
                "n": len(ordered),
                "p50_s": finite_or_none(nearest_rank(ordered, 0.5)),
                "p99_s": finite_or_none(nearest_rank(ordered, 0.99)),
            }
        )
    return rows


def _reasons(
    measured: Measured,
    values: Mapping[str, Reading],
    gaps: Mapping[str, float | None],
    other_tokens: float | None,
) -> list[Text]:
    """What in this run explains that the views differ or that one is absent."""
    found = _how_the_responses_count(measured, values)
    found += _how_the_server_counts(measured)
    found += _unseen(measured)
    ours = float(np.nansum(column(measured.requests, "prompt_tokens")))
    if other_tokens is not None and other_tokens > ours * _NOTABLE:
        found.append(
            Text(
                f"其他流量：服务端另外处理了 {other_tokens:,.0f} 个输入 Token。",
                f"Other traffic: the server took {other_tokens:,.0f} more prompt tokens.",
            )
        )
    told = hits(measured.server)
    off = told is not None and not told.looked_up
    if (gaps["ceiling_minus_client"] or 0) > _NOTABLE and not off:
        found += _why_under_ceiling(measured)
    return found


def _why_above_ceiling(measured: Measured, above: float, template_tokens: float) -> list[Text]:
    """The chat template stands before every prompt and in no plan: it hits from the second on."""
    prompt = prompt_usage(measured.requests).prompt
    shared = template_tokens * len(prompt) / prompt.sum() if len(prompt) else 0.0
    found = []
    if above > 0 and shared > 0:
        found.append(
            Text(
                f"对话模板为每个提示词加 {template_tokens:.0f} 个 Token，所有请求共有且不在计划"
                f"之内：命中率至多因此高于上限 {shared:.2%}，实际高 {above:.2%}。",
                f"The chat template adds {template_tokens:.0f} tokens to each prompt, which all "
                f"share and no plan holds: up to {shared:.2%} above the ceiling, of {above:.2%}.",
            )
        )
    if above > shared + _NOTABLE:
        found.append(
            Text(
                "命中率高于上限：缓存在运行前已有内容，或窗口从计划中途开始。",
                "Hits above the ceiling: the cache held content before the run, "
                "or the window starts inside the plan.",
            )
        )
    return found


def _how_the_responses_count(measured: Measured, values: Mapping[str, Reading]) -> list[Text]:
    """Where the client's view is absent, or not of what every answer states."""
    usage = prompt_usage(measured.requests)
    if values["cache_client"].absent:
        return [
            Text(
                "响应的 usage 中没有 cached_tokens：服务端未给出，不等于命中率为 0。",
                "The responses state no cached_tokens, which is not a hit rate of 0.",
            )
        ]
    if not usage.silent:
        return []
    if usage.silent_is_zero:
        hits_only = usage.cached.sum() / usage.prompt[usage.cached > 0].sum()
        return [
            Text(
                f"{usage.silent:,} 个响应没有 cached_tokens，其余均大于 0：按未命中计（旧版 vLLM、"
                f"SGLang 在未命中时省略该字段）；仅计写明的响应则为 {hits_only:.1%}。",
                f"{usage.silent:,} responses state no cached_tokens and no other states 0: taken "
                "as misses, for which older vLLM and SGLang leave the field out; over those that "
                f"state it the rate is {hits_only:.1%}.",
            )
        ]
    return [
        Text(
            f"{usage.silent:,} 个响应没有 cached_tokens，不在统计之内。",
            f"{usage.silent:,} responses state no cached_tokens and are left out.",
        )
    ]


def _how_the_server_counts(measured: Measured) -> list[Text]:
    """Where the server's view is not of tokens that it counted, or not of all of them."""
    told = hits(measured.server)
    found = []
    if told is not None and not told.looked_up:
        found.append(
            Text(
                "服务端没有查询前缀缓存：缓存已关闭，或窗口内没有请求。",
                "The server looked nothing up in its prefix cache: it is off, or idle.",
            )
        )
    if told is not None and told.approximate:
        found.append(
            Text(
                "服务端只给出启动以来的命中率：窗口值由其与输入 Token 计数推算，为近似值。",
                "The server tells its hit rate since its start only: the window's is made of that "
                "and its prompt tokens, and is approximate.",
            )
        )
    if told is not None and told.unit == "blocks":
        found.append(
            Text(
                "服务端按 KV 块而不是 Token 计数。",
                "The server counts KV blocks, not tokens.",
            )
        )
    if told is not None and told.resets:
        found.append(
            Text(
                f"服务端计数器在窗口内重新开始了 {told.resets} 次：此前的部分命中与查询已丢失。",
                f"The server's counters began anew {told.resets}× in the window: some hits and "
                "lookups before are lost.",
            )
        )
    return found


def _unseen(measured: Measured) -> list[Text]:
    """Sources whose answered scrapes leave out an edge of the window, or that never answered."""
    server, found = measured.server, []
    notable_s = _NOTABLE * (measured.window.end_s - measured.window.start_s)
    for source, unseen_s in sorted(server.unseen_s.items()):
        if unseen_s is None:
            found.append(
                Text(
                    f"{source} 从未应答采样：它的命中与查询不在统计之内。",
                    f"{source} answered no scrape: what it hit and looked up is not counted.",
                )
            )
        elif unseen_s > notable_s:
            found.append(
                Text(
                    f"{source} 在窗口边缘有 {unseen_s:.1f} 秒没有应答采样：其间的计数缺失。",
                    f"{source} answered no scrape in {unseen_s:.1f} s at an edge of the window: "
                    "what it counted there is missing.",
                )
            )
    return found


def _why_under_ceiling(measured: Measured) -> list[Text]:
    found = []
    if measured.window.cut_head_s == 0:
        found.append(
            Text(
                "窗口包含预热：缓存从空开始填充。", "Warm-up is inside the window: the cache fills."
            )
        )
    usage = [t.values[np.isfinite(t.values)] for t in measured.server.gauge("kv_usage_fraction")]
    peak = max((float(values.max()) for values in usage if len(values)), default=math.nan)
    if peak >= _FULL_KV:
        found.append(
            Text(f"逐出：KV 缓存使用率达到 {peak:.0%}。", f"Eviction: KV usage reached {peak:.0%}.")
        )
    elif not math.isnan(peak):
        found.append(
            Text(
                f"KV 缓存使用率最高 {peak:.0%}，不是逐出：检查路由、前缀盐值或块取整。",
                f"KV usage peaked at {peak:.0%}, so not eviction: "
                "look at routing, prompt salt, block rounding.",
            )
        )
    preempted = measured.server.increase("preemptions").value
    if preempted:
        found.append(
            Text(f"发生 {preempted:,.0f} 次抢占。", f"{preempted:,.0f} requests were preempted.")
        )
    return found


def _number(reading: Reading) -> float | None:
    return finite_or_none(reading.estimate.value)


CACHE: tuple[Metric, ...] = (
    Metric(
        name="cache_ceiling",
        title_zh="缓存命中率上限",
        title_en="Cache hit ceiling",
        unit="fraction",
        formula="tokens of the longest prefix seen before / input tokens, infinite cache",
        formula_zh="先前出现过的最长前缀的 Token / 输入 Token，缓存无限大",
        applies_to="plans that know their content (main phase of the whole plan)",
        direction="none",
        source="§7.4.1, §13; metric system §4",
        run=cache_ceiling,
        kind=Kind.EXACT,
    ),
    Metric(
        name="cache_client",
        title_zh="缓存命中率（响应）",
        title_en="Cache hit rate, client view",
        unit="fraction",
        formula="Σ cached_tokens / Σ prompt_tokens over the same requests",
        formula_zh="同一批请求的 Σ cached_tokens / Σ prompt_tokens",
        applies_to="responses whose usage states both",
        direction="higher",
        source="§7.4.1, §13, §4.3.2.3",
        run=cache_client,
        kind=Kind.RATIO,
    ),
    Metric(
        name="cache_server",
        title_zh="缓存命中率（服务端）",
        title_en="Cache hit rate, server view",
        unit="fraction",
        formula="Δ hit tokens / Δ queried tokens over the window's scrapes",
        formula_zh="窗口采样内 Δ 命中 Token / Δ 查询 Token",
        applies_to="servers that count them, in tokens or KV blocks",
        direction="higher",
        source="§7.4.1, §13, §4.3.2.3",
        run=cache_server,
        kind=Kind.EXACT,
    ),
    Metric(
        name="cache_server_external",
        title_zh="外部缓存命中率（服务端）",
        title_en="Outer cache hit rate, server view",
        unit="fraction",
        formula="Δ hit tokens / Δ queried tokens of the outer KV tier over the window's scrapes",
        formula_zh="窗口采样内外层 KV 的 Δ 命中 Token / Δ 查询 Token",
        applies_to="servers with an outer KV tier",
        direction="higher",
        source="§4.3.2.3",
        run=cache_server_external,
        kind=Kind.EXACT,
    ),
)
