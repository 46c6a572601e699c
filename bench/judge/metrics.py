"""The table of metrics.  Documentation, profiles, summaries and reports are made from it."""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import UsageError
from bench.judge.cache import CACHE
from bench.judge.hosts import HOSTS
from bench.judge.latency import LATENCY
from bench.judge.metric import Metric, Scope
from bench.judge.reliability import RELIABILITY
from bench.judge.resources import RESOURCES
from bench.judge.throughput import THROUGHPUT
from bench.yamlfile import nearest

_GROUPS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    ("Latency", LATENCY),
    ("Throughput and goodput", THROUGHPUT),
    ("Cache", CACHE),
    ("Reliability and quality", RELIABILITY),
    ("Resources and cost", (*RESOURCES, *HOSTS)),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for _, group in _GROUPS for metric in group}
"""Every metric by name."""

REQUEST_METRICS = tuple(m for m in METRICS.values() if m.scope is Scope.REQUEST)
RUN_METRICS = tuple(m for m in METRICS.values() if m.scope is Scope.RUN)


def metric_named(name: str) -> Metric:
    """The row of that name.  Raises UsageError with the nearest known one."""
    if name not in METRICS:
        raise UsageError(f'no metric is named "{name}"', nearest(name, list(METRICS)))
    return METRICS[name]


def as_json(metric: Metric) -> dict[str, str]:
    """A row as plain text fields."""
    return {
        "name": metric.name,
        "title_zh": metric.title_zh,
        "title_en": metric.title_en,
        "unit": metric.unit,
        "scope": metric.scope.value,
        "formula": metric.formula,
        "formula_zh": metric.definition.zh,
        "applies_to": metric.applies_to,
        "direction": metric.direction,
        "source": metric.source,
    }


def markdown() -> str:
    """docs/metrics.md, whole."""
    lines = [_INTRODUCTION]
    for title, group in _GROUPS:
        lines += [f"## {title}\n"]
        for metric in group:
            lines += [
                f"### `{metric.name}`\n",
                f"{metric.title_zh} · {metric.title_en}\n",
                f"- formula: {_formula(metric)}",
                f"- unit: {metric.unit}; one value per {metric.scope.value}; "
                f"better: {_BETTER[metric.direction]}{_ideal(metric)}",
                f"- applies to: {metric.applies_to}",
                f"- source: {metric.source}\n",
            ]
    return "\n".join(lines)


def _formula(metric: Metric) -> str:
    return f"{metric.formula_zh} · {metric.formula}" if metric.formula_zh else metric.formula


def _ideal(metric: Metric) -> str:
    return "; ideal {:.0%} to {:.0%}".format(*metric.ideal) if metric.ideal else ""


_BETTER = {"lower": "lower", "higher": "higher", "none": "neither"}

_INTRODUCTION = """# Metrics

Made from the table in `bench/judge` by `bench metrics --markdown`; don't edit.  § are sections of
the reference design.

Instants of a request: *intended* (when the plan says to send), *sent* (last byte handed to the
kernel), *first* and *last* (arrival of the first and last event that carries a token), *end of the
body*.  Latency counts from *intended*, so that a late client or a full queue can't hide.

- Percentiles are exact nearest-rank over the requests of the window.  Requests that failed or were
  dropped rank as +∞ in the metrics that say so; means and standard deviations are over the
  requests that have a value, and `error_rate` stands beside them.
- The window is the main phase, less warm-up and drain as the profile's rule cuts them.  Requests of
  the warm-up phase (cold start) are counted apart; what a rate counts inside the window is
  everything that the server did there, later turns of warm-up sessions too.
- A value that is unknown is null with the reason, never 0; a metric that does not apply to a
  request (TPOT of one token) leaves the request out and counts it.
"""
