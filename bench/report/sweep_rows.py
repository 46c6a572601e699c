"""A sweep's steps as cells, for its page and for a merge request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.blocks import Cell, Column, absent
from bench.report.changes import own, quantity
from bench.report.numbers import DASH, SPACE, significant, with_unit
from bench.report.sections.band import SYMBOLS
from bench.report.words import Words

Found = Mapping[str, Any]

TONES: Mapping[str, str] = {
    "met": "pass",
    "missed": "fail",
    "undecided": "undecided",
    "invalid": "invalid",
    "none": "none",
}
_SHOWN = (
    ("offered_rps", "value", "1/s"),
    ("request_rps", "value", "1/s"),
    ("ttft_s", "p50", "s"),
    ("ttft_s", "p99", "s"),
    ("tpot_s", "p50", "s"),
    ("tpot_s", "p99", "s"),
    ("output_tps", "value", "tokens/s"),
    ("goodput_rps", "value", "1/s"),
    ("goodput_fraction", "value", "fraction"),
    ("error_rate", "value", "fraction"),
)
"""Metric, statistic and unit of each column of the table of steps."""
_UNITS_IN_HEAD = ("1/s", "tokens/s")


def load_of(words: Words, found: Found, load: float | None) -> str:
    """`8 req/s` or `8 slots`."""
    if load is None:
        return DASH
    return with_unit(significant(load), words(f"sweep.unit_{found['loop']}"))


def interval_of(words: Words, found: Found, row: Found) -> str:
    """`4 – 16 req/s`: from the highest load shown to hold to the lowest shown not to."""
    if row["low"] is None and row["high"] is None:
        return words("sweep.no_interval")
    if row["low"] is None:
        return f"< {load_of(words, found, row['high'])}"
    if row["high"] is None:
        return f"≥ {load_of(words, found, row['low'])}"
    return f"{significant(row['low'])} – {load_of(words, found, row['high'])}"


def columns(words: Words, found: Found) -> list[Column]:
    """Heads of the table of steps."""
    wanted = found["attainment"]
    share = DASH if wanted is None else quantity(words, wanted, "fraction")
    heads = [
        Column(words(f"sweep.load_{found['loop']}"), "number"),
        Column(words("sweep.verdict")),
        Column(words("sweep.attained", share=share), "", words("sweep.attained_note")),
    ]
    for metric, statistic, unit in _SHOWN:
        head = _head(words, metric, statistic)
        if unit in _UNITS_IN_HEAD:
            head += f" ({words(f'unit.{unit}')})"
        heads.append(Column(head, "number"))
    if found["loop"] == "open":
        heads.append(Column(words("sweep.sustained"), "number", words("sweep.sustained_note")))
    return heads


def _head(words: Words, metric: str, statistic: str) -> str:
    known = f"short.{metric}"
    short = words(known if words.known(known) else f"sweep.short_{metric}")
    return short if statistic == "value" else f"{statistic.upper()} {short}"


def cells(words: Words, found: Found, step: Found, href: str = "") -> list[Cell]:
    """One step; `href` leads to its run's report."""
    verdict, attained = step["verdict"], step["attained"]
    note = ", ".join(step["reasons"])
    row = [
        Cell(significant(step["load"]), href=href),
        Cell(f"{SYMBOLS[verdict]} {words(f'verdict.{verdict}')}", note=note, tone=verdict),
        Cell(words(f"sweep.step_{attained}"), tone=TONES[attained]),
    ]
    for metric, statistic, unit in _SHOWN:
        entry = step["metrics"][metric]
        if statistic in entry.get("infinite", ()):
            row.append(Cell("∞", note=words("absent.infinite")))
        elif entry[statistic] is None:
            reason = own(words, entry.get("absent")) or words("absent.no_value")
            row.append(absent(reason))
        elif unit in _UNITS_IN_HEAD:
            row.append(Cell(significant(entry[statistic])))
        else:
            row.append(Cell(quantity(words, entry[statistic], unit)))
    if found["loop"] == "open":
        share = step["sustained"]["value"]
        known = share is not None
        row.append(
            Cell(quantity(words, share, "fraction")) if known else absent(words("absent.no_value"))
        )
    return row


def because(words: Words, found: Found) -> str:
    """One sentence on what the verdict rests on."""
    verdict = found["verdict"]
    if verdict in ("invalid", "none"):
        return words(f"sweep.because_{verdict}")
    by = "saturation" if found["goal"] == "max-rate" else "attained"
    row = found[by]
    if row is None:
        return words("sweep.because_steps")
    named = words(f"sweep.{by}_{found['loop']}")
    value, ends = load_of(words, found, row["value"]), interval_of(words, found, row)
    text = words("sweep.because", what=named, value=value, interval=ends)
    more = []
    if found["require_rps"] is not None:
        more.append(words("sweep.required", rate=load_of(words, found, found["require_rps"])))
    if not found["ended"]:
        more.append(words("sweep.not_ended"))
    broken = [step for step in found["steps"] if not step["valid"]]
    if broken:
        more.append(words("sweep.broken", n=len(broken)))
    return words("page.sentence_break").join([text, *more])


def markdown(found: Found, words: Words) -> str:
    """summary.md: the verdict, one row for each step, what was found."""
    heads = [column.title for column in columns(words, found)]
    verdict = found["verdict"]
    lines = [
        f"### {SYMBOLS[verdict]} {words('sweep.kind')}: {words(f'verdict.{verdict}')}",
        "",
        because(words, found),
        "",
        f"| {' | '.join(heads)} |",
        f"|---:|---|---|{'---:|' * (len(heads) - 3)}",
    ]
    for step in found["steps"]:
        lines.append(f"| {' | '.join(cell.text for cell in cells(words, found, step))} |")
    lines.append("")
    lines += [f"- {name}: {value}" for name, value in findings(words, found)]
    return "\n".join(lines).replace(SPACE, " ") + "\n"


def findings(words: Words, found: Found) -> list[tuple[str, str]]:
    """What the steps tell together: name, value with its interval."""
    told = []
    for by in ("attained", "saturation"):
        row = found[by]
        if row is not None:
            ends = interval_of(words, found, row)
            value = load_of(words, found, row["value"])
            told.append((words(f"sweep.{by}_{found['loop']}"), f"{value} ({ends})"))
    peak = found["peak_output_tps"]["value"]
    told.append((words("sweep.peak"), quantity(words, peak, "tokens/s")))
    scaling = found["metrics"]["scaling_coefficient"]
    if scaling["value"] is not None:
        told.append((words("sweep.scaling"), scaling_text(scaling)))
    return told


def scaling_text(scaling: Found) -> str:
    """`0.91 (0.85 – 0.97)`."""
    ends = (DASH if scaling[e] is None else significant(scaling[e]) for e in ("low", "high"))
    return f"{significant(scaling['value'])} ({' – '.join(ends)})"
