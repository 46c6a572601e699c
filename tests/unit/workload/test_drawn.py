"""bench.workload.drawn and bench.workload.source: rows from distributions, traces and text."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError
from bench.model import TraceRow
from bench.workload.drawn import BLOCK_TOKENS, BlockStreams, synthetic_rows
from bench.workload.recipe import Recipe, SyntheticSource
from bench.workload.source import open_source


def source(**fields: Any) -> SyntheticSource:
    written = {
        "kind": "synthetic",
        "input_tokens": {"kind": "uniform", "min": 20, "max": 200},
        "output_tokens": {"kind": "uniform", "min": 5, "max": 50},
        **fields,
    }
    return SyntheticSource.model_validate_json(json.dumps(written))


def rows(source: SyntheticSource, count: int, seed: int = 1) -> list[TraceRow]:
    return list(itertools.islice(synthetic_rows(source, seed, Counter()), count))


def recipe(source: dict[str, Any], folder: Path, **fields: Any) -> Recipe:
    written = {
        "name": "r",
        "title": {"zh": "r", "en": "r"},
        "source": source,
        "arrivals": {"kind": "closed", "concurrency": 1},
        **fields,
    }
    return Recipe.model_validate_json(json.dumps(written)).in_folder(folder)


def test_single_turns_share_nothing() -> None:
    """Without a shared prefix no block is used twice."""
    drawn = rows(source(), 500)
    ids = [number for row in drawn for number in row.block_ids or ()]
    assert len(set(ids)) == len(ids)
    assert all(row.session is None and row.think_s is None for row in drawn)
    assert all(20 <= (row.input_tokens or 0) <= 200 for row in drawn)
    assert len({row.input_tokens for row in drawn}) > 100


def test_the_seed_of_lengths_decides() -> None:
    """The same seed draws the same rows, a longer draw begins with a shorter, another differs."""
    chosen = source(turns={"kind": "uniform", "min": 1, "max": 5})
    assert rows(chosen, 3000)[:50] == rows(chosen, 50)
    assert rows(chosen, 50, seed=2) != rows(chosen, 50)


def test_a_shared_prefix_is_shared_within_its_group() -> None:
    """The prefix adds to the input, and its whole blocks are one of as many chains as groups."""
    drawn = rows(source(shared_prefix={"tokens": 100, "groups": 3}), 400)
    blocks = 100 // BLOCK_TOKENS
    heads = Counter((row.block_ids or ())[:blocks] for row in drawn)
    assert len(heads) == 3
    assert min(heads.values()) > 80
    assert all(120 <= (row.input_tokens or 0) <= 300 for row in drawn)
    tails = [number for row in drawn for number in (row.block_ids or ())[blocks:]]
    assert len(set(tails)) == len(tails)


def test_a_turn_continues_the_one_before() -> None:
    """Each prompt has the previous one's blocks, grows by answer and input, and waits."""
    chosen = source(
        turns={"kind": "fixed", "value": 4},
        think_s={"kind": "uniform", "min": 1, "max": 2},
        shared_prefix={"tokens": 64},
        first_input_tokens={"kind": "fixed", "value": 1000},
    )
    drawn = rows(chosen, 40)
    for _, session in itertools.groupby(drawn, key=lambda row: row.session):
        turns = list(session)
        assert len(turns) == 4
        assert turns[0].input_tokens == 1064
        assert turns[0].think_s is None
        for before, after in itertools.pairwise(turns):
            assert (after.block_ids or ())[: len(before.block_ids or ())] == before.block_ids
            grown = (after.input_tokens or 0) - (before.input_tokens or 0)
            assert 20 <= grown - (before.output_tokens or 0) <= 200
            assert after.think_s is not None
            assert 1 <= after.think_s <= 2


