"""The error bars of the client, where `bench run --selftest` measured them before the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.blocks import Block, Cell, Column, Note, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import count, percent, seconds, significant, unknown

_STATISTICS = ("p50", "p99", "max", "bias")


def blocks(evidence: Evidence) -> list[Block]:
    """Nothing for a run without a self-test."""
    found = evidence.run.selftest
    if found is None:
        return []
    words = evidence.words
    names = {
        "ttft_s": words("selftest.ttft"),
        "itl_s": words("selftest.itl"),
        "lag_s": words("selftest.lag"),
    }
    rows = [(Cell(name), *_spread(evidence, found[key])) for key, name in names.items()]
    heads = ("P50", "P99", words("column.max"), words("selftest.bias"), words("column.n"))
    columns = [
        Column(words("selftest.quantity")),
        *(Column(head, "number") for head in heads),
    ]
    return [
        Table(words("selftest.table"), columns, rows),
        Note(_reading(evidence, found)),
    ]


def _spread(evidence: Evidence, spread: Mapping[str, Any]) -> list[Cell]:
    reason = absent(evidence.words("absent.no_value"))
    values = [spread[key] for key in _STATISTICS]
    cells = [reason if unknown(value) else Cell(seconds(value)) for value in values]
    return [*cells, Cell(count(spread["n"]))]


def _reading(evidence: Evidence, found: Mapping[str, Any]) -> str:
    """At which load, at what cost, and that the simulator shared the machine."""
    words, load = evidence.words, found["load"]
    if load["streams"] is not None:
        flow = words("selftest.streams", n=count(load["streams"]))
    else:
        flow = words("selftest.rate", rate=significant(load["rate_rps"]))
    cpu_us, uncertain = found["cpu_us_per_token"], found["uncertain_first_fraction"]
    dash = words("selftest.unknown")
    return words(
        "selftest.reading",
        flow=flow,
        input=count(load["input_tokens"]),
        output=count(load["output_tokens"]),
        tokens=count(found["tokens_per_s"]),
        cpu=dash if unknown(cpu_us) else significant(cpu_us),
        uncertain=dash if unknown(uncertain) else percent(uncertain),
        lost=count(found["lost"]),
        all=count(found["requests"] + found["lost"]),
    )
