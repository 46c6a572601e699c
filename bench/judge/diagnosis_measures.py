"""What the rules of diagnosis measure.  Each is None where the run does not tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.judge.diagnosis import Case
from bench.judge.metric import Measured, column, outcome_is
from bench.judge.stats import nearest_rank
from bench.judge.validity import State

_USUAL_QUANTILE = 0.99
_CLIENT_RULES = frozenset(
    {"schedule_lag_p99", "loop_stall", "uncertain_first_tokens", "client_cpu"}
)
_FEW_SCRAPES = 10
_OUT_OF_MEMORY = r"out of memory|outofmemory|oom"


def run_metric(name: str) -> Callable[[Case], float | None]:
    """A run metric's value."""
    return lambda case: case.value(name)


def fixed(threshold: float) -> Callable[[Case], float]:
    return lambda _: threshold


def latency(metric: str, alert_s: float) -> Callable[[Case], float | None]:
    """The percentile on which the metric is limited, of the requests that were answered."""

    def measure(case: Case) -> float | None:
        values = case.measured.columns[metric].values
        ordered = np.sort(values[np.isfinite(values)])
        return nearest_rank(ordered, _limit(case, metric, alert_s)[0]) if len(ordered) else None

    return measure


def latency_limit(metric: str, alert_s: float) -> Callable[[Case], float]:
    """The profile's first target on a percentile of it, else the bound of its good set, else
    `alert_s`."""
    return lambda case: _limit(case, metric, alert_s)[1]


def _limit(case: Case, metric: str, alert_s: float) -> tuple[float, float]:
    """Percentile and bound."""
    profile = case.measured.profile
    for limit in profile.limits if profile else ():
        if limit.metric == metric and limit.level == "target" and limit.quantile is not None:
            return limit.quantile, limit.bound
    for good in profile.good.limits if profile and profile.good else ():
        if good.metric == metric:
            return _USUAL_QUANTILE, good.bound
    return _USUAL_QUANTILE, alert_s


def queue_fraction(case: Case) -> float | None:
    """Share of the mean TTFT from the send that was spent in the server's queue.

    From the server's queue time; where it states none, from its waiting requests by Little's law.
    """
    measured = case.measured
    ttft = measured.columns["ttft_from_send_s"].values
    ttft = ttft[np.isfinite(ttft)]
    queue_s = measured.server.mean("queue_s")
    if queue_s is None:
        waiting, rate = waiting_requests(case), case.value("request_rps")
        queue_s = waiting / rate if waiting is not None and rate else None
    return queue_s / float(ttft.mean()) if queue_s is not None and len(ttft) else None


def waiting_requests(case: Case) -> float | None:
    """Mean over the scrapes, summed over engines."""
    return _total_mean(case.measured, "waiting")


def queue_present_fraction(case: Case) -> float | None:
    """Share of the scrapes at which a request waited, of the engine where that was most often."""
    tracks = case.measured.server.gauge("waiting")
    return max((float((track.values >= 1).mean()) for track in tracks), default=None)


def batch_fullness(case: Case) -> float | None:
    """Mean of the running requests over their highest number, of the fullest engine."""
    tracks = case.measured.server.gauge("running")
    peaks = [(track.mean, float(np.nanmax(track.values))) for track in tracks if len(track.values)]
    return max((mean / peak for mean, peak in peaks if peak > 0), default=None)


def held_between_fraction(case: Case) -> float | None:
    """Share of the requests in flight at the client that the engine neither runs nor queues.

    Unknown for fewer than 10 scrapes: instants of the two sides that differ would decide it.
    """
    scrapes = max((len(track.values) for track in case.measured.server.gauge("running")), default=0)
    if scrapes < _FEW_SCRAPES:
        return None
    running = _total_mean(case.measured, "running")
    waiting = _total_mean(case.measured, "waiting")
    in_flight = column(case.measured.seconds, "running")
    if running is None or waiting is None or not len(in_flight) or not in_flight.mean() > 0:
        return None
    return 1 - (running + waiting) / float(in_flight.mean())


def throughput_growth(case: Case) -> float | None:
    """Output tokens of the window's second half over those of its first."""
    tokens = column(case.measured.seconds, "output_tokens")
    half = len(tokens) // 2
    first = float(tokens[:half].sum())
    return float(tokens[half : 2 * half].sum()) / first if first > 0 else None


def under_ceiling(case: Case) -> float | None:
    """Ceiling less hit rate, as the responses tell it, else the server."""
    ceiling = case.value("cache_ceiling")
    hit_rate = case.value("cache_client")
    if hit_rate is None:
        hit_rate = case.value("cache_server")
    return ceiling - hit_rate if ceiling is not None and hit_rate is not None else None


def failed_fraction(*classes: str) -> Callable[[Case], float | None]:
    """Share of the planned requests that failed with one of these error classes."""

    def measure(case: Case) -> float | None:
        rows = case.measured.requests
        failed = outcome_is(rows, "failed") & rows["error_class"].isin(classes).to_numpy()
        return float(failed.mean()) if len(rows) else None

    return measure


def reset_fraction(case: Case) -> float | None:
    """Share of the planned requests that a reset failed, or that were sent again after one."""
    rows = case.measured.requests
    classes = ("disconnected", "disconnected_mid_body")
    failed = outcome_is(rows, "failed") & rows["error_class"].isin(classes).to_numpy()
    again = column(rows, "reconnects") > 0
    return float((failed | again).mean()) if len(rows) else None


def out_of_memory_requests(case: Case) -> float | None:
    """Failed requests whose error text speaks of memory that ran out."""
    rows = case.measured.requests
    texts = rows["error_text"][outcome_is(rows, "failed")].dropna().astype(str)
    return float(texts.str.contains(_OUT_OF_MEMORY, case=False, regex=True).sum())


def client_rules_broken(case: Case) -> float | None:
    """Rules of validity on the client's own machine that are violated."""
    own = [found.state for found in case.findings if found.rule.name in _CLIENT_RULES]
    if all(state is State.UNKNOWN for state in own):
        return None
    return float(sum(state is State.VIOLATED for state in own))


def _total_mean(measured: Measured, series: str) -> float | None:
    means = [track.mean for track in measured.server.gauge(series) if np.isfinite(track.mean)]
    return sum(means) if means else None
