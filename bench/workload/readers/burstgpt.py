"""BurstGPT: times in seconds, lengths, and in the third file sessions.

Source: HPMLL/BurstGPT; Wang et al., "BurstGPT", KDD'25.  The third file has two columns more
(`Session ID`, `Elapsed time`) in the middle and does not start at 0, so columns are found by name.
A row with 0 response tokens is a failure: dropped and counted, unless it is asked to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.model import TraceRow
from bench.workload.readers import fields
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source

_COLUMNS = ("Timestamp", "Request tokens", "Response tokens")


def _sniff(sample: Sample) -> bool:
    return set(sample.columns) >= set(_COLUMNS)


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    columns, table = source.csv_table(_COLUMNS)
    clock = fields.Clock(source.counts)

    def row(line: int, values: list[str]) -> Iterable[TraceRow]:
        record = fields.named(columns, values)
        input_tokens = fields.tokens(record["Request tokens"], "Request tokens")
        output_tokens = fields.tokens(record["Response tokens"], "Response tokens")
        at_s = clock.zero_based_s(fields.number(record["Timestamp"], "Timestamp"))
        if output_tokens == 0 and not source.options.keep_failures:
            source.counts["failed"] += 1
            return
        session = record.get("Session ID", "").strip() or None
        yield TraceRow(at_s, input_tokens, output_tokens, session=session, line=line)

    return None, source.each(table, row)


FORMAT = TraceFormat("burstgpt", "BurstGPT trace (CSV)", _sniff, _read)
