"""MLPerf Endpoints agentic conversations: text, one message on a line.

Source: mlcommons/endpoints, the agentic dataset's schema.  Each row has `conversation_id`, `turn`,
`role`, and `content`, `tool_calls` or `tool_results`; the first has the `system` prompt.  Each
assistant message is the answer to one request whose messages are all that stand before it.
`delay_seconds` is waited before the request it leads to.  Answers have no token counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bench.model import Message, TraceRow
from bench.workload.readers import fields
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source

_ROLES = ("system", "developer", "user", "assistant", "tool")
_SENT = ("content", "reasoning_content", "tool_calls", "tool_call_id", "name")


def _sniff(sample: Sample) -> bool:
    return sample.keys >= {"conversation_id", "turn", "role"}


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    return None, source.each(source.lines(), _Conversations(source).row)


class _Conversations:
    """The conversation being read: its messages so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known: set[str] = set()
        self._name: str | None = None
        self._messages: list[Message] = []
        self._delay_s: float | None = None
        self._answers = 0

    def row(self, line: int, text: bytes) -> Iterable[TraceRow]:
        record = fields.json_object(text)
        name = fields.text(fields.present(record, "conversation_id"), "conversation_id")
        role = fields.present(record, "role")
        if role not in _ROLES:
            raise fields.RowError(f"role must be one of {', '.join(_ROLES)}, got {role!r}")
        if name != self._name:
            self._begin(name)
        if record.get("tools"):
            self._source.counts["tools_left_out"] += 1
        if record.get("system"):
            self._messages.append(
                {"role": "system", "content": fields.text(record["system"], "system")}
            )
        if "delay_seconds" in record:
            delay_s = fields.number(record["delay_seconds"], "delay_seconds", least=0)
            self._delay_s = (self._delay_s or 0.0) + delay_s
        if role == "assistant":
            yield self._request(line, record)
        self._messages.extend(_messages(role, record))

    def _begin(self, name: str) -> None:
        if name in self._known:
            raise fields.RowError(
                f"conversation {name!r} goes on after another began; "
                "the messages of a conversation must stand together"
            )
        self._known.add(name)
        self._name = name
        self._messages = []
        self._delay_s = None
        self._answers = 0

    def _request(self, line: int, record: dict[str, Any]) -> TraceRow:
        if not self._messages:
            raise fields.RowError("an assistant message with no message before it")
        most = record.get("max_new_tokens")
        think_s = self._delay_s if self._answers else None
        self._answers += 1
        self._delay_s = None
        return TraceRow(
            at_s=None,
            input_tokens=None,
            output_tokens=None if most is None else fields.tokens(most, "max_new_tokens"),
            session=self._name,
            think_s=think_s,
            messages=tuple(self._messages),
            line=line,
        )


def _messages(role: str, record: dict[str, Any]) -> Iterator[Message]:
    """The chat messages of one row: several where a tool row holds several results."""
    results = record.get("tool_results")
    if results is None:
        sent = {key: record[key] for key in _SENT if record.get(key) is not None}
        yield {"role": role, "content": "", **sent}
        return
    if not isinstance(results, list):
        raise fields.RowError(f"tool_results must be a list, got {fields.shown(results)}")
    for result in results:
        if not isinstance(result, dict):
            raise fields.RowError(f"tool_results must hold objects, got {fields.shown(result)}")
        yield {"role": "tool", "content": "", **result}


FORMAT = TraceFormat("mlperf_agentic", "MLPerf agentic conversations (JSONL)", _sniff, _read)
