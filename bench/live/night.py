"""A night that is judged as Prometheus metrics, to be pushed once: what it came to, by metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_VERDICTS = ("better", "same", "worse", "undecided", "none")
_DECIDED = ("better", "same", "worse")


class NightMetrics(Collector):
    """`change` is a night's comparison as JSON; `values` its valid rounds' values by "metric
    statistic"; `valid_rounds` of `rounds` could be trusted."""

    def __init__(
        self,
        change: Mapping[str, Any],
        values: Mapping[str, Sequence[float]],
        *,
        accepted: bool,
        rounds: int,
        valid_rounds: int,
    ) -> None:
        self._change = change
        self._values = values
        self._counts = {"accepted": float(accepted), "rounds": rounds, "valid": valid_rounds}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> Sequence[Metric]:
        """Nothing: names are told with their values."""
        return ()

    def collect(self) -> list[Metric]:
        verdict = GaugeMetricFamily("bench_night_verdict", "1 for the night's", labels=("verdict",))
        for word in _VERDICTS:
            verdict.add_metric((word,), float(self._change["verdict"] == word))
        names = ("metric", "statistic")
        value = GaugeMetricFamily("bench_night_value", "Mean over the valid rounds", labels=names)
        change = GaugeMetricFamily(
            "bench_night_change",
            "From the baseline: a fraction of it, of shares their difference",
            labels=names,
        )
        worse = GaugeMetricFamily(
            "bench_night_worse", "1 for what got worse, absent where undecided", labels=names
        )
        for key, rounds in self._values.items():
            value.add_metric(key.split(" "), sum(rounds) / len(rounds))
        for row in self._change["metrics"]:
            labels = (row["metric"], row["statistic"])
            if row["change"] is not None:
                change.add_metric(labels, row["change"])
            if row["result"] in _DECIDED:
                worse.add_metric(labels, float(row["result"] == "worse"))
        counts = self._counts
        return [
            verdict, value, change, worse,
            GaugeMetricFamily("bench_night_accepted", "1 if it joins the baseline",
                              counts["accepted"]),
            GaugeMetricFamily("bench_night_rounds", "Rounds of the night", counts["rounds"]),
            GaugeMetricFamily("bench_night_valid_rounds", "Those that can be trusted",
                              counts["valid"]),
        ]  # fmt: skip
