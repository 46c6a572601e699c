"""Reading what a Prometheus server has kept of a run, by range query.

For servers that can't be scraped from here, and exporters that someone else scrapes already.
Source: the Prometheus HTTP API, `GET /api/v1/query_range`.  A value is the newest that Prometheus
had at each step, at most 5 minutes old: its own scrape interval bounds what can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from bench.errors import TargetError, UsageError
from bench.model import ServerSample, Target, Tls
from bench.servers.client import AnswerTooLargeError, ControlClient, refused
from bench.servers.families import FAMILIES
from bench.servers.family import allowed_names, rank_labels
from bench.servers.series import UP, one_rank
from bench.servers.telemetry import EXPORTERS

_POINTS_MAX = 10_000  # Prometheus refuses more than 11,000 for one series
_NAMES_MAX = 60
_PLAIN_TLS = Tls()
_OWN_LABELS = ("__name__", "instance", "job")


@dataclass(frozen=True, slots=True)
class PrometheusSource:
    """A Prometheus server and what to ask it.

    `queries`: name to store under → PromQL expression.  Without any, every name that a known family
    or exporter exposes is asked for, with the label matchers of `match`, such as `job="vllm"`.
    """

    url: str
    match: str = ""
    queries: Mapping[str, str] = field(default_factory=dict)
    step_s: float = 1.0
    tls: Tls = _PLAIN_TLS

    def expressions(self) -> list[tuple[str | None, str]]:
        """Name to store under (None: each series' own) and expression of every query."""
        if self.queries:
            return list(self.queries.items())
        names = sorted(allowed_names((*FAMILIES, *EXPORTERS)))
        matchers = f",{self.match}" if self.match else ""
        groups = (names[at : at + _NAMES_MAX] for at in range(0, len(names), _NAMES_MAX))
        return [(None, f'{{__name__=~"{"|".join(group)}"{matchers}}}') for group in groups]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time on the run's clock and on the wall's: `unix_ns` is at the same instant as
    `start_ns`."""

    start_ns: int
    end_ns: int
    unix_ns: int

    def unix_s(self, at_ns: int) -> float:
        return (self.unix_ns + at_ns - self.start_ns) / 1e9

    def at_ns(self, unix_s: float) -> int:
        return self.start_ns + round(unix_s * 1e9) - self.unix_ns


def parse_query(text: str) -> tuple[str, str]:
    """`NAME=EXPR`; raises UsageError."""
    name, equals, expression = text.partition("=")
    if not equals or not name.strip() or not expression.strip():
        raise UsageError(
            f"--prometheus-query {text!r}: expected NAME=EXPR",
            "for example DCGM_FI_DEV_POWER_USAGE='sum(DCGM_FI_DEV_POWER_USAGE) by (gpu)'",
        )
    return name.strip(), expression.strip()


async def read_range(source: PrometheusSource, span: Span) -> list[ServerSample]:
    """The samples of a run, one for each series and step, and `up` = 1 where a source has any.

    A series' source is its `instance`, else the Prometheus server.  Raises TargetError when
    Prometheus does not answer, refuses a query or has none of what was asked.
    """
    samples: list[ServerSample] = []
    ranks = () if source.queries else rank_labels(FAMILIES)
    async with ControlClient(Target(base_url=source.url, model="", tls=source.tls)) as client:
        for name, expression in source.expressions():
            for low_s, steps in _stretches(source, span):
                for found in await _matrices(client, expression, low_s, steps, source.step_s):
                    told = one_rank(found, lambda series: series.get("metric") or {}, ranks)
                    samples += _samples(told, name, source.url, span)
    if not samples:
        raise TargetError(
            f"{source.url}: no series for the run",
            "check the labels of --prometheus-match, and that Prometheus scrapes the server",
        )
    return [*samples, *_ups(samples)]


def _stretches(source: PrometheusSource, span: Span) -> Iterator[tuple[float, int]]:
    """The span, a step longer at both ends, in parts of as many steps as a query may have.

    Of each part the start and how many steps follow it.  Times are sent in whole ms: rounded down,
    so that a step is never a little behind the start.
    """
    start_s = math.floor((span.unix_s(span.start_ns) - source.step_s) * 1e3) / 1e3
    steps = math.ceil((span.unix_s(span.end_ns) - start_s) / source.step_s) + 1
    for first in range(0, steps + 1, _POINTS_MAX):
        last = min(first + _POINTS_MAX - 1, steps)
        yield start_s + first * source.step_s, last - first


async def _matrices(
    client: ControlClient, expression: str, low_s: float, steps: int, step_s: float
) -> list[Sequence[Mapping[str, Any]]]:
    """What was kept of a stretch; in parts where the answer is larger than the client takes."""
    try:
        return [await _query(client, expression, low_s, low_s + steps * step_s, step_s)]
    except AnswerTooLargeError:
        if not steps:
            raise
    half = steps // 2
    early = await _matrices(client, expression, low_s, half, step_s)
    late_s = low_s + (half + 1) * step_s
    return early + await _matrices(client, expression, late_s, steps - half - 1, step_s)


async def _query(
    client: ControlClient, expression: str, low_s: float, high_s: float, step_s: float
) -> Sequence[Mapping[str, Any]]:
    asked = {"query": expression, "start": f"{low_s:.3f}", "end": f"{high_s:.3f}", "step": step_s}
    reply = await client.get(f"/api/v1/query_range?{urlencode(asked)}")
    if reply.status != 200:
        raise refused(reply, "GET")
    body = reply.json()
    told = body.get("data") if isinstance(body, dict) else None
    found = told.get("result") if isinstance(told, dict) else None
    if not isinstance(found, list) or not all(_is_series(each) for each in found):
        raise TargetError(f"GET {client.root}/api/v1/query_range: expected a matrix of series")
    return found


def _is_series(each: Any) -> bool:
    return isinstance(each, dict) and isinstance(each.get("metric", {}), dict)


def _samples(
    found: Sequence[Mapping[str, Any]], name: str | None, url: str, span: Span
) -> Iterator[ServerSample]:
    for series in found:
        labels: dict[str, str] = dict(series.get("metric") or {})
        stored = name or labels.get("__name__", "")
        source = labels.get("instance", url)
        kept = {label: text for label, text in labels.items() if label not in _OWN_LABELS}
        for unix_s, value in series.get("values") or ():
            yield ServerSample(span.at_ns(float(unix_s)), source, stored, kept, float(value))


def _ups(samples: Sequence[ServerSample]) -> list[ServerSample]:
    answered = {(sample.source, sample.at_ns) for sample in samples}
    return [ServerSample(at_ns, source, UP, {}, 1.0) for source, at_ns in sorted(answered)]
