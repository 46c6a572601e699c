"""A comparison as JSON, as JUnit XML and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from bench.judge.compare import Comparison, Row
from bench.judge.compare_pairs import Pair
from bench.judge.compare_stats import Change, Scale, shown_change
from bench.judge.metrics import METRICS
from bench.judge.stats import finite_or_none

SCHEMA = 1
SYMBOLS: Mapping[str, str] = {
    "worse": "✗",
    "better": "✓",
    "same": "=",
    "undecided": "?",
    "none": "·",
}


def as_json(found: Comparison) -> dict[str, Any]:
    """The comparison as plain values.

    `change`, `low` and `high` of a metric are fractions of BASE (`scale` "relative") or differences
    of fractions ("points"); None where unknown.
    """
    return {
        "schema": SCHEMA,
        "verdict": found.change.value,
        "base": list(found.base),
        "new": list(found.new),
        "confidence": found.confidence,
        "paired": found.paired,
        "unlike": [each.as_json() for each in found.unlike],
        "invalid": list(found.invalid),
        "notes": [text.as_json() for text in found.notes],
        "metrics": [row_as_json(row) for row in found.rows],
        "pairs": [_pair_as_json(pair) for pair in found.pairs],
    }


def row_as_json(row: Row) -> dict[str, Any]:
    """One metric of a comparison."""
    metric, found = METRICS[row.compared.metric], row.found
    edges = {name: getattr(found, name) for name in ("change", "low", "high")}
    return {
        "metric": row.compared.metric,
        "title": metric.title.as_json(),
        "unit": metric.unit,
        "direction": metric.direction,
        "statistic": row.compared.statistic,
        "scale": row.scale.value,
        "base": finite_or_none(found.base),
        "new": finite_or_none(found.new),
        **{name: finite_or_none(shown_change(edge, row.scale)) for name, edge in edges.items()},
        "difference": finite_or_none(found.new - found.base),
        "p": finite_or_none(found.p),
        "p_adjusted": finite_or_none(row.p_adjusted),
        "basis": found.basis.value,
        "minimum_effect": row.compared.minimum_effect,
        "result": row.change.value,
        "advice": row.advice.as_json() if row.advice else None,
    }


def _pair_as_json(pair: Pair) -> dict[str, Any]:
    edges = {name: math.expm1(getattr(pair, name)) for name in ("change", "low", "high")}
    return {
        "metric": pair.metric,
        "n": pair.n,
        **edges,
        "slower_fraction": pair.slower_fraction,
    }


def junit(suite: str, found: Mapping[str, Any]) -> bytes:
    """JUnit XML of a comparison's JSON: each metric is a test case.

    Worse fails.  What is undecided or absent is skipped, with the reason: not passed, not failed.
    """
    rows = found["metrics"]
    root = ElementTree.Element("testsuites")
    made = ElementTree.SubElement(
        root,
        "testsuite",
        name=suite,
        tests=str(len(rows)),
        failures=str(sum(row["result"] == Change.WORSE for row in rows)),
        skipped=str(sum(row["result"] in (Change.UNDECIDED, Change.NONE) for row in rows)),
    )
    for row in rows:
        name = f"{row['metric']} {row['statistic']}"
        case = ElementTree.SubElement(made, "testcase", classname="bench.compare", name=name)
        if row["result"] == Change.WORSE:
            ElementTree.SubElement(case, "failure", message=f"{sentence(row)}")
        elif row["result"] in (Change.UNDECIDED, Change.NONE):
            why = (row["advice"] or {}).get("en", "")
            ElementTree.SubElement(case, "skipped", message=f"{sentence(row)}. {why}".strip())
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def sentence(row: Mapping[str, Any]) -> str:
    """`worse: +5.3 % [+4.1 %, +6.5 %], minimum effect 3 %`."""
    effect = percentage(row["minimum_effect"], row["scale"]).removeprefix("+")
    return f"{row['result']}: {shown(row)} {interval(row)}, minimum effect {effect}"


def shown(row: Mapping[str, Any]) -> str:
    """A row's change with its sign."""
    return percentage(row["change"], row["scale"])


def interval(row: Mapping[str, Any]) -> str:
    """A row's interval in brackets; "—" where it has none."""
    if row["low"] is None or row["high"] is None:
        return "—"
    return f"[{percentage(row['low'], row['scale'])}, {percentage(row['high'], row['scale'])}]"


def percentage(value: float | None, scale: str) -> str:
    """A signed change: per cent of BASE, or percentage points."""
    if value is None:
        return "—"
    unit = "pt" if scale == Scale.POINTS else "%"
    scaled = value * 100
    digits = 3 if unit == "pt" and abs(scaled) < 0.1 else 2 if abs(scaled) < 10 else 1
    text = f"{scaled:+.{digits}f}"
    return f"{text.replace('-', '−')} {unit}"


def markdown(found: Mapping[str, Any], title: str) -> str:
    """A comparison's JSON as a Markdown summary for a merge request."""
    symbol = SYMBOLS[found["verdict"]]
    lines = [f"### {symbol} {title}: {found['verdict']}", ""]
    lines += [f"BASE {_names(found['base'])}, NEW {_names(found['new'])}.", ""]
    lines += [
        "| metric | base | new | change | interval | least that matters | result |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in found["metrics"]:
        cells = [
            f"`{row['metric']}` {row['statistic'] if row['statistic'] != 'value' else ''}".strip(),
            _number(row["base"], row["unit"]),
            _number(row["new"], row["unit"]),
            shown(row),
            interval(row),
            percentage(row["minimum_effect"], row["scale"]).removeprefix("+"),
            f"{SYMBOLS[row['result']]} {row['result']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    level = f"{found['confidence']:.0%}".replace("%", " %")
    lines += ["", f"Intervals at {level}, each metric alone; results after Holm's correction."]
    lines += [f"{text['en']}" for text in found["notes"]]
    lines += [_unlike(each) for each in found["unlike"]]
    lines += [f"Not valid: `{name}`; so nothing is decided." for name in found["invalid"]]
    return "\n".join(lines) + "\n"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _unlike(each: Mapping[str, Any]) -> str:
    values = " / ".join(f"`{value}`" for value in each["values"])
    return f"Compared in spite of a different {each['title']['en']}: {values}."


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "—"
    if unit == "s":
        return f"{value * 1e3:.4g} ms" if value < 1 else f"{value:.4g} s"
    if unit == "fraction":
        return f"{value * 100:.4g} %"
    return f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"
