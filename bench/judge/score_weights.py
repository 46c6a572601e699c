"""Scenarios of the composite score and the weight of each dimension, in per cent (§5.4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.judge.metric import Text

DIMENSIONS: Mapping[str, Text] = {
    "latency": Text("延迟", "Latency"),
    "throughput": Text("吞吐量", "Throughput"),
    "cost": Text("成本", "Cost"),
    "quality": Text("质量", "Quality"),
    "availability": Text("可用性", "Availability"),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is served, and what matters there: weights by dimension, 100 in sum."""

    title: Text
    weights: Mapping[str, float]


def _scenario(zh: str, en: str, *weights: float) -> Scenario:
    return Scenario(Text(zh, en), dict(zip(DIMENSIONS, weights, strict=True)))


SCENARIOS: Mapping[str, Scenario] = {
    "realtime-chat": _scenario("实时对话", "real-time chat", 40, 20, 15, 15, 10),
    "batch": _scenario("批量处理", "batch", 10, 40, 30, 15, 5),
    "online-inference": _scenario("在线推理", "online inference", 30, 25, 20, 15, 10),
    "edge": _scenario("边缘推理", "edge", 35, 15, 25, 15, 10),
    "enterprise": _scenario("企业服务", "enterprise", 25, 20, 15, 20, 20),
}
