"""Prometheus alert rules from a profile's alert levels (reference design §4.4, §7.4.2).

The client's view of a limit becomes the server's: its own histograms and gauges, under the names
of its family (`bench.servers`).  What a family does not expose is left out, and said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from bench.judge.metrics import METRICS
from bench.judge.profile import Limit, Profile
from bench.servers.family import Exposed, Family
from bench.servers.telemetry import DCGM

RATE_WINDOW = "5m"
_HISTOGRAMS = ("ttft_s", "tpot_s", "itl_s", "e2e_s")
_FAILED: Mapping[str, str] = {
    "vllm": 'vllm:request_success_total{finished_reason=~"abort|error"}',
    "vllm-ascend": 'vllm:request_success_total{finished_reason=~"abort|error"}',
}
"""Failed requests where a family counts them under a label of its finished ones."""


@dataclass(frozen=True, slots=True)
class AlertRules:
    """`document` is the rules file's content; `left_out`: limit → why it has no rule."""

    document: Mapping[str, Any]
    left_out: Mapping[str, str]

    @property
    def count(self) -> int:
        return sum(len(group["rules"]) for group in self.document["groups"])

    def as_yaml(self) -> str:
        """The rules file, with what was left out as comments."""
        head = [f"# left out: {name}: {why}" for name, why in self.left_out.items()]
        body = yaml.safe_dump(dict(self.document), sort_keys=False, allow_unicode=True, width=1000)
        return "\n".join([*head, body])


def alert_rules(profile: Profile, family: Family, lasting: str = "5m") -> AlertRules:
    """One rule for each alert limit; `lasting` is how long it has to hold before it fires."""
    rules: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for limit in profile.limits:
        if limit.level != "alert":
            continue
        expression = _expression(limit, family)
        name = f"{limit.metric} {limit.statistic}"
        if expression is None:
            left_out[name] = f"{family.title} exposes no series for it"
        else:
            rules.append(_rule(profile, limit, expression, lasting))
    group = {"name": f"bench-{profile.name}-{family.name}", "rules": rules}
    return AlertRules({"groups": [group] if rules else []}, left_out)


def _rule(profile: Profile, limit: Limit, expression: str, lasting: str) -> dict[str, Any]:
    metric = METRICS[limit.metric]
    words = f"{limit.metric}_{limit.statistic}".removesuffix("_value").split("_")
    unit = profile.unit_of(limit.metric)
    sign = "<" if metric.direction == "higher" else ">"
    what = f"{limit.statistic} {sign} {limit.bound:g}".removeprefix("value ")
    return {
        "alert": "Bench" + "".join(word.capitalize() for word in words),
        "expr": expression,
        "for": lasting,
        "labels": {"severity": "warning", "profile": profile.name},
        "annotations": {
            "summary": f"{metric.title_zh} / {metric.title_en} {what} {unit}".strip(),
            "description": f"Profile {profile.name}, {limit.source}.",
        },
    }


def _expression(limit: Limit, family: Family) -> str | None:
    """The condition under which the alert fires; None where the family lacks the series."""
    if limit.metric in _HISTOGRAMS:
        return _of_histogram(limit, family)
    build = _GAUGES.get(limit.metric)
    left = build(family) if build else None
    if left is None:
        return None
    sign = "<" if METRICS[limit.metric].direction == "higher" else ">"
    return f"{left} {sign} {limit.bound:g}"


def _of_histogram(limit: Limit, family: Family) -> str | None:
    found = _newest(family, limit.metric)
    if found is None or limit.statistic == "max":
        return None
    bound = limit.bound / found.scale
    if limit.quantile is None:
        total, count = (
            f"sum(rate({found.name}_{part}[{RATE_WINDOW}]))" for part in ("sum", "count")
        )
        return f"{total} / {count} > {bound:g}"
    buckets = f"sum by (le) (rate({found.name}_bucket[{RATE_WINDOW}]))"
    return f"histogram_quantile({limit.quantile:g}, {buckets}) > {bound:g}"


def _kv_usage(family: Family) -> str | None:
    found = _newest(family, "kv_usage_fraction")
    return None if found is None else _times(f"max({found.name})", found.scale)


def _device_memory(_: Family) -> str:
    used, free = (DCGM.series[f"device_memory_{part}_bytes"][0].name for part in ("used", "free"))
    return f"max({used} / ({used} + {free}))"


def _error_rate(family: Family) -> str | None:
    ended = _newest(family, "requests_finished") or _newest(family, "requests_received")
    counted = _newest(family, "requests_failed")
    failed = counted.name if counted else _FAILED.get(family.name)
    if ended is None or failed is None:
        return None
    parts = (f"sum(rate({name}[{RATE_WINDOW}]))" for name in (failed, ended.name))
    return " / ".join(parts)


def _rate(series: str) -> Callable[[Family], str | None]:
    def build(family: Family) -> str | None:
        found = _newest(family, series)
        return None if found is None else f"sum(rate({found.name}[{RATE_WINDOW}]))"

    return build


_GAUGES: Mapping[str, Callable[[Family], str | None]] = {
    "kv_usage_max_fraction": _kv_usage,
    "device_memory_fraction": _device_memory,
    "error_rate": _error_rate,
    "output_tps": _rate("generation_tokens"),
    "request_rps": _rate("requests_finished"),
}
"""Left sides of the other metrics' conditions."""


def _newest(family: Family, series: str) -> Exposed | None:
    return next(iter(family.series.get(series, ())), None)


def _times(expression: str, scale: float) -> str:
    return expression if scale == 1 else f"{expression} * {scale:g}"
