"""The project's own format: strict, whole, and the same bytes for the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.errors import TraceError
from bench.model import TraceRow
from bench.workload.readers import Blocks, TraceReading, read
from bench.workload.readers.native import write_native

Reader = Callable[..., TraceReading]

HEADER = (
    '{"format": "bench-trace", "schema": 1, "block_tokens": 4, "block_rule": "ceil", '
    '"block_hashes": "prefix"}\n'
)


def test_every_field_is_read(reading: Reader) -> None:
    """A line with all fields gives a row with all fields; an absent one is None."""
    opened = reading(
        HEADER
        + '{"at_s": 1.5, "input_tokens": 5, "output_tokens": 2, "session": "s", "think_s": 0.5, '
        '"block_ids": [3, 9]}\n'
        '{"messages": [{"role": "user", "content": "hi"}], "appends": true}\n'
    )
    assert list(opened) == [
        TraceRow(1.5, 5, 2, "s", 0.5, (3, 9), None, False, 2),
        TraceRow(None, None, None, messages=({"role": "user", "content": "hi"},), appends=True,
                 line=3),
    ]  # fmt: skip
    assert opened.blocks == Blocks(4, "ceil", "prefix")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"input_tokens": 5, "tokens": 3}', "unknown fields: tokens"),
        ('{"at_s": 1}', "needs input_tokens or messages"),
        ('{"input_tokens": 5, "block_ids": [1]}', "expected 2 ids"),
        ('{"at_s": -1, "input_tokens": 5}', "at_s must be 0 or more"),
        ('{"input_tokens": 5, "appends": 1}', "appends must be true or false"),
    ],
)
def test_rows_are_checked(reading: Reader, line: str, problem: str) -> None:
    """Unknown fields, rows of nothing and wrong values are bad rows."""
    with pytest.raises(TraceError, match=f"line 2: .*{problem}"):
        list(reading(HEADER + line))


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ('{"format": "bench-trace", "schema": 2}', "schema 1, got 'bench-trace' and 2"),
        ('{"format": "bench-trace", "schema": 1, "block": 4}', "unknown fields: block"),
        ('{"format": "bench-trace", "schema": 1, "block_tokens": 0}', "block_tokens 1 or more"),
    ],
)
def test_headers_are_checked(reading: Reader, header: str, problem: str) -> None:
    """A newer schema, an unknown field or a wrong block rule is refused before any row."""
    with pytest.raises(TraceError, match=problem):
        reading(header + "\n")


def test_block_ids_without_a_block_size_are_refused(reading: Reader) -> None:
    """Ids mean nothing without the size of their block."""
    with pytest.raises(TraceError, match="a header with block_tokens"):
        list(
            reading('{"format": "bench-trace", "schema": 1}\n{"input_tokens": 5, "block_ids": [1]}')
        )


def test_equal_rows_are_equal_bytes_compressed_too(tmp_path: Path) -> None:
    """Two files of the same rows are the same bytes, gzip included, and read back the same."""
    rows = [TraceRow(0.1, 5, 2, block_ids=(1, 2), line=2)]
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        assert write_native(tmp_path / name, rows, Blocks(4, "ceil", "prefix"), {}) == 1
    first, second = ((tmp_path / name).read_bytes() for name in ("a.jsonl.gz", "b.jsonl.gz"))
    assert first == second
    assert first[:2] == b"\x1f\x8b"
    assert list(read(tmp_path / "a.jsonl.gz")) == rows


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    """A trace that breaks while it is converted leaves neither a half file nor a temporary one."""

    def rows() -> Iterator[TraceRow]:
        yield TraceRow(0.0, 5, 2)
        raise TraceError("line 2: broken")

    with pytest.raises(TraceError, match="broken"):
        write_native(tmp_path / "out.jsonl", rows(), None, {})
    assert list(tmp_path.iterdir()) == []
