"""The acceptance report: every item of a checklist, what decided it, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.judge.checklist import Basis
from bench.judge.checklist_result import Acceptance, Finding, PartResult
from bench.judge.metric import Text
from bench.judge.profile import Words as TwoWords
from bench.judge.verdict import Result
from bench.report.blocks import Block, Cell, Column, Note, Section, Table, absent
from bench.report.changes import quantity
from bench.report.numbers import bound, clock, percent, span
from bench.report.page import assemble, write_page
from bench.report.sections.band import SYMBOLS, Band, Card, instant
from bench.report.words import Words

_FACTS = ("target", "model", "server", "profile", "began_utc", "scale", "bench_version")


class _Page:
    def __init__(self, acceptance: Acceptance, language: str) -> None:
        self.acceptance = acceptance
        self.words = Words(language)

    def own(self, text: Text | TwoWords) -> str:
        """The text in the page's language."""
        return text.zh if self.words.language == "zh" else text.en


def write_acceptance(acceptance: Acceptance, path: Path, *, language: str) -> Path:
    """Write the page of an acceptance to `path` and return it; one file, no scripts.

    Links to run folders and evidence are relative to the acceptance folder.
    """
    page = _Page(acceptance, language)
    return write_page(assemble(page.words, _band(page, path.parent.name), _sections(page)), path)


def _band(page: _Page, name: str) -> Band:
    words, conditions = page.words, page.acceptance.conditions
    verdict = page.acceptance.verdict.value
    rehearsal = ""
    if conditions["rehearsal"]:
        rehearsal = words("acceptance.rehearsal", scale=percent(conditions["scale"]))
    return Band(
        title=name,
        tone=verdict,
        symbol=SYMBOLS[verdict],
        verdict_word=words(
            "acceptance.verdict",
            title=page.own(page.acceptance.title),
            verdict=words(f"verdict.{verdict}"),
        ),
        because=_because(page),
        cards=_cards(page),
        facts=_facts(page),
        kind="acceptance.kind",
        notice=rehearsal,
    )


def _because(page: _Page) -> str:
    counts, words = page.acceptance.counts, page.words
    return words("acceptance.because", **{name: counts[name] for name in counts})


def _cards(page: _Page) -> tuple[Card, ...]:
    counts, words = page.acceptance.counts, page.words
    total = len(page.acceptance.items)
    return tuple(
        Card(
            name=words(f"result.{result.value}"),
            value=str(counts[result.value]),
            limit=words("acceptance.of_items", total=total),
            tone=result.value
            if counts[result.value] and result is not Result.NOT_APPLICABLE
            else "none",
        )
        for result in Result
    )


def _facts(page: _Page) -> tuple[tuple[str, str], ...]:
    conditions, words = page.acceptance.conditions, page.words
    shown = {
        **conditions,
        "began_utc": instant(conditions.get("began_utc")),
        "scale": percent(conditions["scale"]),
    }
    found = [
        (words(f"acceptance.fact_{name}"), str(shown[name])) for name in _FACTS if shown.get(name)
    ]
    by = page.acceptance.decided_by
    decided = words("page.list_break").join(
        f"{words(f'basis.{basis.value}')} {by[basis.value]}" for basis in Basis
    )
    return (*found, (words("acceptance.fact_decided"), decided))


def _sections(page: _Page) -> list[Section]:
    words = page.words
    makers: Sequence[tuple[str, Sequence[Block]]] = (
        ("items", [_items(page)]),
        ("open", _open(page)),
        ("parts", _parts(page)),
        ("attested", _attested(page)),
        ("activities", [_activities(page)]),
    )
    return [
        Section(key, words(f"acceptance.section_{key}"), words(f"acceptance.lead_{key}"), blocks)
        for key, blocks in makers
    ]


def _items(page: _Page) -> Table:
    words = page.words
    columns = [
        Column(words("acceptance.item")),
        Column(words("acceptance.title")),
        Column(words("acceptance.result")),
        Column(words("acceptance.criterion"), "long"),
        Column(words("acceptance.decided_by")),
        Column(words("acceptance.source")),
    ]
    rows = []
    for item in page.acceptance.items:
        bases = words("page.list_break").join(words(f"basis.{b.value}") for b in item.bases)
        reason = page.own(item.reason) if item.reason else words("acceptance.nothing_decided")
        rows.append([
            Cell(item.item.id, href=f"#part-{item.item.id}" if item.parts else ""),
            Cell(page.own(item.item.title)),
            _result(page, item.result),
            Cell(page.own(item.item.criterion)),
            Cell(bases) if bases else Cell(reason, tone="absent"),
            Cell(item.item.source),
        ])  # fmt: skip
    return Table(words("acceptance.table_items"), columns, rows)


