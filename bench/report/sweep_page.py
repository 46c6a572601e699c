"""The page of a sweep: curves over the load, the knee, one row for each step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.report import axes, figures
from bench.report.blocks import Block, Cell, Column, Figure, Section, Table, absent
from bench.report.changes import own, quantity
from bench.report.numbers import count, percent, significant
from bench.report.page import assemble, write_page
from bench.report.sections.band import SYMBOLS, Band, Card
from bench.report.sweep_rows import (
    Found,
    because,
    cells,
    columns,
    findings,
    interval_of,
    load_of,
    scaling_text,
)
from bench.report.thin import Floats
from bench.report.words import Words

_REPORT = "report.html"


def write_sweep_page(found: Found, path: Path, *, language: str) -> Path:
    """Write the page of a sweep.json to `path`, beside the sweep's runs."""
    words = Words(language)
    sections = [
        _curves(words, found),
        _steps(words, found, path.parent),
        _findings(words, found),
    ]
    return write_page(assemble(words, _band(words, found), sections), path)


def _band(words: Words, found: Found) -> Band:
    verdict, subject = found["verdict"], found["subject"]
    facts = (
        (words("band.workload"), own(words, subject["recipe"])),
        (words("band.target"), subject["url"]),
        (words("band.model"), subject["model"]),
        (words("band.server"), subject["server"]),
        (words("band.profile"), own(words, found["profile"]["title"]) if found["profile"] else ""),
        (words("sweep.steps"), count(len(found["steps"]))),
    )
    return Band(
        title=own(words, subject["recipe"]) or "",
        tone=verdict,
        symbol=SYMBOLS[verdict],
        verdict_word=words(f"verdict.{verdict}"),
        because=because(words, found),
        cards=tuple(_cards(words, found)),
        facts=tuple((name, fact) for name, fact in facts if fact),
        kind="sweep.kind",
    )


def _cards(words: Words, found: Found) -> list[Card]:
    made = []
    for by in ("attained", "saturation"):
        row = found[by]
        if row is None:
            continue
        lost = load_of(words, found, row["lost"])
        made.append(
            Card(
                name=words(f"sweep.{by}_{found['loop']}"),
                value=load_of(words, found, row["value"]),
                limit=words("sweep.lost", load=lost) if row["lost"] else words("sweep.never_lost"),
                interval=interval_of(words, found, row),
                note=words(f"sweep.{by}_note_{found['loop']}"),
            )
        )
    peak = found["peak_output_tps"]["value"]
    made.append(Card(words("sweep.peak"), quantity(words, peak, "tokens/s"), "", ""))
    scaling = found["metrics"]["scaling_coefficient"]
    if scaling["value"] is not None:
        replicas = words("sweep.replicas", n=found["replicas"])
        value = significant(scaling["value"])
        made.append(Card(words("sweep.scaling"), value, replicas, scaling_text(scaling)))
    return made


def _curves(words: Words, found: Found) -> Section:
    """Throughput, latency and attainment over the load; steps that are not valid are left out."""
    steps = [step for step in found["steps"] if step["valid"]]
    blocks: list[Block] = []
    if steps:
        blocks = [
            _throughput(words, found, steps),
            _tokens(words, found, steps),
            _latency(words, found, steps, "ttft_s"),
            _latency(words, found, steps, "tpot_s"),
        ]
        if found["attained"] is not None:
            blocks.append(_attainment(words, found, steps))
    lead = words("sweep.curves_lead", level=percent(found["confidence"]))
    return Section("curves", words("sweep.curves"), lead, tuple(blocks))


def _throughput(words: Words, found: Found, steps: Sequence[Found]) -> Figure:
    loads = _loads(steps)
    traces = [_curve(words, steps, "request_rps", words("sweep.short_request_rps"), "@blue", "1/s")]
    if found["attained"] is not None:
        name = words("sweep.short_goodput_rps")
        traces.append(_curve(words, steps, "goodput_rps", name, "@green", "1/s"))
    if found["loop"] == "open":
        hover = f"%{{x:.4~r}} {words('unit.1/s')}"
        offered = figures.line(
            words("sweep.short_offered_rps"), loads, loads, "@grey", hover=hover, dash="dot"
        )
        traces.insert(0, offered)
    last, knee = steps[-1]["metrics"]["request_rps"]["value"], found["saturation"]["value"]
    reading = words(
        "sweep.reading_throughput" if knee is not None else "sweep.reading_throughput_open",
        load=load_of(words, found, steps[-1]["load"]),
        achieved=quantity(words, last, "1/s"),
        knee=load_of(words, found, knee),
    )
    axis = axes.Axis(words("axis.requests_per_s"), from_zero=True)
    return _figure(words, found, steps, "throughput", reading, traces, axis)


def _tokens(words: Words, found: Found, steps: Sequence[Found]) -> Figure:
    name = words("sweep.short_output_tps")
    trace = _curve(words, steps, "output_tps", name, "@blue", "tokens/s")
    peak = quantity(words, found["peak_output_tps"]["value"], "tokens/s")
    axis = axes.Axis(words("axis.tokens_per_s"), format="~s", from_zero=True)
    reading = words("sweep.reading_tokens", peak=peak)
    return _figure(words, found, steps, "tokens", reading, [trace], axis)


