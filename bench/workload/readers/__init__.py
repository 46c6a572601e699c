"""Trace files as rows: a table of formats, recognised by content, read one row at a time.

    reading = read(Path("conversation_trace.jsonl"))
    for row in reading: ...
    reading.counts, reading.warnings

A new format is a file beside this one and a row in `FORMATS`.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import orjson

from bench.errors import TraceError
from bench.workload.readers import (
    azure,
    bailian,
    burstgpt,
    mlperf_agentic,
    mooncake,
    native,
    openai_messages,
    servegen,
    sharegpt,
    weka,
)
from bench.workload.readers.reading import (
    COUNTS,
    Blocks,
    ReadOptions,
    Sample,
    TraceFormat,
    TraceReading,
)
from bench.workload.readers.source import Source, opened

__all__ = [
    "COUNTS",
    "FORMATS",
    "Blocks",
    "ReadOptions",
    "TraceFormat",
    "TraceReading",
    "detect",
    "read",
]

FORMATS: dict[str, TraceFormat] = {
    each.name: each
    for each in (
        native.FORMAT,
        bailian.FORMAT,
        mooncake.FORMAT,
        azure.FORMAT,
        burstgpt.FORMAT,
        servegen.FORMAT,
        weka.FORMAT,
        mlperf_agentic.FORMAT,
        openai_messages.FORMAT,
        sharegpt.FORMAT,
    )
}

_HEAD_BYTES = 4 << 20
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def detect(path: Path) -> TraceFormat:
    """The format of a trace file or folder, judged by its content.

    Raises TraceError where it can't be read or is of no known format.
    """
    sample = _sample(path)
    for each in FORMATS.values():
        if each.sniff(sample):
            return each
    if not sample.names and not sample.head.strip():
        raise TraceError(f"{path} is empty", "is it the right one, and was it fetched whole?")
    if sample.head.startswith(_UTF_16):
        raise TraceError(
            f"{path}: expected UTF-8, got UTF-16", f"iconv -f utf-16 -t utf-8 {path} > FILE"
        )
    seen = ", ".join(sample.names[:5]) or sample.head[:60].decode("utf-8", "replace").strip()
    raise TraceError(
        f"{path}: the format is not known; it begins with {seen!r}",
        f"name it with --format: {', '.join(FORMATS)} (docs/traces.md)",
    )


def read(
    path: Path | str, format_name: str | None = None, options: ReadOptions | None = None
) -> TraceReading:
    """Open a trace; `format_name` (a name of `FORMATS`) overrides what its content says.

    Raises TraceError where the file can't be read or its format is not known, and later, while
    iterating, at the first bad row beyond `options.skip_bad`.
    """
    path = Path(path)
    chosen = detect(path) if format_name is None else _named(format_name)
    source = Source(path, options or ReadOptions())
    blocks, rows = chosen.read(source)
    return TraceReading(path, chosen.name, blocks, rows, source.counts, source.warnings)


def _named(name: str) -> TraceFormat:
    if name in FORMATS:
        return FORMATS[name]
    near = difflib.get_close_matches(name, FORMATS, n=1)
    raise TraceError(
        f"trace format {name!r} is not known",
        f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(FORMATS)}",
    )


def _sample(path: Path) -> Sample:
    if path.is_dir():
        names = tuple(sorted(child.name for child in path.iterdir()))
        first = next((name for name in names if ".json" in name), None)
        return Sample(path, _head(path / first) if first else b"", names=names)
    head = _head(path)
    first_line = head.lstrip().partition(b"\n")[0]
    try:
        record = orjson.loads(first_line)
    except orjson.JSONDecodeError:
        columns = tuple(first_line.decode("utf-8", "replace").strip().split(","))
        return Sample(path, head, columns=columns)
    keys = frozenset(record) if isinstance(record, dict) else frozenset[str]()
    return Sample(path, head, keys=keys)


def _head(path: Path) -> bytes:
    with opened(path) as stream:
        return stream.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")
