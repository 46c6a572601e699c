"""ServeGen: a folder of clients, each with rates, burstiness and length distributions.

Source: alibaba/ServeGen; Xiang et al., "ServeGen", arXiv 2505.09999, §4.  Not a trace but its
parameters.  `chunk-<i>-trace.csv`, without a header: window start in seconds, rate in requests per
second, CV, family (Gamma, Weibull, or empty: idle), shape, scale.  `chunk-<i>-dataset.json`: for
each longer window the probabilities of input and output lengths, as a literal.

The workload is the superposition of one renewal process for each client.  Its gaps have the
window's family and shape, with a mean of 1 in units of the client's integrated rate, so that a
window's expected count is rate x length whatever the burstiness, and the process carries on over
window borders.  The first gap is drawn in equilibrium (Cox, "Renewal Theory", 1962, §2.2), so that
clients do not start together.  Input and output lengths are drawn independently of each other.
`rate_rps` multiplies every client's rate by one factor so that the mean over the duration is it.

Only text is generated: image, audio and video tokens of multimodal clients are left out.
"""

from __future__ import annotations

import ast
import heapq
import itertools
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import TraceError
from bench.model import TraceRow
from bench.workload.readers import fields
from bench.workload.readers.limits import LONGEST_ITEM_BYTES
from bench.workload.readers.reading import Blocks, ReadOptions, Sample, TraceFormat
from bench.workload.readers.source import Source, opened

DEFAULT_DURATION_S = 600.0

_MOST_GAPS = 1 << 16

_CLIENT = re.compile(r"chunk-(\d+)-trace\.csv")
_INPUT = ("input_tokens", "text_tokens")


@dataclass(frozen=True, slots=True)
class _Window:
    start_s: float
    end_s: float
    rate_rps: float
    family: str
    shape: float

    def expected(self, duration_s: float) -> float:
        """Requests expected before `duration_s`."""
        return self.rate_rps * max(0.0, min(self.end_s, duration_s) - self.start_s)


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Values and cumulative probabilities of one distribution."""

    values: NDArray[np.int64]
    cumulative: NDArray[np.float64]

    def draw(self, random: np.random.Generator, size: int) -> list[int]:
        places = np.searchsorted(self.cumulative, random.random(size), side="right")
        drawn: list[int] = self.values[np.minimum(places, len(self.values) - 1)].tolist()
        return drawn


@dataclass(frozen=True, slots=True)
class _Client:
    number: int
    windows: tuple[_Window, ...]
    starts_s: tuple[float, ...]
    inputs: tuple[_Lengths, ...]
    outputs: tuple[_Lengths, ...]


def _sniff(sample: Sample) -> bool:
    return any(_CLIENT.fullmatch(name) for name in sample.names)


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    clients = [_client(source, *named) for named in _client_files(source.path)]
    active = [client for client in clients if client is not None]
    if not active:
        raise TraceError(f"{source.path}: no client has a rate and length distributions")
    duration_s = _duration_s(source, active)
    factor = _factor(source.options, active, duration_s)
    streams = [_requests(client, factor, duration_s, source.options.seed) for client in active]
    return None, _rows(heapq.merge(*streams))


def _rows(requests: Iterable[tuple[float, int, int]]) -> Iterator[TraceRow]:
    for line, (at_s, input_tokens, output_tokens) in enumerate(requests, start=1):
        yield TraceRow(at_s, input_tokens, output_tokens, line=line)


def _client_files(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for child in folder.iterdir() if folder.is_dir() else ():
        if match := _CLIENT.fullmatch(child.name):
            found.append((int(match[1]), child))
    if not found:
        raise TraceError(f"{folder}: no chunk-<i>-trace.csv in it", "give ServeGen's folder")
    return sorted(found)


def _duration_s(source: Source, clients: list[_Client]) -> float:
    recorded_s = max(client.windows[-1].end_s for client in clients)
    asked_s = source.options.duration_s
    if asked_s is None:
        asked_s = min(DEFAULT_DURATION_S, recorded_s)
        source.warnings.append(
            f"the first {asked_s:g} s of {recorded_s:g} s are generated; --duration chooses"
        )
    if asked_s > recorded_s:
        source.warnings.append(f"only {recorded_s:g} s are recorded, {asked_s:g} s were asked for")
    return min(asked_s, recorded_s)


def _factor(options: ReadOptions, clients: list[_Client], duration_s: float) -> float:
    if options.rate_rps is None:
        return 1.0
    expected = sum(window.expected(duration_s) for each in clients for window in each.windows)
    if expected == 0:
        raise TraceError(f"no client is active in the first {duration_s:g} s")
    return options.rate_rps * duration_s / expected


def _requests(
    client: _Client, factor: float, duration_s: float, seed: int
) -> Iterator[tuple[float, int, int]]:
    """Time and lengths of one client's requests, in order."""
    gaps, inputs, outputs = (
        np.random.default_rng([seed, client.number, stream]) for stream in range(3)
    )
    for times_s in _arrivals(client, factor, duration_s, gaps):
        table = max(0, bisect_right(client.starts_s, float(times_s[0])) - 1)
        size = len(times_s)
        yield from zip(
            times_s.tolist(),
            client.inputs[table].draw(inputs, size),
            client.outputs[table].draw(outputs, size),
            strict=True,
        )


