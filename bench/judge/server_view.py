"""What the servers said of themselves, read by neutral series names over a window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.stats import Floats
from bench.judge.window import Window
from bench.model import ServerSample
from bench.servers.families import families_by_metrics
from bench.servers.family import Exposed, Kind, ResolvedSeries, is_exposed, resolve_all
from bench.servers.series import (
    UP,
    HistogramDelta,
    Increase,
    counter_delta,
    histogram_delta,
    matches,
    restarts,
    tracks,
    window_delta,
)
from bench.servers.telemetry import exporters_by_metrics

_NS_PER_S = 1_000_000_000

Replica = tuple[str, str]
"""A source, and the engine or data-parallel rank of it where it tells several."""


class ServerView:
    """The scrapes of a run around a window.

    Of each source it keeps the scrapes from the last one at or before the window's start to the
    first one at or after its end that were answered, so that increases cover the window.
    """

    def __init__(
        self,
        scrapes: pd.DataFrame,
        window: Window,
        probed: Mapping[str, ResolvedSeries] | None = None,
    ) -> None:
        """`probed`: the names the probe found, which the run may have been told (`--family`).

        `unseen_s`: how much of the window each source's answered scrapes leave out at its edges;
        None where it answered none.
        """
        self._scrapes, self.unseen_s = _around(scrapes, window)
        self._probed = probed or {}
        self._read: dict[str, list[ServerSample]] = {}

    @cached_property
    def resolved(self) -> Mapping[str, ResolvedSeries]:
        """Which neutral series the sources have, and under which name."""
        names = frozenset(self._scrapes["name"].unique().tolist())
        found = resolve_all((*families_by_metrics(names), *exporters_by_metrics(names)), names)
        told = {
            series: probed
            for series, probed in self._probed.items()
            if is_exposed(Exposed(probed.name), names)
        }
        return {**found, **told}

    def increase(self, series: str) -> Increase:
        """How much a counter grew, over all sources and label sets; None where not scraped."""
        found = self.resolved.get(series)
        if found is None:
            return Increase(None)
        grown = window_delta(self._counted(found.name), found.name, found.where)
        return Increase(None if grown.value is None else grown.value * found.scale, grown.resets)

    def increase_by(self, series: str, label: str) -> dict[str, float]:
        """A counter's increase for each value of a label; empty where not scraped."""
        found = self.resolved.get(series)
        if found is None:
            return {}
        samples = [s for s in self._counted(found.name) if matches(s.labels, found.where)]
        values = {dict(sample.labels).get(label, "") for sample in samples} - {""}
        grown = {
            value: window_delta(samples, found.name, {**found.where, label: (value,)}).value
            for value in sorted(values)
        }
        return {value: delta * found.scale for value, delta in grown.items() if delta is not None}

    def increase_by_replica(self, series: str) -> dict[Replica, float]:
        """A counter's increase for each replica, in their order; empty where not scraped."""
        found = self.resolved.get(series)
        if found is None:
            return {}
        samples: dict[Replica, list[ServerSample]] = {}
        for sample in self._counted(found.name):
            if sample.name == found.name:
                samples.setdefault(_replica(sample), []).append(sample)
        grown = {
            replica: window_delta([*told, *self._ups], found.name, found.where).value
            for replica, told in sorted(samples.items())
        }
        return {each: more * found.scale for each, more in grown.items() if more is not None}

    def ends(self, series: str) -> dict[Replica, tuple[float, float]]:
        """The first and last finite reading of a series that each replica has once."""
        found = self.resolved.get(series)
        if found is None:
            return {}
        ends: dict[Replica, tuple[float, float]] = {}
        for (source, labels), track in tracks(
            self._samples(found.name), found.name, found.where
        ).items():
            finite = [sample.value for sample in track if math.isfinite(sample.value)]
            if finite:
                ends[source, _rank(dict(labels))] = (finite[0], finite[-1])
        return ends

    def growth(self, series: str) -> list[Growth]:
        """A counter's increase for each source and label set that was read at two instants.

        Of a histogram: how many observations it gained.
        """
        found = self.resolved.get(series)
        if found is None:
            return []
        name, where = found.name, found.where
        if found.kind is Kind.HISTOGRAM:
            name, where = f"{name}_bucket", {**where, "le": ("+Inf",)}
        grown = []
        for (source, labels), track in tracks(self._samples(name), name, where).items():
            length_s = (track[-1].at_ns - track[0].at_ns) / _NS_PER_S
            more = counter_delta(sample.value for sample in track).value
            if more is not None and length_s > 0:
                grown.append(
                    Growth(
                        source,
                        dict(labels),
                        more * (1.0 if found.kind is Kind.HISTOGRAM else found.scale),
                        length_s,
                    )
                )
        return grown

    def histogram(self, series: str) -> HistogramDelta | None:
        """What a histogram gathered, over all sources; None where not scraped twice."""
        found = self.resolved.get(series)
        if found is None or found.kind is not Kind.HISTOGRAM:
            return None
        samples = [
            sample
            for name in (f"{found.name}_bucket", f"{found.name}_sum")
            for sample in self._counted(name)
        ]
        gathered = histogram_delta(samples, found.name, found.where) if samples else None
        if gathered is None or found.scale == 1.0:
            return gathered
        return replace(
            gathered,
            bounds=tuple(bound * found.scale for bound in gathered.bounds),
            total=None if gathered.total is None else gathered.total * found.scale,
        )

    def mean(self, series: str) -> float | None:
        """Mean of what a histogram observed, over all sources; None where it observed nothing."""
        found = self.resolved.get(series)
        if found is None or found.kind is not Kind.HISTOGRAM:
            return None
        total, count = (
            window_delta(self._counted(name), name, found.where).value
            for name in (f"{found.name}_sum", f"{found.name}_count")
        )
        return total * found.scale / count if total is not None and count else None

    def gauge(self, series: str) -> list[Gauge]:
        """A gauge's readings, one entry for each source and label set."""
        found = self.resolved.get(series)
        if found is None or found.kind is not Kind.GAUGE:
            return []
        sampled = tracks(self._samples(found.name), found.name, found.where)
        return [
            Gauge(
                source,
                dict(labels),
                np.array([sample.at_ns / _NS_PER_S for sample in track]),
                np.array([sample.value * found.scale for sample in track]),
            )
            for (source, labels), track in sampled.items()
        ]

    def restarts(self) -> int | None:
        """How often a counter fell or a process start time changed; None where nothing tells."""
        counters = [s for s in self.resolved.values() if s.kind is Kind.COUNTER]
        grown = [window_delta(self._counted(s.name), s.name, s.where) for s in counters]
        start = self.resolved.get("process_start_s")
        if start is None and all(g.value is None for g in grown):
            return None
        changed = restarts(self._samples(start.name), start.name) if start else 0
        return max([changed, *(g.resets for g in grown)])

    def _samples(self, name: str) -> list[ServerSample]:
        """The samples of a name, and of `up`: they tell when each source first answered."""
        return _as_samples(self._rows(name), name) + self._ups

    def _counted(self, name: str) -> list[ServerSample]:
        """The same for a counter: only the readings that its increase depends on."""
        return _as_samples(_turning_points(self._rows(name)), name) + self._ups

    @cached_property
    def _ups(self) -> list[ServerSample]:
        rows = self._rows(UP)
        return _as_samples(_turning_points(rows[(rows["value"] > 0).to_numpy()]), UP)

    def _rows(self, name: str) -> pd.DataFrame:
        return self._scrapes[(self._scrapes["name"] == name).to_numpy()]