def test_block_ids_cover_the_input() -> None:
    """As many ids as the ceil rule asks for."""
    for row in rows(source(shared_prefix={"tokens": 50}), 100):
        assert len(row.block_ids or ()) == -(-(row.input_tokens or 0) // BLOCK_TOKENS)


def test_a_limit_ends_sessions_and_is_counted() -> None:
    """A session ends before the turn that would exceed the limit; a first turn is cut to it."""
    chosen = source(
        input_tokens={"kind": "empirical", "values": [100, 500]},
        turns={"kind": "fixed", "value": 6},
        max_input_tokens=400,
    )
    counts: Counter[str] = Counter()
    drawn = list(itertools.islice(synthetic_rows(chosen, 1, counts), 200))
    assert max(row.input_tokens or 0 for row in drawn) == 400
    assert counts["input_clamped"] > 0
    assert counts["turn_dropped"] > 0


def test_streams_hand_out_each_own_block_once() -> None:
    """Prefix ids come first and are reused; a short stream is a part of the prefix."""
    streams = BlockStreams(prefix_tokens=40, groups=2)
    assert streams.stream(80, group=1) == (2, 3, 4, 5, 6)
    assert streams.stream(20, group=0) == (0, 1)
    assert streams.extended((0, 1), 50) == (0, 1, 7, 8)


def test_text_lines_are_prompts(tmp_path: Path) -> None:
    """Each line that is not empty is one prompt; lengths of answers are drawn."""
    (tmp_path / "p.txt").write_text("one\n\n  two 二 \nthree", "utf-8")
    written = {
        "kind": "text",
        "path": "p.txt",
        "output_tokens": {"kind": "uniform", "min": 3, "max": 9},
    }
    reading = open_source(recipe(written, tmp_path))
    read = list(reading.rows)
    assert [row.messages[0]["content"] for row in read if row.messages] == [
        "one",
        "two 二",
        "three",
    ]
    assert [row.line for row in read] == [1, 3, 4]
    assert all(3 <= (row.output_tokens or 0) <= 9 for row in read)
    assert reading.format == "text"


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    """A path that is not there is an error with the recipe's name and the path."""
    with pytest.raises(ConfigError, match=r"recipe r: source.path .*absent.txt"):
        open_source(recipe({"kind": "text", "path": "absent.txt"}, tmp_path))


def test_a_trace_is_read_and_fitted(tmp_path: Path) -> None:
    """The recipe's format, fit and options reach reader and fitting."""
    lines = [
        {"timestamp": 1000 * i, "input_length": 1024, "output_length": 9, "hash_ids": [0, i + 1]}
        for i in range(5)
    ]
    text = "\n".join([*map(json.dumps, lines), "not json"])
    (tmp_path / "t.jsonl").write_text(text)
    written = {
        "kind": "trace",
        "path": "t.jsonl",
        "options": {"skip_bad": 1},
        "fit": {"scale_input": 0.5, "max_output": 4},
    }
    reading = open_source(recipe(written, tmp_path))
    read = list(reading.rows)
    assert [(row.input_tokens, row.output_tokens) for row in read] == [(512, 4)] * 5
    assert reading.block_tokens == 256
    assert reading.counts["bad"] == 1
    assert reading.counts["output_clamped"] == 5


AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,100,5\n"
    "2023-11-16 18:17:04.9799600,30,5\n"
)


def test_a_prefix_for_traces_that_say_nothing(tmp_path: Path) -> None:
    """Rows without block ids may share a prefix: its blocks, then their own."""
    (tmp_path / "a.csv").write_text(AZURE)
    written = {"kind": "trace", "path": "a.csv", "shared_prefix_tokens": 64}
    reading = open_source(recipe(written, tmp_path))
    one, two = reading.rows
    assert one.block_ids == (0, 1, 2, 3, 4, 5, 6)
    assert two.block_ids == (0, 1)
    assert reading.block_tokens == BLOCK_TOKENS


def test_a_prefix_for_traces_with_blocks_is_refused(tmp_path: Path) -> None:
    """A trace that says what is shared can't be given another prefix."""
    line = {"timestamp": 0, "input_length": 9, "output_length": 9, "hash_ids": [0]}
    (tmp_path / "t.jsonl").write_text(json.dumps(line))
    written = {"kind": "trace", "path": "t.jsonl", "shared_prefix_tokens": 64}
    with pytest.raises(ConfigError, match="don't say what requests share"):
        open_source(recipe(written, tmp_path))
