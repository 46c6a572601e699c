"""What holds of any trace: round trips, fitting's sharing, the ceiling, streaming."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import TraceError
from bench.model import TraceRow
from bench.workload.ceiling import CacheCeiling
from bench.workload.fit import Fit, fit
from bench.workload.readers import FORMATS, Blocks, ReadOptions, TraceReading, read
from bench.workload.readers.json_array import json_elements
from bench.workload.readers.native import write_native

TEXT = st.text(max_size=20)
SECONDS = st.floats(0, 1e9, allow_nan=False)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXT}),
    min_size=1,
    max_size=3,
).map(tuple)
BLOCKS = st.builds(
    Blocks,
    st.integers(1, 600),
    st.sampled_from(["ceil", "floor"]),
    st.sampled_from(["prefix", "content"]),
)


@st.composite
def traces(draw: st.DrawFn) -> tuple[Blocks, list[TraceRow]]:
    """Rows of every shape the record allows, with ids that agree with the blocks."""
    blocks = draw(BLOCKS)
    rows = []
    for _ in range(draw(st.integers(0, 5))):
        ids: tuple[int, ...] | None = None
        tokens = draw(st.none() | st.integers(0, blocks.tokens * 4))
        messages = draw(MESSAGES if tokens is None else st.none() | MESSAGES)
        if tokens is not None and draw(st.booleans()):
            number = blocks.expected(tokens)
            ids = tuple(draw(st.lists(st.integers(0, 2**63 - 1), min_size=number, max_size=number)))
        rows.append(
            TraceRow(
                at_s=draw(st.none() | SECONDS),
                input_tokens=tokens,
                output_tokens=draw(st.none() | st.integers(0, 10**6)),
                session=draw(st.none() | TEXT),
                think_s=draw(st.none() | SECONDS),
                block_ids=ids,
                messages=messages,
                appends=draw(st.booleans()),
                line=len(rows) + 2,
            )
        )
    return blocks, rows


@given(traces(), st.sampled_from(["t.jsonl", "t.jsonl.gz"]))
@settings(max_examples=60)
def test_native_traces_round_trip(
    tmp_path_factory: pytest.TempPathFactory, trace: tuple[Blocks, list[TraceRow]], name: str
) -> None:
    """What is written is read back: every field of every row, and the blocks."""
    blocks, rows = trace
    path = tmp_path_factory.mktemp("native") / name
    assert write_native(path, rows, blocks, {"by": "test"}) == len(rows)
    reading = read(path)
    assert reading.blocks == blocks
    assert list(reading) == rows


@st.composite
def sharing(draw: st.DrawFn) -> tuple[Blocks, list[TraceRow], int]:
    """Two rows whose first k ids are the same, and no more."""
    blocks = draw(BLOCKS)
    size = blocks.tokens
    shared = draw(st.integers(1, 6))
    rows = []
    for row in (1, 2):
        tokens = draw(st.integers(shared * size, (shared + 4) * size + size - 1))
        number = blocks.expected(tokens)
        ids = (*range(shared), *(100 * row + each for each in range(number - shared)))
        rows.append(TraceRow(None, tokens, 1, block_ids=ids[:number]))
    return blocks, rows, shared


def text_of(row: TraceRow, blocks: Blocks, name: str) -> list[tuple[object, int]]:
    """The tokens a prompt maker gives under fit's contract: (block id, place in it)."""
    assert row.input_tokens is not None
    tokens = [(each, place) for each in row.block_ids or () for place in range(blocks.tokens)]
    own = [(name, place) for place in range(row.input_tokens)]
    return [*tokens, *own][: row.input_tokens]