def _arrivals(
    client: _Client, factor: float, duration_s: float, random: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Arrival times in ordered pieces: a renewal process in integrated rate, mapped to seconds."""
    to_next: float | None = None
    for window in client.windows:
        rate_rps = window.rate_rps * factor
        budget = window.expected(duration_s) * factor
        if budget <= 0:
            continue
        if to_next is None:
            to_next = float(random.random() * _gaps(window, random, 1, length_biased=True)[0])
        while to_next <= budget:
            size = min(int(budget - to_next) + 16, _MOST_GAPS)
            reached = np.cumsum(np.concatenate(([to_next], _gaps(window, random, size))))
            inside = reached[:-1][reached[:-1] <= budget]
            yield window.start_s + inside / rate_rps
            to_next = float(reached[len(inside)])
        to_next -= budget


def _gaps(
    window: _Window, random: np.random.Generator, size: int, *, length_biased: bool = False
) -> NDArray[np.float64]:
    """Gaps of mean 1 in the window's family, or of that law weighted by length.

    A length-biased Gamma(k) is Gamma(k + 1) of the same scale; for X Weibull(c) of scale 1, X^c is
    exponential, and length-biased it is Gamma(1 + 1/c).
    """
    shape = window.shape
    if window.family == "Gamma":
        return random.gamma(shape + length_biased, 1 / shape, size)
    scale = 1 / math.gamma(1 + 1 / shape)
    if length_biased:
        return scale * random.gamma(1 + 1 / shape, 1.0, size) ** (1 / shape)
    return scale * random.weibull(shape, size)


def _client(source: Source, number: int, trace: Path) -> _Client | None:
    """One client from its two files; None (and counted) where it has no requests to give."""
    windows = _windows(trace)
    dataset = trace.with_name(f"chunk-{number}-dataset.json")
    if not any(window.rate_rps for window in windows):
        source.counts["idle_clients"] += 1
        return None
    if not dataset.exists():
        source.counts["clients_without_lengths"] += 1
        return None
    tables = _tables(dataset)
    if not tables:
        source.counts["clients_without_lengths"] += 1
        return None
    starts_s, inputs, outputs = zip(*tables, strict=True)
    return _Client(number, tuple(windows), starts_s, inputs, outputs)


def _windows(trace: Path) -> list[_Window]:
    rows: list[tuple[float, float, str, float]] = []
    with opened(trace) as stream:
        for line, text in enumerate(stream.read(LONGEST_ITEM_BYTES).splitlines(), start=1):
            try:
                rows.append(_window_row(text.decode("utf-8", "replace").split(",")))
            except fields.RowError as wrong:
                raise TraceError(f"{trace}: line {line}: {wrong}") from None
    if not rows:
        raise TraceError(f"{trace}: the file is empty")
    starts_s = [row[0] for row in rows]
    last_s = starts_s[-1] + (starts_s[-1] - starts_s[-2] if len(rows) > 1 else DEFAULT_DURATION_S)
    if any(end <= start for start, end in itertools.pairwise(starts_s)):
        raise TraceError(f"{trace}: window starts must increase")
    ends_s = [*starts_s[1:], last_s]
    return [
        _Window(start_s, end_s, rate_rps, family, shape)
        for (start_s, rate_rps, family, shape), end_s in zip(rows, ends_s, strict=True)
    ]


def _window_row(values: list[str]) -> tuple[float, float, str, float]:
    if len(values) < 6:
        raise fields.RowError(f"expected start, rate, CV, family, 2 arguments, got {values}")
    start_s = fields.number(values[0], "window start", least=0)
    rate_rps = fields.number(values[1], "rate", least=0)
    family = values[3].strip()
    if not family or rate_rps == 0:
        return start_s, 0.0, "", 1.0
    if family not in ("Gamma", "Weibull"):
        raise fields.RowError(f"family must be Gamma, Weibull or empty, got {family!r}")
    shape = fields.number(values[4], "shape")
    if shape <= 0:
        raise fields.RowError(f"shape must be over 0, got {shape}")
    return start_s, rate_rps, family, shape


def _tables(dataset: Path) -> list[tuple[float, _Lengths, _Lengths]]:
    """The length distributions that are there, by the start of their window."""
    with opened(dataset) as stream:
        text = stream.read(LONGEST_ITEM_BYTES + 1)
    tables = []
    try:
        for start, names in fields.json_object(text).items():
            start_s = fields.number(start, "window start", least=0)
            inputs = _lengths(next((names[name] for name in _INPUT if name in names), "{}"))
            outputs = _lengths(names.get("output_tokens", "{}"))
            if inputs is not None and outputs is not None:
                tables.append((start_s, inputs, outputs))
    except (fields.RowError, AttributeError) as wrong:
        raise TraceError(f"{dataset}: {wrong}") from None
    return sorted(tables, key=lambda table: table[0])


def _lengths(literal: Any) -> _Lengths | None:
    """A distribution from a literal `{tokens: probability}`, parsed and never evaluated."""
    try:
        table = ast.literal_eval(literal) if isinstance(literal, str) else literal
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise fields.RowError(
            f"expected {{tokens: probability}}, got {fields.shown(literal)}"
        ) from None
    if not isinstance(table, dict):
        raise fields.RowError(f"expected {{tokens: probability}}, got {fields.shown(table)}")
    if not table:
        return None
    values = [fields.tokens(value, "length") for value in table]
    weights = [fields.number(weight, "probability", least=0) for weight in table.values()]
    if sum(weights) <= 0:
        raise fields.RowError("probabilities must sum to more than 0")
    order = np.argsort(values)
    cumulative = np.cumsum(np.asarray(weights)[order])
    return _Lengths(np.asarray(values, np.int64)[order], cumulative / cumulative[-1])


FORMAT = TraceFormat("servegen", "ServeGen client parameters (folder)", _sniff, _read)
