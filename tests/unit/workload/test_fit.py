"""Fitting: lengths by hand, counts, and what may not be touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.model import TraceRow
from bench.workload.fit import Fit, fit
from bench.workload.readers import Blocks, TraceReading

CEIL = Blocks(100, "ceil", "prefix")
FLOOR = Blocks(100, "floor", "prefix")


def reading(rows: Iterable[TraceRow], blocks: Blocks | None = None) -> TraceReading:
    return TraceReading(Path("t"), "native", blocks, iter(rows))


def row(input_tokens: int | None, **fields: Any) -> TraceRow:
    fields.setdefault("output_tokens", 10)
    fields.setdefault("at_s", None)
    return TraceRow(input_tokens=input_tokens, **fields)


def with_ids(input_tokens: int, blocks: Blocks) -> TraceRow:
    return row(input_tokens, block_ids=tuple(range(blocks.expected(input_tokens))))


def fitted(
    rows: Iterable[TraceRow], blocks: Blocks | None = None, **how: Any
) -> tuple[list[TraceRow], Counter[str]]:
    result = fit(reading(rows, blocks), Fit(**how))
    return list(result), result.counts


def test_no_fitting_changes_nothing() -> None:
    """The default gives the very rows it was given, and counts nothing."""
    rows = [with_ids(250, CEIL), row(None, messages=({"role": "user"},))]
    assert fitted(rows, CEIL) == (rows, Counter())


@pytest.mark.parametrize(
    ("blocks", "scale", "before", "after"),
    [
        (CEIL, 0.1, 100, 10),
        (CEIL, 0.1, 250, 25),
        (CEIL, 0.1, 201, 21),  # the last token becomes 1, not 0
        (CEIL, 0.1, 299, 30),
        (CEIL, 2.5, 130, 325),
        (CEIL, 0.001, 250, 3),  # blocks of 1 token
        (FLOOR, 0.1, 250, 25),
        (FLOOR, 0.1, 209, 20),  # a tail of 9 tokens is under 1
        (FLOOR, 0.1, 299, 29),
        (None, 0.1, 250, 25),
        (None, 0.001, 3, 1),
    ],
)
def test_inputs_scale_by_their_blocks(
    blocks: Blocks | None, scale: float, before: int, after: int
) -> None:
    """L' follows from ids and the new block size; ids and their number under the rule stay."""
    source = row(before) if blocks is None else with_ids(before, blocks)
    result = fit(reading([source], blocks), Fit(scale_input=scale))
    (scaled,) = result
    assert scaled.input_tokens == after
    assert scaled.block_ids == source.block_ids
    if result.blocks is not None:
        assert result.blocks.expected(after) == len(scaled.block_ids or ())
    assert result.counts["input_scaled"] == 1


def test_a_ratio_that_blocks_can_not_have_is_told() -> None:
    """Blocks of 26 tokens out of 512 are 0.0508, not 0.05, and a warning says so."""
    result = fit(reading([], Blocks(512, "ceil", "prefix")), Fit(scale_input=0.05))
    assert result.block_tokens == 26
    assert "ratio in force is 0.05078" in result.warnings[0]
    assert fit(reading([], CEIL), Fit(scale_input=0.1)).warnings == []


def test_an_input_that_scales_to_nothing_is_dropped_and_counted() -> None:
    """Under the floor rule a tail may vanish; a request of 0 tokens is not sent."""
    rows, counts = fitted([with_ids(9, FLOOR)], FLOOR, scale_input=0.1)
    assert rows == []
    assert counts["empty_dropped"] == 1


@pytest.mark.parametrize(("blocks", "ids"), [(CEIL, (0, 1, 2)), (FLOOR, (0, 1))])
def test_clamping_cuts_ids_from_the_end(blocks: Blocks, ids: tuple[int, ...]) -> None:
    """250 tokens keep three ids where the last may be partial, two where it may not."""
    rows, counts = fitted([with_ids(900, blocks)], blocks, max_input=250)
    assert [(each.input_tokens, each.block_ids) for each in rows] == [(250, ids)]
    assert counts == {"input_clamped": 1}


def test_limits_hold_after_scaling() -> None:
    """A long input scaled under the limit is not clamped; one over it is."""
    rows, counts = fitted([row(900), row(1100)], scale_input=0.1, max_input=100)
    assert [each.input_tokens for each in rows] == [90, 100]
    assert counts["input_clamped"] == 1


def test_dropping_drops_and_counts_by_reason() -> None:
    """In drop mode a row over either limit is gone, and counted under what it was over."""
    rows, counts = fitted(
        [row(5), row(50), row(5, output_tokens=50)], max_input=10, max_output=10, mode="drop"
    )
    assert rows == [row(5)]
    assert counts == {"input_dropped": 1, "output_dropped": 1}


def test_outputs_scale_clamp_and_are_at_least_one() -> None:
    """Outputs scale by rounding, not under 1; 0 is raised to 1 and counted; unknown stays so."""
    sources = [row(5, output_tokens=tokens) for tokens in (3, 900, 0, None)]
    rows, counts = fitted(sources, scale_output=0.1, max_output=50)
    assert [each.output_tokens for each in rows] == [1, 50, 1, None]
    assert counts == {"output_scaled": 2, "output_clamped": 1, "output_raised": 1}


TALK = ({"role": "user", "content": "hi"},)


def test_text_is_not_scaled_and_dropped_where_too_long() -> None:
    """Text keeps its length; over the limit it is dropped, in clamp mode too; unknown passes."""
    sources = [row(tokens, messages=TALK) for tokens in (5, 50, None)]
    rows, counts = fitted(sources, scale_input=0.5, max_input=10)
    assert [each.input_tokens for each in rows] == [5, None]
    assert counts == {"text_unscaled": 3, "input_dropped": 1, "text_unmeasured": 1}


def test_turns_that_build_on_a_dropped_one_go_with_it() -> None:
    """After a dropped turn the later appending turns of its session are dropped, others stay."""
    sources = [
        row(50, messages=TALK, session="a"),
        row(5, messages=TALK, session="b"),
        row(5, messages=TALK, session="a", appends=True),
        row(5, messages=TALK, session="b", appends=True),
        row(5, messages=TALK, session="a"),
    ]
    rows, counts = fitted(sources, max_input=10)
    assert [(each.session, each.appends) for each in rows] == [
        ("b", False), ("b", True), ("a", False),
    ]  # fmt: skip
    assert counts["turn_dropped"] == 1


def test_speed_divides_times_and_think_times() -> None:
    """Twice the speed halves when a turn comes and how long its user thinks."""
    rows, _ = fitted([row(5, at_s=3.0), row(5, think_s=1.0)], speed=2)
    assert [(each.at_s, each.think_s) for each in rows] == [(1.5, None), (None, 0.5)]


def test_the_limit_counts_rows_given_and_stops_reading() -> None:
    """Three rows are given although one before was dropped, and no row after is taken."""
    taken = []

    def sources() -> Iterator[TraceRow]:
        for tokens in (50, 1, 2, 3, 4, 5):
            taken.append(tokens)
            yield row(tokens)

    rows, _ = fitted(sources(), max_input=10, mode="drop", limit=3)
    assert [each.input_tokens for each in rows] == [1, 2, 3]
    assert taken == [50, 1, 2, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale_input": 0},
        {"scale_output": -1},
        {"speed": float("nan")},
        {"speed": float("inf")},
        {"max_input": 0},
        {"max_output": -5},
        {"limit": 0},
    ],
)
def test_values_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    """The error names the option and the value."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Fit(**wrong)