@given(sharing(), st.floats(0.01, 3), st.none() | st.integers(1, 2000))
@settings(max_examples=200)
def test_fitting_keeps_shared_prefixes(
    trace: tuple[Blocks, list[TraceRow], int], scale: float, most: int | None
) -> None:
    """Rows that share k blocks share all tokens of k scaled blocks, cut only by the limit."""
    blocks, rows, shared = trace
    result = fit(TraceReading(Path("t"), "native", blocks, iter(rows)),
                 Fit(scale_input=scale, max_input=most))  # fmt: skip
    first, second = result
    assert result.blocks is not None
    assert result.blocks.rule == blocks.rule
    for row in (first, second):
        assert row.input_tokens is not None
        assert row.input_tokens <= (most or row.input_tokens)
        assert len(row.block_ids or ()) == result.blocks.expected(row.input_tokens)
    expected = min(
        shared * result.blocks.tokens,
        first.input_tokens or 0,
        second.input_tokens or 0,
    )
    if blocks.rule == "floor" and most is not None:
        # A limit inside a block leaves tokens that have no id, and are the row's own.
        expected -= expected % result.blocks.tokens
    texts = [text_of(row, result.blocks, name) for row, name in ((first, "a"), (second, "b"))]
    common = next(
        (at for at, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]),
        min(map(len, texts)),
    )
    assert common >= expected


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=5), st.integers(0, 3)), max_size=12),
    st.integers(1, 4),
)
def test_the_ceiling_is_the_longest_common_prefix_with_any_earlier_text(
    requests: list[tuple[list[int], int]], size: int
) -> None:
    """Whatever the ids, a hit is exactly the longest prefix of tokens an earlier request had."""
    blocks = Blocks(size, "ceil", "content")
    ceiling = CacheCeiling(size)
    earlier: list[list[tuple[object, int]]] = []
    for ids, cut in requests:
        tokens = max(0, len(ids) * size - min(cut, size - 1)) if ids else 0
        row = TraceRow(None, tokens, 1, block_ids=tuple(ids))
        text = text_of(row, blocks, "own")
        longest = 0
        for other in earlier:
            same = 0
            while same < min(len(text), len(other)) and text[same] == other[same]:
                same += 1
            longest = max(longest, same)
        assert ceiling.add(ids, tokens) == longest
        earlier.append(text)


class Dribble(io.RawIOBase):
    """Gives the bytes in pieces of chosen sizes, as a slow or compressed stream would."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content = content
        self._sizes = sizes

    def read(self, size: int = -1) -> bytes:
        step = self._sizes.pop(0) if self._sizes else len(self._content)
        piece, self._content = self._content[:step], self._content[step:]
        return piece


VALID = [
    b'{"format": "bench-trace", "schema": 1}\n{"input_tokens": 5, "messages": [{"role": "u"}]}\n',
    b'{"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [7]}\n',
    b'{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 9, '
    b'"output_length": 1, "hash_ids": [7]}\n',
    b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,1,1\n",
    b"Timestamp,Request tokens,Response tokens\n5,472,18\n",
    b'{"id": "a", "block_size": 64, "requests": [{"in": 64, "out": 1, "hash_ids": [1]}, '
    b'{"type": "subagent", "requests": []}]}',
    b'{"conversation_id": "a", "turn": 1, "role": "user", "content": "x", "delay_seconds": 1}\n'
    b'{"conversation_id": "a", "turn": 2, "role": "assistant", "content": "y"}\n',
    b'{"messages": [{"role": "user", "content": "x"}], "timestamp": "2024-05-10T00:00:00Z"}\n',
    b'[{"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}]',
]


@given(
    st.sampled_from(VALID) | st.binary(max_size=60),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.binary(max_size=3)), max_size=3),
    st.sampled_from([None, *FORMATS]),
    st.integers(0, 2),
)
@settings(max_examples=400)
def test_a_damaged_file_is_rows_or_a_trace_error(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    damage: list[tuple[int, int, bytes]],
    format_name: str | None,
    skip_bad: int,
) -> None:
    """Whatever the bytes and the format named, no other error reaches the user."""
    for at, length, piece in damage:
        content = content[:at] + piece + content[at + length :]
    path = tmp_path_factory.mktemp("damaged") / "t"
    path.write_bytes(content)
    try:
        for row in read(path, format_name, ReadOptions(skip_bad=skip_bad)):
            assert row.input_tokens is not None or row.messages
    except TraceError as wrong:
        assert str(path) in wrong.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | TEXT | st.floats(allow_nan=False,
                                                                           allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.lists(JSON, max_size=6),
    st.lists(st.integers(1, 30), max_size=200),
    st.sampled_from([None, 2]),
    st.booleans(),
)
@settings(max_examples=200)
def test_streamed_arrays_are_what_json_loads_gives(
    values: list[Any], sizes: list[int], indent: int | None, ascii_only: bool
) -> None:
    """However the bytes are cut (in characters, numbers, escapes), the elements are the same."""
    content = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8")
    assert list(json_elements(Dribble(content, sizes), "file")) == values
