"""Azure LLM inference 2023 and 2024, LMM 2025: times and lengths, nothing else.

Source: Azure/AzurePublicDataset; Patel et al., "Splitwise", ISCA'24; Stojkovic et al.,
"DynamoLLM", HPCA'25; Qiu et al., "ModServe", SoCC'25.  CSV with columns TIMESTAMP (seven fractional
digits in 2023, an offset in 2024; without an offset it is UTC), ContextTokens, GeneratedTokens, and
in 2025 NumImages, which is counted and not replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.model import TraceRow
from bench.workload.readers import fields
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source

_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def _sniff(sample: Sample) -> bool:
    return set(sample.columns) >= set(_COLUMNS)


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    columns, table = source.csv_table(_COLUMNS)
    clock = fields.Clock(source.counts, per_second=10**9)

    def row(line: int, values: list[str]) -> Iterable[TraceRow]:
        record = fields.named(columns, values)
        input_tokens = fields.tokens(record["ContextTokens"], "ContextTokens")
        output_tokens = fields.tokens(record["GeneratedTokens"], "GeneratedTokens")
        at_s = clock.zero_based_s(fields.instant_ns(record["TIMESTAMP"], "TIMESTAMP"))
        if record.get("NumImages", "0") != "0":
            source.counts["images_left_out"] += 1
        yield TraceRow(at_s, input_tokens, output_tokens, line=line)

    return None, source.each(table, row)


FORMAT = TraceFormat("azure", "Azure LLM and LMM inference trace (CSV)", _sniff, _read)
