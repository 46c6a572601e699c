"""ShareGPT conversations as text: one JSON array, read one element at a time.

Two layouts: `{"id", "conversations": [{"from", "value"}]}` (ShareGPT) and `{"input",
"output_length"}` (LMBenchmark).  A conversation is a session with a turn for each run of human
messages; a turn appends to the live conversation, or, with `recorded_answers`, is the whole
conversation so far as recorded.  Conversations that begin with an answer (36.7 % of the public file
was cut so) lose that answer, and it is counted.  There are no times; only LMBenchmark has lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bench.model import Message, TraceRow
from bench.workload.readers import fields
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "system": "system",
}


def _sniff(sample: Sample) -> bool:
    head = sample.head
    lmbenchmark = b'"input"' in head and b'"output_length"' in head
    return sample.is_array and (b'"conversations"' in head or lmbenchmark)


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    def rows(number: int, element: Any) -> Iterable[TraceRow]:
        if not isinstance(element, dict):
            raise fields.RowError(f"expected an object, got {fields.shown(element)}")
        if "conversations" in element:
            return _conversation(source, number, element)
        return [_prompt(number, element)]

    return None, source.each(source.elements(), rows, item_name="element")


def _prompt(number: int, element: dict[str, Any]) -> TraceRow:
    content = fields.text(fields.present(element, "input"), "input")
    return TraceRow(
        at_s=None,
        input_tokens=None,
        output_tokens=fields.tokens(fields.present(element, "output_length"), "output_length"),
        messages=({"role": "user", "content": content},),
        line=number,
    )


def _conversation(source: Source, number: int, element: dict[str, Any]) -> list[TraceRow]:
    history: list[Message] = []
    new: list[Message] = []
    turns: list[tuple[Message, ...]] = []
    whole = source.options.recorded_answers

    def close_turn() -> None:
        if any(message["role"] == "user" for message in new):
            turns.append(tuple(history + new if whole else new))
            history.extend(new)
            new.clear()

    for message in _messages(element["conversations"]):
        if message["role"] != "assistant":
            new.append(message)
            continue
        close_turn()
        if turns:
            history.append(message)
        else:
            source.counts["answers_without_question"] += 1
    close_turn()
    if not turns:
        source.counts["conversations_without_question"] += 1
    name = str(number) if len(turns) > 1 else None
    return [
        TraceRow(None, None, None, name, None, None, messages, not whole and turn > 0, number)
        for turn, messages in enumerate(turns)
    ]


def _messages(value: Any) -> Iterator[Message]:
    if not isinstance(value, list):
        raise fields.RowError(f"conversations must be a list, got {fields.shown(value)}")
    for each in value:
        if not isinstance(each, dict):
            raise fields.RowError(f"conversations must hold objects, got {fields.shown(each)}")
        role = _ROLES.get(str(each.get("from")))
        if role is None:
            raise fields.RowError(
                f"'from' must be one of {', '.join(_ROLES)}, got {fields.shown(each.get('from'))}"
            )
        yield {"role": role, "content": fields.text(each.get("value"), "value")}


FORMAT = TraceFormat("sharegpt", "ShareGPT or LMBenchmark conversations (JSON)", _sniff, _read)
