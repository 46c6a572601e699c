"""Where every planned request ended: planned = ok + failed + dropped + aborted."""

from __future__ import annotations

from bench.report import axes, figures
from bench.report.blocks import Block, Cell, Column, Figure, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import count, percent, unknown

_COLOURS = {"ok": "@green", "failed": "@vermilion", "dropped": "@orange", "aborted": "@grey"}


def blocks(evidence: Evidence) -> list[Block]:
    counts = evidence.summary["counts"]
    by_class = counts["failed"] or {}
    ended = {
        "ok": counts["ok"],
        "failed": sum(by_class.values()),
        "dropped": counts["dropped"],
        "aborted": counts["aborted"],
    }
    planned = counts["planned"]
    return [_figure(evidence, ended, planned), _table(evidence, ended, by_class, planned)]


def _table(
    evidence: Evidence, ended: dict[str, int], by_class: dict[str, int], planned: int | None
) -> Table:
    words = evidence.words
    total = sum(ended.values())
    reason = words("absent.unbounded_plan")

    def row(name: str, n: int | None, note: str = "") -> tuple[Cell, Cell, Cell, Cell]:
        if unknown(n) or n is None:
            return Cell(name), absent(reason), absent(reason), Cell(note)
        return Cell(name), Cell(count(n)), Cell(percent(n / (planned or total or 1))), Cell(note)

    rows = [row(words("balance.planned"), planned)]
    for outcome, n in ended.items():
        rows.append(row(words(f"outcome.{outcome}"), n, words(f"outcome.{outcome}_means")))
        if outcome == "failed":
            rows += [row(f"· {name}", n) for name, n in sorted(by_class.items())]
    if planned is not None:
        rows.append(row(words("balance.difference"), planned - total, words("balance.must_be_0")))
    columns = [
        Column(words("balance.outcome")),
        Column(words("column.requests"), "number"),
        Column(words("column.share"), "number"),
        Column(words("column.meaning"), "long"),
    ]
    return Table(words("balance.table"), columns, rows)


def _figure(evidence: Evidence, ended: dict[str, int], planned: int | None) -> Figure:
    words = evidence.words
    total = sum(ended.values())
    key = "balance.reading" if planned == total else "balance.reading_open"
    traces = [
        figures.bars(
            words(f"outcome.{outcome}"),
            [words("balance.bar")],
            [n],
            _COLOURS[outcome],
            hover=f"{words(f'outcome.{outcome}')}: %{{x:,}}",
            across=True,
        )
        for outcome, n in ended.items()
    ]
    return Figure(
        key="balance",
        title=words("balance.figure"),
        reading=words(
            key,
            planned=count(planned) if planned is not None else words("balance.no_plan"),
            total=count(total),
            **{outcome: count(n) for outcome, n in ended.items()},
        ),
        spec=figures.figure(
            traces,
            axes.Axis(words("axis.requests"), format=","),
            axes.Axis(""),
            stacked=True,
            height=150,
        ),
        wide=True,
    )
