"""Client and server side by side: times, counts, and what explains a difference."""

from __future__ import annotations

from typing import Any

from bench.report.blocks import Block, Cell, Column, Note, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import DASH, count, percent, seconds, significant, span, unknown

_QUANTILES = ("p50", "p99")
_OURS = {"ttft": "ttft_s", "e2e": "e2e_s", "tpot": "tpot_s"}


def blocks(evidence: Evidence) -> list[Block]:
    found = evidence.summary["reconciliation"]
    shown: list[Block] = [_latencies(evidence, found["latencies"]), _counts(evidence, found)]
    shown += [Note(text) for text in _readings(evidence, found)]
    shown += [Note(evidence.own(text)) for text in found["remarks"]]
    return shown


def _latencies(evidence: Evidence, latencies: list[dict[str, Any]]) -> Table:
    words = evidence.words
    columns = [
        Column(words("column.metric")),
        Column(words("reconciliation.client_mean"), "number"),
        Column(words("reconciliation.server_mean"), "number"),
        Column(words("reconciliation.difference"), "number"),
        Column(words("reconciliation.between"), "long"),
        *(
            Column(words(f"reconciliation.{side}_of", statistic=name.upper()), "number")
            for name in _QUANTILES
            for side in ("client", "server")
        ),
    ]
    rows = [_latency(evidence, row) for row in latencies if row["client"] or row["server"]]
    return Table(words("reconciliation.times"), columns, rows, key="reconciliation-times")


def _latency(evidence: Evidence, row: dict[str, Any]) -> tuple[Cell, ...]:
    ours, theirs = row["client"] or {}, row["server"] or {}
    between = evidence.own(row["between"]) or DASH
    if row["same_requests"] is False:
        between = evidence.words(
            "reconciliation.other_requests", ours=count(ours["n"]), theirs=count(theirs["n"])
        )
    return (
        Cell(_name(evidence, row["name"])),
        _time(evidence, ours.get("mean_s"), "no_client_view"),
        _time(evidence, theirs.get("mean_s"), "not_told"),
        _time(evidence, row["difference_s"], "no_difference"),
        Cell(between),
        *(
            cell
            for name in _QUANTILES
            for cell in (
                _time(evidence, ours.get(f"{name}_s"), "no_client_view"),
                _bucket(evidence, theirs.get(f"{name}_s")),
            )
        ),
    )


def _name(evidence: Evidence, name: str) -> str:
    """The field's short name where there is one, else the server's own series."""
    return evidence.short(_OURS[name]) if name in _OURS else evidence.words(f"series.{name}_s")


def _time(evidence: Evidence, value: float | None, reason: str) -> Cell:
    if value is None or unknown(value):
        return absent(evidence.words(f"reconciliation.{reason}"))
    return Cell(seconds(value))


def _bucket(evidence: Evidence, bounds: list[float | None] | None) -> Cell:
    """A quantile is only known to lie in its bucket."""
    if bounds is None:
        return absent(evidence.words("reconciliation.not_told"))
    low, high = bounds
    if low is None or high is None:
        return Cell(f"> {seconds(low)}" if low is not None else DASH)
    return Cell(span(seconds(low), seconds(high)), note=evidence.words("reconciliation.bucket"))


def _counts(evidence: Evidence, found: dict[str, Any]) -> Table:
    words = evidence.words
    rows = []
    for row in found["counts"]:
        told = row["server"] is not None and row["client"] is not None
        reason = absent(words("reconciliation.not_told"))
        rows.append(
            (
                Cell(words(f"reconciliation.{row['name']}")),
                Cell(DASH if row["client"] is None else count(row["client"])),
                Cell(count(row["server"])) if row["server"] is not None else reason,
                Cell(count(row["other"])) if told else reason,
                Cell(count(row["missing"])) if told else reason,
                Cell(count(row["requests_not_stated"])),
            )
        )
    columns = [
        Column(words("reconciliation.counted")),
        Column(words("reconciliation.client"), "number"),
        Column(words("reconciliation.server"), "number"),
        Column(words("reconciliation.other"), "number", words("reconciliation.other_note")),
        Column(words("reconciliation.missing"), "number", words("reconciliation.missing_note")),
        Column(words("reconciliation.not_stated"), "number"),
    ]
    return Table(words("reconciliation.counts"), columns, rows, key="reconciliation-counts")


def _readings(evidence: Evidence, found: dict[str, Any]) -> list[str]:
    """One sentence for each thing the server tells beside times and counts."""
    words = evidence.words
    said = [
        words("reconciliation.also_counted", n=count(row["server"] - row["client"]))
        for row in found["counts"]
        if row["name"] == "requests" and row["equal"] and row["server"] != row["client"]
    ]
    if (itl := found["itl"]) is not None:
        said.append(
            words(
                "reconciliation.itl",
                ours=seconds(itl["client_token_mean_s"]),
                theirs=seconds(itl["server_step_mean_s"]),
                per_step=significant(itl["tokens_per_step"]),
                per_token=seconds(itl["server_token_mean_s"]),
            )
        )
    said += _cache(evidence, found["cache"]) + _guard(evidence, found["contamination"])
    if (speculation := found["speculation"]) is not None:
        per_step = speculation["tokens_per_step"]
        said.append(
            words(
                "reconciliation.speculation",
                acceptance=percent(speculation["acceptance_fraction"]),
                per_step=DASH if per_step is None else significant(per_step),
            )
        )
    if found["waiting"] is not None:
        mean, most = (significant(found["waiting"][name]) for name in ("mean", "max"))
        said.append(words("reconciliation.waiting", mean=mean, max=most))
    if found["preemptions"]:
        said.append(words("reconciliation.preemptions", n=count(found["preemptions"])))
    return said


def _cache(evidence: Evidence, cache: dict[str, Any]) -> list[str]:
    """What rounding to blocks takes from the ceiling, and how far the views are apart."""
    words, said = evidence.words, []
    if not unknown(cache["ceiling_unrounded_fraction"]) and cache["block_tokens"]:
        unrounded, rounded = (
            percent(cache[f"ceiling_{name}fraction"]) for name in ("unrounded_", "")
        )
        if unrounded != rounded:
            block = count(cache["block_tokens"])
            said.append(
                words("reconciliation.rounding", block=block, unrounded=unrounded, rounded=rounded)
            )
    client, server = cache["client_fraction"], cache["server_fraction"]
    if not unknown(client) and not unknown(server):
        points = f"{100 * abs(client - server):.2f}"
        said.append(
            words(
                "reconciliation.hit_rates",
                client=percent(client),
                server=percent(server),
                points=points,
            )
        )
    return said


def _guard(evidence: Evidence, found: dict[str, Any]) -> list[str]:
    if found["result"] not in ("ok", "warning"):
        return []
    key = "clean" if found["result"] == "ok" else "contaminated"
    return [
        evidence.words(
            f"reconciliation.{key}",
            hits=percent(found["first_turn_hit_fraction"]),
            ceiling=percent(found["first_turn_ceiling_fraction"]),
            template=percent(found["template_fraction"]),
        )
    ]
