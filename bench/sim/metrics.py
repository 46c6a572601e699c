"""The /metrics page: engines read at the scrape, through a family's table of names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bench.sim import metrics_vllm as family
from bench.sim.engine import Engine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Engines(Collector):
    """One series per engine, labelled as vLLM labels its data-parallel ranks."""

    def __init__(self, engines: Sequence[Engine], model: str) -> None:
        self._labelled = [
            ({"model_name": model, "engine": str(rank)}, engine)
            for rank, engine in enumerate(engines)
        ]
        self._created_s = time.time()

    def collect(self) -> Iterator[Metric]:
        for row in family.METRICS:
            names = ["model_name", "engine", *([row.label] if row.label else [])]
            kind = GaugeMetricFamily if row.kind == "gauge" else CounterMetricFamily
            exposed = kind(row.name, row.help, labels=names)
            for labels, engine in self._labelled:
                reading = row.read(engine)
                parts = reading if isinstance(reading, Mapping) else {None: reading}
                for part, value in parts.items():
                    values = [*labels.values(), *([part] if part is not None else [])]
                    if isinstance(exposed, CounterMetricFamily):
                        exposed.add_metric(values, value, created=self._created_s)
                    else:
                        exposed.add_metric(values, value)
            yield exposed
        yield from self._histograms()
        config = GaugeMetricFamily(
            family.CONFIG_NAME,
            family.CONFIG_HELP,
            labels=["engine", *family.config_labels(self._labelled[0][1])],
        )
        for labels, engine in self._labelled:
            config.add_metric([labels["engine"], *family.config_labels(engine).values()], 1)
        yield config

    def _histograms(self) -> Iterator[Metric]:
        for row in family.HISTOGRAMS:
            exposed = HistogramMetricFamily(row.name, row.help, labels=["model_name", "engine"])
            for labels, engine in self._labelled:
                histogram = engine.stats.histograms[row.stat]
                exposed.add_metric(
                    list(labels.values()), buckets=histogram.cumulative(), sum_value=histogram.sum
                )
            yield exposed


class MetricsPage:
    """A private registry over these engines and this process."""

    def __init__(self, engines: Sequence[Engine], model: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(engines, model))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        return generate_latest(self._registry)
