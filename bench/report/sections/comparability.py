"""The same raw times under the definitions of other tools."""

from __future__ import annotations

from bench.report.blocks import Block, Cell, Column, Note, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import count, seconds, unknown

TOOLS = {
    "bench": "bench",
    "vllm": "vLLM bench serve",
    "guidellm": "GuideLLM",
    "aiperf": "AIPerf",
    "sglang": "SGLang bench_serving",
}
_STATISTICS = ("mean", "p50", "p99")


def blocks(evidence: Evidence) -> list[Block]:
    words = evidence.words
    reason = absent(words("absent.no_value"))
    definitions = evidence.summary["definitions"]
    rows = [
        (
            Cell(TOOLS[tool]),
            Cell(metric.upper()),
            *(reason if unknown(entry[key]) else Cell(seconds(entry[key])) for key in _STATISTICS),
            Cell(count(entry["n"])),
            Cell(words(f"comparability.{tool}_{metric}")),
        )
        for metric in ("ttft", "tpot", "itl")
        for tool in TOOLS
        for entry in (definitions[tool][metric],)
    ]
    columns = [
        Column(words("comparability.tool")),
        Column(words("column.metric")),
        Column(words("column.mean"), "number"),
        Column("P50", "number"),
        Column("P99", "number"),
        Column(words("column.n"), "number"),
        Column(words("comparability.definition"), "long"),
    ]
    return [Table(words("comparability.table"), columns, rows), Note(words("comparability.why"))]
