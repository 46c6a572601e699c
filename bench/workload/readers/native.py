"""The project's own trace file: JSON lines that can say all that a TraceRow can.

The first line is the header:

    {"format": "bench-trace", "schema": 1, "block_tokens": 512, "block_rule": "ceil",
     "block_hashes": "prefix", "made_by": {...}}

`block_tokens`, `block_rule` (`ceil`: the last block may be partial; `floor`: tokens beyond the
blocks have no id) and `block_hashes` (`prefix`: an id names its block and all before it; `content`:
only its own) are there where rows have block ids.  `made_by` is free.  Each further line is a row:

    at_s           seconds from the trace's start, 0 or more
    input_tokens   the whole prompt
    output_tokens
    session        text; rows of one session are its turns in file order
    think_s        seconds after the end of the session's previous turn
    block_ids      whole numbers from 0 to 2^63 - 1, as many as block_rule says
    messages       [{"role", "content", ...}]: the conversation up to and with this request
    appends        true: `messages` is only what is new since the session's previous turn

Every field may be absent, which is "unknown"; a row has `input_tokens` or `messages`.  A field that
is not in this list is an error.  History of the schema: 1, first version.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from bench.errors import TraceError
from bench.model import TraceRow
from bench.wholefile import whole_file
from bench.workload.readers import fields
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source

NAME = "bench-trace"
SCHEMA = 1

_HEADER = {"format", "schema", "block_tokens", "block_rule", "block_hashes", "made_by"}


def _sniff(sample: Sample) -> bool:
    return sample.keys >= {"format", "schema"} and NAME.encode() in sample.head[:1000]


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    lines = source.lines()
    number, text = next(lines, (1, b""))
    try:
        blocks = _blocks(fields.json_object(text))
    except fields.RowError as wrong:
        raise TraceError(
            f"{source.path}: line {number}: {wrong}",
            "the first line is the header described in docs/traces.md",
        ) from None

    def row(line: int, text: bytes) -> Iterable[TraceRow]:
        yield _row(line, fields.json_object(text), blocks)

    return blocks, source.each(lines, row)


def _blocks(header: dict[str, Any]) -> Blocks | None:
    if header.get("format") != NAME or header.get("schema") != SCHEMA:
        raise fields.RowError(
            f"expected a header of format {NAME!r} and schema {SCHEMA}, "
            f"got {header.get('format')!r} and {header.get('schema')!r}"
        )
    if unknown := header.keys() - _HEADER:
        raise fields.RowError(f"the header has unknown fields: {', '.join(sorted(unknown))}")
    if header.get("block_tokens") is None:
        return None
    size = fields.tokens(header["block_tokens"], "block_tokens")
    rule, hashes = header.get("block_rule"), header.get("block_hashes")
    if size < 1 or rule not in ("ceil", "floor") or hashes not in ("prefix", "content"):
        raise fields.RowError(
            "expected block_tokens 1 or more, block_rule 'ceil' or 'floor', block_hashes 'prefix' "
            f"or 'content', got {size}, {rule!r}, {hashes!r}"
        )
    return Blocks(size, rule, hashes)


_FIELDS: dict[str, Callable[[Any, str], Any]] = {
    "at_s": lambda value, name: fields.number(value, name, least=0),
    "input_tokens": fields.tokens,
    "output_tokens": fields.tokens,
    "session": fields.text,
    "think_s": lambda value, name: fields.number(value, name, least=0),
    "block_ids": fields.block_ids,
    "messages": fields.messages,
    "appends": fields.truth,
}


def _row(line: int, record: dict[str, Any], blocks: Blocks | None) -> TraceRow:
    if unknown := record.keys() - _FIELDS.keys():
        raise fields.RowError(f"unknown fields: {', '.join(sorted(unknown))}")
    values = {
        name: _FIELDS[name](value, name) for name, value in record.items() if value is not None
    }
    if "input_tokens" not in values and "messages" not in values:
        raise fields.RowError("a row needs input_tokens or messages")
    if "block_ids" in values:
        if blocks is None or "input_tokens" not in values:
            raise fields.RowError("block_ids need input_tokens and a header with block_tokens")
        fields.check_count(values["block_ids"], "block_ids", values["input_tokens"], blocks)
    return TraceRow(
        **{"at_s": None, "input_tokens": None, "output_tokens": None, **values}, line=line
    )


def write_native(
    path: Path, rows: Iterable[TraceRow], blocks: Blocks | None, made_by: Mapping[str, Any]
) -> int:
    """Write rows as a native trace (gzip where the name ends in .gz); returns how many.

    The file appears whole or not at all, and equal rows give equal bytes.
    """
    written = 0
    try:
        with whole_file(path) as temporary, temporary.open("wb") as raw:
            packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
            with packed as stream:
                stream.write(orjson.dumps(_header(blocks, made_by)) + b"\n")
                for row in rows:
                    stream.write(orjson.dumps(_record(row)) + b"\n")
                    written += 1
    except OSError as wrong:
        raise TraceError(f"{path} can't be written: {wrong.strerror or wrong}") from None
    return written


def _header(blocks: Blocks | None, made_by: Mapping[str, Any]) -> dict[str, Any]:
    header: dict[str, Any] = {"format": NAME, "schema": SCHEMA}
    if blocks is not None:
        header |= {
            "block_tokens": blocks.tokens,
            "block_rule": blocks.rule,
            "block_hashes": blocks.hashes,
        }
    return header | {"made_by": dict(made_by)}


def _record(row: TraceRow) -> dict[str, Any]:
    values = ((name, getattr(row, name)) for name in _FIELDS)
    return {name: value for name, value in values if value is not None and value is not False}


FORMAT = TraceFormat("native", "bench's own trace (JSONL with a header)", _sniff, _read)
