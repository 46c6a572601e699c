"""Mooncake (FAST'25 and arXiv files): lengths and prefix-chained hashes of 512-token blocks.

Source: kvcache-ai/Mooncake, FAST25-release/traces, and "Mooncake: Trading More Storage for Less
Computation", FAST'25, §4.  One JSON object on a line: `timestamp` in milliseconds (the arXiv file
does not start at 0), `input_length`, `output_length`, `hash_ids`.  An id names its block and every
block before it, and is numbered anew in each file.  The last block is partial (rule `ceil`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.model import TraceRow
from bench.workload.readers import fields
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source

_BLOCKS = Blocks(tokens=512, rule="ceil", hashes="prefix")
_KEYS = {"timestamp", "input_length", "output_length", "hash_ids"}


def _sniff(sample: Sample) -> bool:
    return sample.keys >= _KEYS and "chat_id" not in sample.keys


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    clock = fields.Clock(source.counts, per_second=1000)

    def row(line: int, text: bytes) -> Iterable[TraceRow]:
        record = fields.json_object(text)
        input_tokens = fields.tokens(fields.present(record, "input_length"), "input_length")
        if "session_id" in record or "delay" in record:
            source.counts["session_unread"] += 1
        yield TraceRow(
            input_tokens=input_tokens,
            output_tokens=fields.tokens(fields.present(record, "output_length"), "output_length"),
            block_ids=fields.checked_blocks(
                fields.present(record, "hash_ids"), "hash_ids", input_tokens, _BLOCKS
            ),
            line=line,
            at_s=clock.zero_based_s(
                fields.number(fields.present(record, "timestamp"), "timestamp")
            ),
        )

    return _BLOCKS, source.each(source.lines(), row)


FORMAT = TraceFormat("mooncake", "Mooncake block-hash trace (JSONL)", _sniff, _read)