def _as_samples(rows: pd.DataFrame, name: str) -> list[ServerSample]:
    return [
        ServerSample(round(at_s * _NS_PER_S), source, name, dict(labels), value)
        for at_s, source, labels, value in zip(
            rows["at_s"], rows["source"], rows["labels"], rows["value"], strict=True
        )
    ]


def _turning_points(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each source and label set the first and last finite reading, and those around a fall."""
    rows = rows[np.isfinite(rows["value"].to_numpy(np.float64))]
    if len(rows) < 3:
        return rows
    source = pd.factorize(rows["source"])[0]
    # Equal sets of labels are one object.
    labels, known = pd.factorize(np.array([id(each) for each in rows["labels"]]))
    codes = source * len(known) + labels
    order = np.lexsort((rows["at_s"].to_numpy(), codes))
    code, value = codes[order], rows["value"].to_numpy(np.float64)[order]
    begins = np.diff(code, prepend=-1) != 0
    ends = np.append(begins[1:], True)
    falls = ~begins & (np.diff(value, prepend=value[:1]) < 0)
    kept = begins | ends | falls | np.append(falls[1:], False)
    return rows.iloc[np.sort(order[kept])]


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a counter of one source and label set grew, and over how long."""

    source: str
    labels: Mapping[str, str]
    value: float
    length_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Gauge:
    """Readings of one source and label set: instants after the run's start, and values."""

    source: str
    labels: Mapping[str, str]
    at_s: Floats
    values: Floats

    @property
    def mean(self) -> float:
        """Mean of the finite readings; NaN without any."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite.mean()) if len(finite) else math.nan


def probed_series(manifest: Mapping[str, Any]) -> dict[str, ResolvedSeries]:
    """The names that a run's probe resolved; empty where it found none."""
    stated = ((manifest.get("server") or {}).get("metrics") or {}).get("series") or {}
    return {
        series: ResolvedSeries(
            family=row["family"],
            name=row["name"],
            kind=Kind(row["kind"]),
            unit=row["unit"],
            where={label: tuple(values) for label, values in row["where"].items()},
            scale=row["scale"],
            note=row["note"],
        )
        for series, row in stated.items()
        if isinstance(row, Mapping)
    }


def _replica(sample: ServerSample) -> Replica:
    return sample.source, _rank(sample.labels)


def _rank(labels: Mapping[str, str]) -> str:
    return labels.get("engine") or labels.get("dp_rank") or ""


def _around(scrapes: pd.DataFrame, window: Window) -> tuple[pd.DataFrame, dict[str, float | None]]:
    """The scrapes from the last one before the window that was answered to the first one after.

    And how much of the window lies before each source's first or behind its last, None where it
    answered none.
    """
    kept = np.zeros(len(scrapes), np.bool_)
    unseen_s: dict[str, float | None] = {}
    at_s = scrapes["at_s"].to_numpy(np.float64)
    down = ((scrapes["name"] == UP) & (scrapes["value"] == 0)).to_numpy()
    for source in scrapes["source"].unique():
        mine = (scrapes["source"] == source).to_numpy()
        times = np.setdiff1d(at_s[mine], at_s[mine & down])
        if not len(times):
            unseen_s[source] = None
            continue
        first = times[max(int(np.searchsorted(times, window.start_s, side="right")) - 1, 0)]
        last = times[min(int(np.searchsorted(times, window.end_s)), len(times) - 1)]
        kept |= mine & (at_s >= first) & (at_s <= last)
        ends_s = (first - window.start_s, window.end_s - last)
        unseen_s[source] = sum(max(0.0, end_s) for end_s in ends_s if math.isfinite(end_s))
    return scrapes[kept], unseen_s
