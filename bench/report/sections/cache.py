"""Cache hit rate in three views, and what a hit is worth (metric system §4)."""

from __future__ import annotations

from typing import Any

from bench.report import axes, figures
from bench.report.blocks import Block, Cell, Column, Figure, Note, Table
from bench.report.evidence import Evidence
from bench.report.numbers import DASH, count, percent, seconds, span, unknown

VIEWS = ("ceiling", "client", "server")
_COLOURS = ("@grey", "@blue", "@green")


def blocks(evidence: Evidence) -> list[Block]:
    cache = evidence.summary["cache"]
    shown: list[Block] = [_views_table(evidence, cache)]
    shown += [Note(evidence.own(text)) for text in cache["reasons"]]
    shown.append(_views_figure(evidence, cache))
    groups = [row for row in cache["ttft_by_share"] if row["n"]]
    if groups:
        shown.append(_ttft_figure(evidence, groups))
    if cache["tiers_tokens"]:
        shown.append(_tiers(evidence, cache["tiers_tokens"]))
    if cache.get("replicas"):
        shown.append(_replicas(evidence, cache["replicas"]))
    return shown


def _views_table(evidence: Evidence, cache: dict[str, Any]) -> Table:
    words = evidence.words
    rows = []
    for view in (*VIEWS, "external"):
        value, metric = cache[view], _METRIC.get(view, f"cache_{view}")
        if view == "external" and unknown(value):
            continue
        reason = evidence.why_unknown(metric)
        gap = None if unknown(value) or unknown(cache["ceiling"]) else value - cache["ceiling"]
        rows.append(
            (
                Cell(words(f"cache.{view}")),
                evidence.cell(metric, value, reason),
                _interval(cache) if view == "client" and not unknown(value) else Cell(DASH),
                Cell(DASH) if gap is None or view == "ceiling" else Cell(_points(evidence, gap)),
                Cell(words(f"cache.from_{view}")),
            )
        )
    columns = [
        Column(words("cache.view")),
        Column(words("column.value"), "number"),
        Column(evidence.interval_title, "number"),
        Column(words("cache.difference"), "number"),
        Column(words("cache.from"), "long"),
    ]
    return Table(words("cache.views"), columns, rows)


def _points(evidence: Evidence, gap: float) -> str:
    return evidence.words("cache.points", n=f"{100 * gap:+.1f}".replace("-", "−"))


_METRIC = {"external": "cache_server_external"}


def _interval(cache: dict[str, Any]) -> Cell:
    if unknown(cache["client_low"]) or unknown(cache["client_high"]):
        return Cell(DASH)
    return Cell(span(percent(cache["client_low"]), percent(cache["client_high"])))


def _views_figure(evidence: Evidence, cache: dict[str, Any]) -> Figure:
    words = evidence.words
    # Plotly puts the first bar at the bottom.
    known = [view for view in reversed(VIEWS) if not unknown(cache[view])]
    bars = figures.bars(
        words("cache.views"),
        [words(f"cache.{view}_short") for view in known],
        [cache[view] for view in known],
        [_COLOURS[VIEWS.index(view)] for view in known],
        hover="%{y}: %{x:.2%}",
        across=True,
    )
    shown = {v: DASH if unknown(cache[v]) else percent(cache[v]) for v in VIEWS}
    return Figure(
        key="cache-views",
        title=words("cache.views"),
        reading=words("cache.reading", **shown),
        spec=figures.figure(
            [bars],
            axes.share(words("axis.hit_rate")),
            axes.Axis(""),
        ),
    )


def _ttft_figure(evidence: Evidence, groups: list[dict[str, Any]]) -> Figure:
    words = evidence.words
    labels = [row["share"] for row in groups]
    traces = [
        figures.points(
            name,
            labels,
            [row[key] for row in groups],
            colour,
            hover=f"{name} · %{{x}}<br>%{{y:.4~s}}s",
            symbol=symbol,
            size=11,
        )
        for name, key, colour, symbol in (
            ("P50", "p50_s", "@blue", "circle"),
            ("P99", "p99_s", "@orange", "diamond"),
        )
    ]
    medians = words("page.list_break").join(
        words("cache.group", share=row["share"], p50=seconds(row["p50_s"])) for row in groups
    )
    rows = [
        (
            Cell(row["share"]),
            Cell(count(row["n"])),
            Cell(seconds(row["p50_s"])),
            Cell(seconds(row["p99_s"])),
        )
        for row in groups
    ]
    marks = evidence.marks("ttft_s", axis="y")
    heads = [Column(words("axis.hit_share"))]
    heads += [Column(title, "number") for title in (words("column.requests"), "P50", "P99")]
    return Figure(
        key="cache-ttft",
        title=words("cache.ttft"),
        reading=words("cache.reading_ttft", groups=medians),
        spec=figures.figure(
            traces,
            axes.Axis(words("axis.hit_share"), categories=True),
            axes.duration(
                evidence.short("ttft_s"),
                [row[key] for row in groups for key in ("p50_s", "p99_s")]
                + [mark.at for mark in marks],
            ),
            marks=marks,
        ),
        table=Table(words("cache.ttft"), heads, rows),
    )


def _tiers(evidence: Evidence, tiers: dict[str, float]) -> Table:
    words = evidence.words
    total = sum(tiers.values())
    rows = [
        (Cell(tier), Cell(count(tokens)), Cell(percent(tokens / total) if total else DASH))
        for tier, tokens in tiers.items()
    ]
    columns = [
        Column(words("cache.tier")),
        Column(words("column.cached"), "number"),
        Column(words("column.share"), "number"),
    ]
    return Table(words("cache.tiers"), columns, rows)


def _replicas(evidence: Evidence, replicas: list[dict[str, Any]]) -> Table:
    words = evidence.words
    rows = [
        (
            Cell(" · ".join(filter(None, (row["source"], row["engine"])))),
            Cell(count(row["looked_up"])),
            Cell(count(row["hit"])),
            Cell(DASH if unknown(row["fraction"]) else percent(row["fraction"])),
        )
        for row in replicas
    ]
    columns = [
        Column(words("cache.replica")),
        *(
            Column(words(name), "number")
            for name in ("cache.looked_up", "cache.found", "cache.server")
        ),
    ]
    return Table(words("cache.replicas"), columns, rows)
