"""The /metrics page: engines read at the scrape, through a family's table of names.

Prometheus text format 0.0.4.  It is written here and not by prometheus_client, which puts `_total`
behind every counter's name: not every server does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from bench.sim.engine import Engine
from bench.sim.stats import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge or counter: its name as exposed, and how to read it of an engine.

    `label` where the reading is a mapping.  `over_replicas`: how the engines of one server make one
    value, in a family that has no series for each.  `gathered`: it is read every `refresh_s` of its
    table, and not at the scrape.
    """

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    read: Callable[[Engine], float | Mapping[str, float]]
    label: str | None = None
    over_replicas: Literal["sum", "mean"] = "sum"
    gathered: bool = False


@dataclass(frozen=True, slots=True)
class HistogramMetric:
    """A histogram of `EngineStats`: the name it is exposed under, and its bucket bounds."""

    stat: str
    name: str
    help: str
    bounds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LabelMetric:
    """A gauge of value 1 whose labels are the content, with the common ones named in `common`."""

    name: str
    help: str
    labels: Callable[[Engine], Labels]
    common: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """A family's names.

    `labels`: the common labels of the engine of a rank, given the model's name.  `per_engine`: a
    series for each engine.  `created`: counters and histograms have a `_created` beside them.
    `process`: the server process's own metrics stand in the same text.
    """

    metrics: tuple[Metric, ...]
    histograms: tuple[HistogramMetric, ...] = ()
    config: tuple[LabelMetric, ...] = ()
    labels: Callable[[str, int], Labels] = lambda model, rank: {"model_name": model}
    per_engine: bool = False
    created: bool = False
    process: bool = False
    refresh_s: float | None = None

    @property
    def bounds(self) -> dict[str, Sequence[float]]:
        """Bucket bounds by statistic, for `EngineStats.with_bounds`."""
        return {histogram.stat: histogram.bounds for histogram in self.histograms}


class MetricsPage:
    """The page of these engines, and of this process where the family has that."""

    def __init__(self, table: MetricsTable, engines: Sequence[Engine], model: str) -> None:
        self._table = table
        groups = [[engine] for engine in engines] if table.per_engine else [list(engines)]
        self._groups = [(table.labels(model, rank), group) for rank, group in enumerate(groups)]
        self._created_s = time.time()
        self._process = CollectorRegistry()
        if table.process:
            ProcessCollector(registry=self._process)
        self.gather()

    def restart(self) -> None:
        """Counters and histograms are made anew."""
        self._created_s = time.time()
        self.gather()

    def gather(self) -> None:
        """Read what is not read at each scrape."""
        self._gathered = {
            metric.name: [_reading(metric, group) for _, group in self._groups]
            for metric in self._table.metrics
            if metric.gathered
        }

    def render(self) -> bytes:
        text = "".join(f"{line}\n" for line in self._lines()).encode()
        return text + generate_latest(self._process) if self._table.process else text

    def _lines(self) -> Iterator[str]:
        for metric in self._table.metrics:
            yield from _head(metric.name, metric.help, metric.kind)
            samples = [
                ({**labels, **({metric.label: part} if metric.label else {})}, value)
                for (labels, _), reading in zip(self._groups, self._readings(metric), strict=True)
                for part, value in reading.items()
            ]
            yield from (_sample(metric.name, labels, value) for labels, value in samples)
            if metric.kind == "counter":
                name = metric.name.removesuffix("_total")
                yield from self._created(name, [labels for labels, _ in samples])
        for histogram in self._table.histograms:
            yield from self._histogram(histogram)
        for config in self._table.config:
            yield from _head(config.name, config.help, "gauge")
            for labels, group in self._groups:
                kept = {label: labels[label] for label in config.common}
                yield _sample(config.name, {**config.labels(group[0]), **kept}, 1)

    def _readings(self, metric: Metric) -> list[dict[str, float]]:
        if metric.gathered:
            return self._gathered[metric.name]
        return [_reading(metric, group) for _, group in self._groups]

    def _histogram(self, row: HistogramMetric) -> Iterator[str]:
        yield from _head(row.name, row.help, "histogram")
        for labels, group in self._groups:
            total = Histogram(group[0].stats.histograms[row.stat].bounds)
            for engine in group:
                total.add(engine.stats.histograms[row.stat])
            for bound, count in total.cumulative():
                yield _sample(f"{row.name}_bucket", {**labels, "le": bound}, count)
            yield _sample(f"{row.name}_count", labels, total.count)
            yield _sample(f"{row.name}_sum", labels, total.sum)
        yield from self._created(row.name, [labels for labels, _ in self._groups])

    def _created(self, name: str, label_sets: Sequence[Labels]) -> Iterator[str]:
        if self._table.created:
            created = f"{name}_created"
            yield from _head(created, f"When {name} was made.", "gauge")
            yield from (_sample(created, labels, self._created_s) for labels in label_sets)


def _reading(metric: Metric, group: Sequence[Engine]) -> dict[str, float]:
    """The value by its label's value; one with an empty name where it has no label."""
    parts: dict[str, float] = {}
    for engine in group:
        found = metric.read(engine)
        for part, value in (found if isinstance(found, Mapping) else {"": found}).items():
            parts[part] = parts.get(part, 0) + value
    if metric.over_replicas == "mean":
        return {part: value / len(group) for part, value in parts.items()}
    return parts


def _head(name: str, text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _sample(name: str, labels: Labels, value: float) -> str:
    escaped = (
        (label, str(text).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for label, text in sorted(labels.items())
    )
    listed = ",".join(f'{label}="{text}"' for label, text in escaped)
    if listed:
        return f"{name}{{{listed}}} {float(value)}"
    return f"{name} {value}" if isinstance(value, int) else f"{name} {value:g}"
