"""A run in progress as Prometheus metrics: a scrape endpoint, and a push when it is over.

Few series: outcomes and error classes are closed sets, latencies have fixed buckets, and the run's
name, model and server stand once, as labels of `bench_run_info`.  Times are seconds.
"""

from __future__ import annotations

import itertools
import math
import threading
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, push_to_gateway, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bench.errors import UsageError
from bench.live.histogram import Histogram
from bench.live.progress import Bounds

if TYPE_CHECKING:
    from bench.conduct.preflight import Ready
    from bench.conduct.tally import Totals
    from bench.live.night import NightMetrics

JOB = "bench"
PUSH_TIMEOUT_S = 10.0
TTFT_BOUNDS_S = (
    0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60,
)  # fmt: skip
TPOT_BOUNDS_S = (
    0.001, 0.002, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5, 1,
)  # fmt: skip
E2E_BOUNDS_S = (
    0.05, 0.1, 0.2, 0.5, 0.8, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600,
)  # fmt: skip

_OUTCOMES = ("ok", "failed", "dropped", "aborted")
_STATISTICS = ("mean", "p50", "p90", "p95", "p99", "value")
_VERDICTS = ("pass", "fail", "undecided", "invalid", "none")


class LiveMetrics(Collector):
    """A `bench.conduct.run.Watch` that can be scraped, from any thread; a scrape is of one instant.

    Before `began` there is nothing to tell.  `conclude` adds what the run came to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._labels: dict[str, str] = {}
        self._bounds = Bounds()
        self._totals: Totals | None = None
        self._elapsed_s = 0.0
        self._latencies: dict[str, tuple[str, Histogram]] = {}
        self._results: list[Metric] = []
        self.registry = CollectorRegistry()
        self.registry.register(self)

    # -- watch -----------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """What is told to people is not a metric."""

    def began(self, folder: Path, ready: Ready) -> None:
        server = ready.probe.server
        with self._lock:
            self._labels = {
                "run": folder.name,
                "model": ready.target.model,
                "family": server.family,
                "version": server.version or "",
            }
            self._bounds = Bounds.of(ready)
            self._latencies = {
                "ttft": ("Intended start to first token", Histogram(TTFT_BOUNDS_S)),
                "tpot": ("Mean time per output token after the first", Histogram(TPOT_BOUNDS_S)),
                "e2e": ("Intended start to end of the answer", Histogram(E2E_BOUNDS_S)),
            }
            self._totals, self._results, self._elapsed_s = None, [], 0.0

    def second(self, totals: Totals, elapsed_s: float) -> None:
        given = {"ttft": totals.ttft_s, "tpot": totals.tpot_s, "e2e": totals.e2e_s}
        with self._lock:
            for name, values_s in given.items():
                self._latencies[name][1].add(values_s)
            self._elapsed_s, self._totals = elapsed_s, totals

    def conclude(self, summary: Mapping[str, Any], verdict: Mapping[str, Any]) -> None:
        """Takes summary.json and verdict.json: every known value, and the verdict as 0 or 1."""
        values = GaugeMetricFamily(
            "bench_result", "A value of the run's summary", labels=("metric", "statistic")
        )
        for metric, row in summary["metrics"].items():
            for statistic in _STATISTICS:
                value = math.inf if statistic in row.get("infinite", ()) else row.get(statistic)
                if value is not None:
                    values.add_metric((metric, statistic), value)
        verdicts = GaugeMetricFamily("bench_verdict", "1 for the run's", labels=("verdict",))
        for word in _VERDICTS:
            verdicts.add_metric((word,), float(verdict["verdict"] == word))
        valid = GaugeMetricFamily("bench_valid", "1 if the run can be trusted", verdict["valid"])
        with self._lock:
            self._results = [values, verdicts, valid]

    # -- exposition ------------------------------------------------------------------------

    def describe(self) -> list[Metric]:
        """Nothing: the registry would else collect before there is a run."""
        return []

    def collect(self) -> list[Metric]:
        with self._lock:
            return list(self._told()) if self._labels else []

    def _told(self) -> Iterator[Metric]:
        run = GaugeMetricFamily("bench_run_info", "Which run this is", labels=tuple(self._labels))
        run.add_metric(tuple(self._labels.values()), 1)
        yield run
        yield from self._planned()
        if self._totals is not None:
            yield from _counted(self._totals)
            yield GaugeMetricFamily(
                "bench_elapsed_seconds", "Since the run's first instant", self._elapsed_s
            )
            for name, (about, found) in self._latencies.items():
                text = f"{about}; answers of the main phase that ended well"
                yield _histogram(f"bench_{name}_seconds", text, found)
        yield from self._results

    def _planned(self) -> Iterator[Metric]:
        """What bounds the run; absent where nothing does."""
        if self._bounds.requests is not None:
            yield GaugeMetricFamily(
                "bench_planned_requests", "Requests of the plan", self._bounds.requests
            )
        if self._bounds.duration_s is not None:
            yield GaugeMetricFamily(
                "bench_planned_seconds", "Length of the plan", self._bounds.duration_s
            )


class Endpoint:
    """Serves `/metrics` on host and port while the `with` block runs; port 0 takes a free one."""

    def __init__(self, metrics: LiveMetrics, host: str, port: int) -> None:
        try:
            self._server, self._thread = start_http_server(port, host, metrics.registry)
        except OSError as error:
            raise UsageError(
                f"--metrics-port {host}:{port}: {error.strerror or error}",
                "choose a port that is free, or 0 for any",
            ) from None
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def push(told: LiveMetrics | NightMetrics, gateway: str, **group: str) -> None:
    """Replaces the group {job="bench", …} of a Pushgateway.  Raises UsageError."""
    try:
        push_to_gateway(gateway, JOB, told.registry, group, PUSH_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        raise UsageError(f"Pushgateway answered {error.code} {error.reason}") from None
    except OSError as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UsageError(f"Pushgateway can't be reached: {why}") from None


def _counted(totals: Totals) -> Iterator[Metric]:
    yield CounterMetricFamily("bench_requests_due", "Offered: requests that came due", totals.due)
    yield CounterMetricFamily("bench_requests_sent", "Requests that were sent", totals.sent)
    ended = CounterMetricFamily("bench_requests", "Requests by outcome", labels=("outcome",))
    for outcome in _OUTCOMES:
        ended.add_metric((outcome,), getattr(totals, outcome))
    yield ended
    failed = CounterMetricFamily("bench_failures", "Failed requests by class", labels=("class",))
    for name, count in sorted(totals.failed_by_class.items()):
        failed.add_metric((name,), count)
    yield failed
    yield CounterMetricFamily("bench_output_tokens", "Output tokens", totals.output_tokens)
    yield GaugeMetricFamily("bench_requests_running", "Requests in flight", totals.running)
    yield GaugeMetricFamily(
        "bench_schedule_lag_seconds",
        "Largest lag of a send behind its intended start, over the last second",
        totals.lag_max_s,
    )


def _histogram(name: str, about: str, found: Histogram) -> HistogramMetricFamily:
    reached = itertools.accumulate(found.counts)
    bounds = [*(f"{bound:g}" for bound in found.bounds_s), "+Inf"]
    return HistogramMetricFamily(
        name, about, buckets=list(zip(bounds, reached, strict=True)), sum_value=found.sum_s
    )
