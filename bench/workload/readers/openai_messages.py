"""OpenAI chat bodies, one on a line: the whole conversation as text, with optional times.

`messages` is required.  Optional: `max_completion_tokens`, `max_tokens` or `output_tokens` (the
first that is there); `timestamp` (a number in seconds, or an ISO 8601 date and time; all rows or
none); `session_id`, `session` or `conversation_id`; `delay_s`, waited after the end of the
session's previous request.  Other fields of a body (`model`, `temperature`) are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.model import TraceRow
from bench.workload.readers import fields
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source

_OUTPUT = ("max_completion_tokens", "max_tokens", "output_tokens")
_SESSION = ("session_id", "session", "conversation_id")


def _sniff(sample: Sample) -> bool:
    return "messages" in sample.keys


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    clock = fields.Clock(source.counts, per_second=10**9)

    def row(line: int, text: bytes) -> Iterable[TraceRow]:
        record = fields.json_object(text)
        messages = fields.messages(fields.present(record, "messages"), "messages")
        output = _first(record, _OUTPUT)
        session = _first(record, _SESSION)
        delay_s = record.get("delay_s")
        if record.get("tools"):
            source.counts["tools_left_out"] += 1
        timestamp = record.get("timestamp")
        yield TraceRow(
            input_tokens=None,
            output_tokens=None if output is None else fields.tokens(output, "max_tokens"),
            session=None if session is None else str(session),
            think_s=None if delay_s is None else fields.number(delay_s, "delay_s", least=0),
            messages=messages,
            line=line,
            at_s=None if timestamp is None else clock.zero_based_s(_ticks_ns(timestamp)),
        )

    return None, source.each(source.lines(), row)


def _ticks_ns(timestamp: object) -> int:
    if isinstance(timestamp, str) and "-" in timestamp[1:]:
        return fields.instant_ns(timestamp, "timestamp")
    # A float of seconds since 1970 is exact to no more than a microsecond.
    return round(fields.number(timestamp, "timestamp") * 10**6) * 1000


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


FORMAT = TraceFormat("openai_messages", "OpenAI chat bodies with text (JSONL)", _sniff, _read)
