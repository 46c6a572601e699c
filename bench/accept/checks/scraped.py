"""Checks on what the server and exporters said of themselves over a scenario's runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from bench.accept.checks.check import SCRAPED, Asked, Check, OnScenario
from bench.accept.facts import JudgedRun
from bench.accept.missing import missing
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text
from bench.judge.server_view import Gauge, ServerView
from bench.judge.verdict import Result
from bench.model import ServerSample
from bench.servers.family import SERIES
from bench.servers.series import histogram_delta
from bench.yamlfile import nearest

_NS_PER_S = 1e9
_DEVICE_LABELS = ("UUID", "gpu", "id", "vdie_id")
_REPLICA_LABELS = ("engine", "pod", "instance")
_ROUNDING = 1e-9  # of percentages that were scaled to fractions


def _known_series(name: str) -> str:
    if name not in SERIES:
        raise ValueError(f'no series is named "{name}"; {nearest(name, list(SERIES))}')
    return name


SeriesName = Annotated[str, AfterValidator(_known_series)]


class SeriesParameters(OnScenario):
    """Neutral series that must be there; with `moving`, each has to change during a run."""

    series: tuple[SeriesName, ...] = Field(min_length=1)
    moving: bool = False


def series_present(asked: Asked, wanted: SeriesParameters) -> Finding:
    runs = asked.facts.runs(wanted.scenario)
    absent = [name for name in wanted.series if not any(name in r.server.resolved for r in runs)]
    if absent:
        raise missing("series", name=", ".join(absent))
    still = [
        s for s in wanted.series if wanted.moving and not any(_moves(r.server, s) for r in runs)
    ]
    text = Text(
        f"已采集：{', '.join(wanted.series)}"
        + (f"；无变化：{', '.join(still)}。" if still else "。"),
        f"Scraped: {', '.join(wanted.series)}"
        + (f"; never moved: {', '.join(still)}." if still else "."),
    )
    seen = len(wanted.series) - len(still)
    links = tuple(run.link for run in runs)
    return asked.held(seen, len(wanted.series), "higher", "1", text, links=links)


def _moves(server: ServerView, series: str) -> bool:
    return any(len(np.unique(gauge.values)) > 1 for gauge in server.gauge(series)) or bool(
        server.increase(series).value
    )


class RangeParameters(OnScenario):
    """A utilisation (a fraction), mean over the window and its sources, within a range."""

    of: str
    low: float = Field(default=0.0, ge=0)
    high: float = Field(default=1.0, le=1)

    @model_validator(mode="after")
    def _known(self) -> RangeParameters:
        if self.of not in UTILISATIONS:
            raise ValueError(
                f'no utilisation is named "{self.of}"; known: {", ".join(UTILISATIONS)}'
            )
        return self


def utilisation(asked: Asked, wanted: RangeParameters) -> Finding:
    """Median over the runs; both ends of the range belong to it."""
    runs = asked.facts.runs(wanted.scenario)
    metric = UTILISATIONS[wanted.of]
    found = [share for run in runs if (share := run.metrics[metric]["value"]) is not None]
    if not found:
        raise missing("series", name=wanted.of)
    value = float(np.median(found))
    good = wanted.low - _ROUNDING <= value <= wanted.high + _ROUNDING
    ends = f"{wanted.low:.0%}–{wanted.high:.0%}"
    text = Text(f"应在 {ends} 内。", f"Wanted within {ends}.")
    low_is_bound = value < wanted.low or wanted.high == 1
    return asked.finding(
        Result.PASS if good else Result.FAIL, text, value=value, unit="fraction", n=len(found),
        bound=wanted.low if low_is_bound else wanted.high,
        direction="higher" if low_is_bound else "lower",
        links=tuple(run.link for run in runs),
    )  # fmt: skip


UTILISATIONS = {
    "device": "device_utilization_fraction",
    "device_memory": "device_memory_fraction",
    "kv_cache": "kv_usage_max_fraction",
    "host_cpu": "host_cpu_fraction",
    "host_memory": "host_memory_fraction",
}
"""Utilisations by name, and the metric that each is."""


def devices_listed(asked: Asked, wanted: OnScenario) -> Finding:
    """The exporter lists as many devices as there should be, none with an error code."""
    runs = asked.facts.runs(wanted.scenario)
    gauges = [g for run in runs for g in run.server.gauge("device_utilization_fraction")]
    devices = {device for gauge in gauges if (device := device_of(gauge))}
    if not devices:
        raise missing("series", name="device_utilization_fraction")
    should = asked.facts.settings.accelerators
    errors = [g for run in runs for g in run.server.gauge("device_errors") if np.any(g.values > 0)]
    good = not errors and (should is None or len(devices) >= should)
    text = Text(
        f"{len(devices)} 张卡（应有 {should or '未说明'}），{len(errors)} 张报错。",
        f"{len(devices)} devices ({should or 'not said'} wanted), {len(errors)} with errors.",
    )
    return asked.finding(
        Result.PASS if good else Result.FAIL, text, value=len(devices), bound=should,
        direction="higher", unit="devices", links=tuple(run.link for run in runs),
    )  # fmt: skip


def device_of(gauge: Gauge) -> tuple[str, ...]:
    """What tells a device from others: its source and the label that names it; () without one."""
    names = [gauge.labels[label] for label in _DEVICE_LABELS if label in gauge.labels]
    return (gauge.source, names[0]) if names else ()


class DriverParameters(OnScenario):
    at_least: int = Field(ge=1, description="Major version.")


def driver(asked: Asked, wanted: DriverParameters) -> Finding:
    """The lowest driver version that dcgm-exporter's labels state."""
    runs = asked.facts.runs(wanted.scenario)
    gauges = [g for run in runs for g in run.server.gauge("device_utilization_fraction")]
    stated = {g.labels.get("DCGM_FI_DRIVER_VERSION", "") for g in gauges}
    majors = {int(found[0]): text for text in stated if (found := re.match(r"\d+", text))}
    if not majors:
        raise missing("series", name="DCGM_FI_DRIVER_VERSION")
    lowest = min(majors)
    text = Text(f"驱动 {majors[lowest]}。", f"Driver {majors[lowest]}.")
    return asked.held(lowest, wanted.at_least, "higher", "1", text, n=len(gauges))


