"""A recipe's source as rows: a trace read and fitted, sessions drawn, or lines of text."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.errors import ConfigError
from bench.model import TraceRow
from bench.workload.distributions import Distribution, draw_counts
from bench.workload.drawn import BLOCKS, BlockStreams, synthetic_rows
from bench.workload.fit import Fit, fit
from bench.workload.readers import ReadOptions, TraceReading, read
from bench.workload.readers.source import opened
from bench.workload.recipe import Recipe, SyntheticSource, TraceSource, named_seeds

_LINES_AT_ONCE = 1024


def open_source(recipe: Recipe) -> TraceReading:
    """The recipe's rows, before any schedule.  Rows of a synthetic source never end.

    Raises ConfigError for what the recipe can't have, TraceError for what the trace has not.
    """
    source, seed = recipe.source, named_seeds(recipe)["lengths"]
    if isinstance(source, SyntheticSource):
        counts: Counter[str] = Counter()
        rows = synthetic_rows(source, seed, counts)
        return TraceReading(Path("synthetic"), "synthetic", BLOCKS, rows, counts)
    path = recipe.path_of(source.path)
    if not path.exists():
        raise ConfigError(f"recipe {recipe.name}: source.path {path}: no such file or folder")
    if isinstance(source, TraceSource):
        return _trace(source, path, seed)
    return TraceReading(path, "text", None, _lines(path, source.output_tokens, seed))


def _trace(source: TraceSource, path: Path, seed: int) -> TraceReading:
    reading = read(path, source.format, ReadOptions(**source.options.model_dump(), seed=seed))
    reading = fit(reading, Fit(**source.fit.model_dump()))
    if not source.shared_prefix_tokens:
        return reading
    if reading.blocks is not None:
        raise ConfigError(
            f"{path}: shared_prefix_tokens is for traces that don't say what requests share, and "
            f"a {reading.format} trace does",
            "remove source.shared_prefix_tokens",
        )
    rows = _with_prefix(reading.rows, BlockStreams(source.shared_prefix_tokens))
    return replace(reading, blocks=BLOCKS, rows=rows)


def _with_prefix(rows: Iterator[TraceRow], streams: BlockStreams) -> Iterator[TraceRow]:
    for row in rows:
        if row.messages is not None or row.input_tokens is None:
            yield row
        else:
            yield replace(row, block_ids=streams.stream(row.input_tokens))


def _lines(path: Path, output_tokens: Distribution | None, seed: int) -> Iterator[TraceRow]:
    rng = np.random.Generator(np.random.PCG64(seed))
    with opened(path) as stream:
        lines = enumerate((raw.decode("utf-8", "replace").strip() for raw in stream), 1)
        prompts = ((number, text) for number, text in lines if text)
        while batch := list(itertools.islice(prompts, _LINES_AT_ONCE)):
            lengths: list[int] | list[None] = [None] * len(batch)
            if output_tokens is not None:
                lengths = draw_counts(output_tokens, rng, _LINES_AT_ONCE).tolist()
            for (number, text), length in zip(batch, lengths, strict=False):
                message = {"role": "user", "content": text}
                yield TraceRow(None, None, length, messages=(message,), line=number)