def _open(page: _Page) -> list[Block]:
    """Parts that failed or are undecided, with what was found or what to give."""
    words = page.words
    rows = []
    for item in page.acceptance.items:
        for part in item.parts:
            if part.result not in (Result.FAIL, Result.UNDECIDED):
                continue
            if part.result is Result.UNDECIDED:
                said = " ".join(page.own(found.text) for found in part.findings)
            else:
                said = page.own(part.decisive.text)
            rows.append([
                Cell(item.item.id, href=f"#part-{item.item.id}"),
                Cell(page.own(part.part.criterion)),
                _result(page, part.result),
                _value(page, part.decisive),
                Cell(said),
            ])  # fmt: skip
    if not rows:
        return [Note(words("acceptance.nothing_open"))]
    columns = [
        Column(words("acceptance.item")),
        Column(words("acceptance.criterion"), "long"),
        Column(words("acceptance.result")),
        Column(words("acceptance.value"), "number"),
        Column(words("acceptance.to_do"), "long"),
    ]
    return [Table(words("acceptance.table_open"), columns, rows)]


def _parts(page: _Page) -> list[Block]:
    """A table for each item: every finding of every part."""
    words = page.words
    columns = [
        Column(words("acceptance.criterion"), "long"),
        Column(words("acceptance.basis")),
        Column(words("acceptance.check"), "code"),
        Column(words("acceptance.result")),
        Column(words("acceptance.value"), "number"),
        Column(words("acceptance.bound"), "number"),
        Column("n", "number"),
        Column(words("acceptance.said"), "long"),
        Column(words("acceptance.evidence"), "long"),
    ]
    return [
        Table(
            f"{item.item.id} {page.own(item.item.title)}",
            columns,
            [_finding(page, part, found) for part in item.parts for found in part.findings],
            key=f"part-{item.item.id}",
        )
        for item in page.acceptance.items
        if item.parts
    ]


def _finding(page: _Page, part: PartResult, found: Finding) -> list[Cell]:
    words = page.words
    text = page.own(found.text)
    if found.by:
        text = words("acceptance.attested_by", text=text, by=found.by, at=found.at or "")
    return [
        Cell(page.own(part.part.criterion)),
        Cell(words(f"basis.{found.basis.value}")),
        Cell(found.check),
        _result(page, found.result),
        _value(page, found),
        _bound(page, found),
        Cell(f"{found.n:,}") if found.n is not None else absent(words("acceptance.no_n")),
        Cell(text),
        _evidence(page, found),
    ]


def _attested(page: _Page) -> list[Block]:
    """What rests on statements, apart from what was measured."""
    words = page.words
    rows = [
        [
            Cell(item.item.id),
            Cell(page.own(part.part.criterion)),
            _result(page, found.result),
            Cell(found.by or ""),
            Cell(found.at or ""),
            Cell(found.expires or ""),
            Cell(page.own(found.text)),
            _evidence(page, found),
        ]
        for item in page.acceptance.items
        for part in item.parts
        for found in part.findings
        if found.by
    ]
    if not rows:
        return [Note(words("acceptance.none_attested"))]
    names = ("item", "criterion", "result", "by", "at", "expires", "said", "evidence")
    long = ("criterion", "said", "evidence")
    columns = [Column(words(f"acceptance.{n}"), "long" if n in long else "") for n in names]
    return [Table(words("acceptance.table_attested"), columns, rows)]


def _activities(page: _Page) -> Table:
    words = page.words
    rows = [
        [
            Cell(activity["key"]),
            Cell(
                words(f"acceptance.state_{activity['state']}"),
                note=activity["why"][words.language] if activity["why"] else "",
            ),
            Cell(", ".join(activity["items"])),
            Cell(instant(activity["began_utc"]))
            if activity["began_utc"]
            else absent(words("acceptance.not_made")),
            Cell(clock(activity["took_s"]))
            if activity["took_s"] is not None
            else absent(words("acceptance.not_made")),
            Cell(" ".join(Path(run).name for run in activity["runs"])),
        ]
        for activity in page.acceptance.activities
    ]
    names = ("activity", "state", "serves", "began", "took", "runs")
    columns = [Column(words(f"acceptance.{n}"), "long" if n == "runs" else "") for n in names]
    return Table(words("acceptance.table_activities"), columns, rows)


def _result(page: _Page, result: Result) -> Cell:
    tone = result.value if result is not Result.NOT_APPLICABLE else ""
    word = page.words(f"result.{result.value}")
    return Cell(f"{SYMBOLS[result.value]} {word}", tone=tone)


def _value(page: _Page, found: Finding) -> Cell:
    if found.value is None:
        return absent(page.own(found.text))
    interval = ""
    if found.low is not None and found.high is not None and found.low != found.high:
        ends = (quantity(page.words, end, found.unit) for end in (found.low, found.high))
        interval = span(*ends)
    return Cell(quantity(page.words, found.value, found.unit), note=interval)


def _bound(page: _Page, found: Finding) -> Cell:
    if found.bound is None:
        return absent(page.words("acceptance.no_bound"))
    written = quantity(page.words, found.bound, found.unit)
    return Cell(written if found.direction == "none" else bound(found.direction, written))


def _evidence(page: _Page, found: Finding) -> Cell:
    if not found.links:
        return absent(page.words("acceptance.no_evidence"))
    more = f" +{len(found.links) - 1}" if len(found.links) > 1 else ""
    first = found.links[0]
    shown = first if "://" in first else Path(first).name
    return Cell(f"{shown}{more}", note="\n".join(found.links), href=first)