class QueueParameters(OnScenario):
    """A latency histogram of the server: the quantile's bucket against a bound."""

    series: SeriesName
    q: float = Field(gt=0, lt=1)
    bound_s: float = Field(gt=0)


def histogram_within(asked: Asked, wanted: QueueParameters) -> Finding:
    """Passed when the quantile's whole bucket is within the bound, failed when it is beyond."""
    run = asked.facts.runs(wanted.scenario)[-1]
    found = run.server.resolved.get(wanted.series)
    if found is None:
        raise missing("series", name=wanted.series)
    grown = histogram_delta(list(_samples(run, found.name)), found.name, found.where)
    ends = grown.quantile(wanted.q) if grown else None
    if ends is None:
        raise missing(
            "no_value", why=Text(f"{found.name} 没有计数", f"{found.name} counted nothing")
        )
    above, at_most = (end * found.scale for end in ends)
    result = Result.PASS if at_most <= wanted.bound_s else Result.FAIL
    if above < wanted.bound_s < at_most:
        result = Result.UNDECIDED
    text = Text(f"{found.name} 的 P{wanted.q * 100:g} 所在分桶。",
                f"The bucket that holds P{wanted.q * 100:g} of {found.name}.")  # fmt: skip
    return asked.finding(result, text, value=at_most, low=above, high=at_most, unit="s",
                         bound=wanted.bound_s, direction="lower", links=(run.link,))  # fmt: skip


def _samples(run: JudgedRun, name: str) -> Iterable[ServerSample]:
    """The samples of one histogram, and those that tell when its source was first scraped."""
    rows = run.run.server
    rows = rows[rows["name"].str.startswith(name) | (rows["name"] == "up")]
    for at_s, source, part, labels, value in zip(
        rows["at_s"], rows["source"], rows["name"], rows["labels"], rows["value"], strict=True
    ):
        yield ServerSample(round(at_s * _NS_PER_S), source, part, dict(labels), value)


class ReplicaParameters(OnScenario):
    """Replicas seen at each scrape: more after the load rose, fewer after it fell, in time."""

    bound_s: float = Field(gt=0)


def replicas_follow(asked: Asked, wanted: ReplicaParameters) -> Finding:
    """From the peak's start to more replicas, and from its end to fewer; the slower counts.

    The peak is the stretch of seconds in which at least 90 % of the highest rate was offered.
    """
    run = asked.facts.runs(wanted.scenario)[-1]
    seconds = run.judgement.series
    offered = seconds["offered"].rolling(5, min_periods=1, center=True).mean().to_numpy()
    peak = np.flatnonzero(offered >= 0.9 * offered.max())
    at = seconds["second"].to_numpy()
    rose_s, fell_s = float(at[peak[0]]), float(at[peak[-1]])
    counts = _replicas_over_time(run)
    if not counts:
        raise missing("series", name="running")
    before = [n for at_s, n in counts if at_s < rose_s] or [counts[0][1]]
    out_s = next((s - rose_s for s, n in counts if s >= rose_s and n > before[-1]), math.inf)
    most = max(n for _, n in counts)
    back_s = next((s - fell_s for s, n in counts if s >= fell_s and n < most), math.inf)
    text = Text(
        f"扩容 {_or_never(out_s)}，缩容 {_or_never(back_s)}。",
        f"Out after {_or_never(out_s)}, back after {_or_never(back_s)}.",
    )
    return asked.held(max(out_s, back_s), wanted.bound_s, "lower", "s", text, links=(run.link,))


def _or_never(after_s: float) -> str:
    return "∞" if math.isinf(after_s) else f"{after_s:.0f} s"


def _replicas_over_time(run: JudgedRun) -> list[tuple[float, int]]:
    """How many replicas said how many requests they run, second by second.

    A replica is a source, or an engine, pod or instance of a source that speaks for several.
    """
    seen: dict[int, set[tuple[str, ...]]] = {}
    for gauge in run.server.gauge("running"):
        for at_s in gauge.at_s:
            replica = (gauge.source, *(gauge.labels.get(label, "") for label in _REPLICA_LABELS))
            seen.setdefault(int(at_s), set()).add(replica)
    return [(float(second), len(seen[second])) for second in sorted(seen)]


SCRAPES = (
    Check("series_present", SCRAPED, series_present, SeriesParameters),
    Check("utilisation", SCRAPED, utilisation, RangeParameters),
    Check("devices_listed", SCRAPED, devices_listed, OnScenario),
    Check("driver", SCRAPED, driver, DriverParameters),
    Check("histogram_within", SCRAPED, histogram_within, QueueParameters),
    Check("replicas_follow", SCRAPED, replicas_follow, ReplicaParameters),
)
