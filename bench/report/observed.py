"""What servers and exporters said of themselves, under the neutral names of `bench.servers`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.report.thin import Floats
from bench.servers.families import families_by_metrics
from bench.servers.family import Kind, ResolvedSeries, resolve_all
from bench.servers.series import matches
from bench.servers.telemetry import exporters_by_metrics


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity of one source over the run.

    `at_s` are seconds after the run's start, `values` in the neutral series' unit.  `label` tells
    lines of one series apart (engine, device).  For a histogram the values are means of the
    observations between a scrape and the one before, for a counter the growth since the first
    scrape; a counter that fell is taken as restarted from 0.
    """

    series: str
    source: str
    label: str
    at_s: Floats
    values: Floats


def observe(scrapes: pd.DataFrame) -> dict[str, list[Line]]:
    """Neutral series → its lines.  `scrapes` is `Run.server`; a series with no value is absent."""
    lines: dict[str, list[Line]] = {}
    for source, of_source in scrapes.groupby("source", sort=True, observed=True):
        names = frozenset(of_source["name"].unique())
        samples = {str(name): frame for name, frame in of_source.groupby("name", observed=True)}
        families = (*families_by_metrics(names), *exporters_by_metrics(names))
        for series, resolved in resolve_all(families, names).items():
            for label, at_s, values in _tracks(resolved, samples):
                line = Line(series, str(source), label, at_s, values * resolved.scale)
                lines.setdefault(series, []).append(line)
    return lines


def total(lines: Sequence[Line]) -> Line:
    """The sum of lines scraped at the same instants, engine by engine."""
    at_s = np.unique(np.concatenate([line.at_s for line in lines]))
    values = np.zeros(len(at_s))
    for line in lines:
        values[np.searchsorted(at_s, line.at_s)] += line.values
    return Line(lines[0].series, lines[0].source, "", at_s, values)


def _tracks(
    resolved: ResolvedSeries, samples: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[str, Floats, Floats]]:
    """Label, instants and values of each label set of a series, read by its kind."""
    if resolved.kind is Kind.HISTOGRAM:
        sums = dict(_split(resolved, samples.get(f"{resolved.name}_sum")))
        for label, counts in _split(resolved, samples.get(f"{resolved.name}_count")):
            at_s, means = _means(sums.get(label), counts)
            if len(at_s):
                yield label, at_s, means
    elif resolved.kind is not Kind.LABELS:
        for label, frame in _split(resolved, samples.get(resolved.name)):
            values = frame["value"].to_numpy(np.float64)
            counted = resolved.kind is not Kind.GAUGE
            yield label, frame["at_s"].to_numpy(np.float64), _growth(values) if counted else values


def _split(
    resolved: ResolvedSeries, frame: pd.DataFrame | None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The samples of each label set that counts, under the labels that tell the sets apart."""
    if frame is None:
        return
    groups: Iterable[tuple[Any, pd.DataFrame]] = frame.groupby("labels", sort=True)
    sets: list[tuple[dict[str, str], pd.DataFrame]] = [(dict(labels), f) for labels, f in groups]
    kept = [(labels, part) for labels, part in sets if matches(labels, resolved.where)]
    varying = {
        key
        for labels, _ in kept
        for key, value in labels.items()
        if any(other.get(key) != value for other, _ in kept)
    }
    for labels, part in kept:
        label = ", ".join(f"{key}={value}" for key, value in labels.items() if key in varying)
        yield label, part.sort_values("at_s")


def _growth(values: Floats) -> Floats:
    """How much a counter has grown since its first value, minding restarts."""
    return np.cumsum(_added(values, _restarts(values)))


def _restarts(counts: Floats) -> npt.NDArray[np.bool_]:
    """Where a counter fell, and so began anew."""
    return np.diff(counts, prepend=counts[:1]) < 0


def _added(values: Floats, restarts: npt.NDArray[np.bool_]) -> Floats:
    """What each value has more than the one before; at a restart all of it."""
    return np.where(restarts, values, np.diff(values, prepend=values[:1]))


def _means(sums: pd.DataFrame | None, counts: pd.DataFrame) -> tuple[Floats, Floats]:
    """Instants and means of what was observed since the scrape before, where anything was.

    Only the count tells of a restart: a sum may fall by an observation below 0.
    """
    if sums is None or len(sums) != len(counts):
        return np.array([]), np.array([])
    counted, summed = (frame["value"].to_numpy(np.float64) for frame in (counts, sums))
    restarts = _restarts(counted)
    added = _added(counted, restarts)
    amount = _added(summed, restarts)
    some = added > 0
    return counts["at_s"].to_numpy()[some], amount[some] / added[some]
