"""The sections of the page, in its order.  A new section is a row here and its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.report.blocks import Block, Note, Section
from bench.report.evidence import Evidence
from bench.report.sections import (
    balance,
    cache,
    comparability,
    conditions,
    diagnosis,
    errors,
    goodput,
    latency,
    limits,
    load,
    outliers,
    reconciliation,
    resources,
    score,
    server,
    tokens,
    validity,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One section: its key in the words, what it needs of the evidence, how it is made."""

    key: str
    needs: tuple[str, ...]
    blocks: Callable[[Evidence], list[Block]]


SECTIONS: tuple[Entry, ...] = (
    Entry("limits", ("limits",), limits.blocks),
    Entry("validity", (), validity.blocks),
    Entry("latency", ("answered",), latency.blocks),
    Entry("tokens", ("answered",), tokens.blocks),
    Entry("load", (), load.blocks),
    Entry("goodput", ("good",), goodput.blocks),
    Entry("score", ("score",), score.blocks),
    Entry("cache", (), cache.blocks),
    Entry("server", ("server",), server.blocks),
    Entry("reconciliation", ("server",), reconciliation.blocks),
    Entry("resources", (), resources.blocks),
    Entry("errors", (), errors.blocks),
    Entry("diagnosis", (), diagnosis.blocks),
    Entry("outliers", ("answered",), outliers.blocks),
    Entry("comparability", (), comparability.blocks),
    Entry("conditions", (), conditions.blocks),
    Entry("balance", (), balance.blocks),
)


def render_section(entry: Entry, evidence: Evidence) -> Section:
    """The section, or the reason why it has nothing to show."""
    words = evidence.words
    missing = [need for need in entry.needs if not evidence.has(need)]
    blocks: list[Block] = [Note(words(f"absent.{need}"), tone="absent") for need in missing[:1]]
    return Section(
        key=entry.key,
        title=words(f"section.{entry.key}"),
        lead=words(f"lead.{entry.key}"),
        blocks=blocks or entry.blocks(evidence),
    )