def _latency(words: Words, found: Found, steps: Sequence[Found], metric: str) -> Figure:
    """P50 and P99 with their intervals, and the good set's limit."""
    short, traces, known = words(f"short.{metric}"), [], []
    for statistic, colour in (("p50", "@blue"), ("p99", "@orange")):
        rows = [_percentile(step, metric, statistic) for step in steps]
        values = np.array([_number(row["value"]) for row in rows])
        ends = tuple(np.array([_number(row[end]) for row in rows]) for end in ("low", "high"))
        told = [_told(words, row, "s") for row in rows]
        name = f"{statistic.upper()} {short}"
        traces.append(
            figures.whiskers(name, _loads(steps), values, (ends[0], ends[1]), colour,
                             hover=f"{name} %{{text}}", text=told)
        )  # fmt: skip
        known += [value for value in values if np.isfinite(value)]
    good = found["profile"]["good"] if found["profile"] else []
    bounds = [limit["bound"] for limit in good if limit["metric"] == metric]
    marks = [figures.Mark(bound, words("sweep.good_limit"), axis="y") for bound in bounds]
    first, last = (_percentile(step, metric, "p99")["value"] for step in (steps[0], steps[-1]))
    reading = words(
        "sweep.reading_latency",
        name=f"P99 {short}",
        first=quantity(words, first, "s"),
        last=quantity(words, last, "s"),
    )
    axis = axes.duration(short, [*known, *bounds])
    return _figure(words, found, steps, metric.removesuffix("_s"), reading, traces, axis, marks)


def _attainment(words: Words, found: Found, steps: Sequence[Found]) -> Figure:
    wanted = found["attained"]["wanted"]
    name = words("sweep.short_goodput_fraction")
    trace = _curve(words, steps, "goodput_fraction", name, "@green", "fraction")
    share = quantity(words, wanted, "fraction")
    marks = [figures.Mark(wanted, share, axis="y")]
    load = found["attained"]["value"]
    reading = words(
        "sweep.reading_attained" if load is not None else "sweep.reading_attained_open",
        share=share,
        load=load_of(words, found, load),
    )
    axis = axes.share(name)
    return _figure(words, found, steps, "attainment", reading, [trace], axis, marks)


def _figure(
    words: Words,
    found: Found,
    steps: Sequence[Found],
    key: str,
    reading: str,
    traces: Sequence[figures.Trace],
    y: axes.Axis,
    marks: Sequence[figures.Mark] = (),
) -> Figure:
    """A figure over the load, with the knee where there is one."""
    knee = found["saturation"]["value"] if found["saturation"]["lost"] is not None else None
    drawn = list(marks)
    if knee is not None:
        drawn.append(
            figures.Mark(knee, words("sweep.knee"), colour="@purple", dash="dot", foot=True)
        )
    ticks = tuple((load, significant(load)) for load in axes.apart(_loads(steps).tolist()))
    x = axes.Axis(words(f"sweep.load_{found['loop']}"), log=True, ticks=ticks)
    return Figure(
        key=f"sweep-{key}",
        title=words(f"sweep.figure_{key}"),
        reading=reading,
        spec=figures.figure(traces, x, y, marks=drawn),
        table=_same(words, found, steps, traces),
    )


def _same(
    words: Words, found: Found, steps: Sequence[Found], traces: Sequence[figures.Trace]
) -> Table:
    """The figure's numbers as a table."""
    heads = [Column(words(f"sweep.load_{found['loop']}"), "number")]
    told = [trace for trace in traces if "text" in trace]
    heads += [Column(str(trace["name"]), "number") for trace in told]
    rows = [
        [Cell(significant(step["load"])), *(Cell(trace["text"][k]) for trace in told)]
        for k, step in enumerate(steps)
    ]
    return Table(words("sweep.steps"), heads, rows)


def _curve(
    words: Words, steps: Sequence[Found], metric: str, name: str, colour: str, unit: str
) -> figures.Trace:
    """A run metric over the load, with its intervals."""
    rows = [step["metrics"][metric] for step in steps]
    values, low, high = (
        np.array([_number(row[end]) for row in rows]) for end in ("value", "low", "high")
    )
    told = [_told(words, row, unit) for row in rows]
    return figures.whiskers(
        name, _loads(steps), values, (low, high), colour, hover=f"{name} %{{text}}", text=told
    )


def _told(words: Words, row: Found, unit: str) -> str:
    """A value with its interval."""
    infinite = row.get("infinite", ())
    value = "∞" if "value" in infinite else quantity(words, row["value"], unit)
    if row["low"] is None or (row["high"] is None and "high" not in infinite):
        return value
    high = "∞" if "high" in infinite else quantity(words, row["high"], unit)
    return f"{value} [{quantity(words, row['low'], unit)}, {high}]"


def _percentile(step: Found, metric: str, statistic: str) -> Found:
    return next(
        row
        for row in step["percentiles"]
        if (row["metric"], row["statistic"]) == (metric, statistic)
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _loads(steps: Sequence[Found]) -> Floats:
    return np.array([step["load"] for step in steps], dtype=np.float64)


def _steps(words: Words, found: Found, folder: Path) -> Section:
    rows = []
    for step in found["steps"]:
        report = f"{step['run']}/{_REPORT}"
        rows.append(cells(words, found, step, href=report if (folder / report).is_file() else ""))
    table = Table(words("sweep.steps"), columns(words, found), rows)
    return Section("steps", words("sweep.steps"), words("sweep.steps_lead"), (table,))


def _findings(words: Words, found: Found) -> Section:
    heads = [Column(words("sweep.finding")), Column(words("column.value"))]
    rows = [[Cell(name), Cell(value)] for name, value in findings(words, found)]
    for name in ("max_goodput_rps", "scaling_coefficient"):
        reason = found["metrics"][name]["absent"]
        if reason is not None:
            rows.append([Cell(words(f"sweep.metric_{name}")), absent(own(words, reason))])
    table = Table(words("sweep.findings"), heads, rows)
    return Section("findings", words("sweep.findings"), words("sweep.findings_lead"), (table,))
