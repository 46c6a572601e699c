"""Fitting a trace to a server: smaller or larger requests that keep their shared prefixes.

Order: lengths are scaled, inputs of 0 tokens dropped, lengths beyond the limits clamped or dropped,
times divided by the speed, and the first `limit` rows that remain are given.

Scaling a trace with block ids scales the block, not the ids: a block of B tokens becomes one of
B' = max(1, round(B * scale_input)) tokens for the whole reading, and every input is made of the
same ids in blocks of B' tokens.  The ratio in force is therefore B'/B, and a warning tells where
it is more than 1 % from what was asked.

    ceil rule    L = (n-1)*B + r, 1 <= r <= B      L' = (n-1)*B' + min(B', max(1, round(r*B'/B)))
    floor rule   L = n*B + t,     0 <= t <  B      L' = n*B' + floor(t*B'/B)

Two rows that share k whole blocks share k*B' tokens after it.  Clamping an input to M tokens keeps
its first ceil(M/B') ids (floor rule: M//B'), so that a clamped row shares with an unclamped one all
that fits in M.

The contract for whoever makes the text: an input is its ids in order, `block_tokens` tokens each;
under `ceil` the last one gives only its first tokens up to `input_tokens`, under `floor` the tokens
beyond the ids are the row's own.  Equal ids give equal text.

Text (`messages`) is not rewritten: it is never scaled, and where its length is known and beyond a
limit it is dropped whatever the mode, and with it the later turns that build on it (`appends`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from bench.errors import UsageError
from bench.model import TraceRow
from bench.workload.readers.reading import Blocks, TraceReading

FitMode = Literal["clamp", "drop"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How to fit a trace.  `max_input`, `max_output` in tokens; `limit` in rows given.

    `speed` divides every recorded time and think time.  Raises UsageError on a value that can't be.
    """

    scale_input: float = 1.0
    scale_output: float = 1.0
    max_input: int | None = None
    max_output: int | None = None
    mode: FitMode = "clamp"
    limit: int | None = None
    speed: float = 1.0

    def __post_init__(self) -> None:
        for name in ("scale_input", "scale_output", "speed"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"{name} must be a number over 0, got {value!r}")
        for name in ("max_input", "max_output", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be 1 or more, got {value!r}")


def fit(reading: TraceReading, how: Fit) -> TraceReading:
    """The reading fitted: its block size for the whole, its rows one at a time.

    What it did is in the reading's own `counts` (bench.workload.readers.COUNTS).
    """
    blocks = reading.blocks
    if blocks is not None and how.scale_input != 1:
        size = max(1, round(blocks.tokens * how.scale_input))
        in_force = size / blocks.tokens
        if abs(in_force / how.scale_input - 1) > 0.01:
            reading.warnings.append(
                f"scale_input {how.scale_input:g} makes blocks of {size} tokens out of "
                f"{blocks.tokens}, so the ratio in force is {in_force:.4g}"
            )
        blocks = replace(blocks, tokens=size)
    fitting = _Fitting(how, reading.blocks, blocks, reading.counts)
    return replace(reading, blocks=blocks, rows=fitting.rows(reading.rows))


class _Fitting:
    """Fits rows one by one, and counts."""

    def __init__(
        self, how: Fit, before: Blocks | None, after: Blocks | None, counts: Counter[str]
    ) -> None:
        self._how = how
        self._before = before
        self._after = after
        self._ratio = after.tokens / before.tokens if before and after else how.scale_input
        self._counts = counts
        self._broken: set[str] = set()

    def rows(self, rows: Iterator[TraceRow]) -> Iterator[TraceRow]:
        given = 0
        for row in rows:
            fitted = self._fit(row)
            if fitted is None:
                if row.session is not None:
                    self._broken.add(row.session)
                continue
            yield fitted
            given += 1
            if given == self._how.limit:
                return

    def _fit(self, row: TraceRow) -> TraceRow | None:
        """The row fitted, or None where it is dropped (and counted)."""
        if row.appends and row.session in self._broken:
            self._counts["turn_dropped"] += 1
            return None
        row = self._scaled(row)
        if row.input_tokens == 0 and not row.messages:
            self._counts["empty_dropped"] += 1
            return None
        limited = self._limited_input(row)
        if limited is not None:
            limited = self._limited_output(limited)
        return limited if limited is None or self._how.speed == 1 else self._hastened(limited)

    def _scaled(self, row: TraceRow) -> TraceRow:
        how = self._how
        input_tokens, output_tokens = row.input_tokens, row.output_tokens
        if how.scale_input != 1:
            if row.messages is not None:
                self._counts["text_unscaled"] += 1
            elif input_tokens:
                input_tokens = self._scaled_input(input_tokens, row.block_ids)
        if output_tokens is not None and how.scale_output != 1 and output_tokens:
            output_tokens = max(1, round(output_tokens * how.scale_output))
        if input_tokens != row.input_tokens:
            self._counts["input_scaled"] += 1
        if output_tokens != row.output_tokens:
            self._counts["output_scaled"] += 1
        if output_tokens == 0:
            self._counts["output_raised"] += 1
            output_tokens = 1
        if (input_tokens, output_tokens) == (row.input_tokens, row.output_tokens):
            return row
        return replace(row, input_tokens=input_tokens, output_tokens=output_tokens)

    def _scaled_input(self, input_tokens: int, block_ids: tuple[int, ...] | None) -> int:
        """The rules in the module's docstring."""
        before, after = self._before, self._after
        if before is None or after is None or block_ids is None:
            return max(1, round(input_tokens * self._ratio))
        if before.rule == "floor":
            tail = input_tokens - len(block_ids) * before.tokens
            return len(block_ids) * after.tokens + tail * after.tokens // before.tokens
        whole = len(block_ids) - 1
        last = input_tokens - whole * before.tokens
        return whole * after.tokens + min(after.tokens, max(1, round(last * self._ratio)))

    def _limited_input(self, row: TraceRow) -> TraceRow | None:
        most = self._how.max_input
        if most is None:
            return row
        if row.input_tokens is None:
            self._counts["text_unmeasured"] += 1
            return row
        if row.input_tokens <= most:
            return row
        if self._how.mode == "drop" or row.messages is not None:
            self._counts["input_dropped"] += 1
            return None
        self._counts["input_clamped"] += 1
        block_ids = row.block_ids
        if block_ids is not None and self._after is not None:
            block_ids = block_ids[: self._after.expected(most)]
        return replace(row, input_tokens=most, block_ids=block_ids)

    def _limited_output(self, row: TraceRow) -> TraceRow | None:
        most = self._how.max_output
        if most is None or row.output_tokens is None or row.output_tokens <= most:
            return row
        if self._how.mode == "drop":
            self._counts["output_dropped"] += 1
            return None
        self._counts["output_clamped"] += 1
        return replace(row, output_tokens=most)

    def _hastened(self, row: TraceRow) -> TraceRow:
        speed = self._how.speed
        return replace(
            row,
            at_s=None if row.at_s is None else row.at_s / speed,
            think_s=None if row.think_s is None else row.think_s / speed,
        )
