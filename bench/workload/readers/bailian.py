"""Qwen-Bailian: lengths, content hashes of 16-token blocks, and chains of chats.

Source: alibaba-edu/qwen-bailian-usagetraces-anon.  One JSON object on a line: `chat_id`,
`parent_chat_id` (-1 at the root), `timestamp` in seconds, `input_length`, `output_length`, `type`,
`turn`, `hash_ids`.  An id names the content of its own block only.  Lengths and blocks are of the
tokens after the chat template, and each row is the whole request with its history.  A chain of
parents is one session, named by its root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.model import TraceRow
from bench.workload.readers import fields
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source

_BLOCKS = Blocks(tokens=16, rule="ceil", hashes="content")
_KEYS = {"chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids"}


def _sniff(sample: Sample) -> bool:
    return sample.keys >= _KEYS


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    clock = fields.Clock(source.counts)
    roots: dict[int, int] = {}

    def row(line: int, text: bytes) -> Iterable[TraceRow]:
        record = fields.json_object(text)
        input_tokens = fields.tokens(fields.present(record, "input_length"), "input_length")
        output_tokens = fields.tokens(fields.present(record, "output_length"), "output_length")
        block_ids = fields.checked_blocks(
            fields.present(record, "hash_ids"), "hash_ids", input_tokens, _BLOCKS
        )
        chat = fields.whole(fields.present(record, "chat_id"), "chat_id")
        parent = fields.whole(fields.present(record, "parent_chat_id"), "parent_chat_id")
        at_s = clock.zero_based_s(fields.number(fields.present(record, "timestamp"), "timestamp"))
        if parent >= 0 and parent not in roots:
            source.counts["parent_unknown"] += 1
        roots[chat] = roots.get(parent, chat)
        session = str(roots[chat])
        yield TraceRow(at_s, input_tokens, output_tokens, session, block_ids=block_ids, line=line)

    return _BLOCKS, source.each(source.lines(), row)


FORMAT = TraceFormat("bailian", "Qwen-Bailian usage trace (JSONL)", _sniff, _read)
