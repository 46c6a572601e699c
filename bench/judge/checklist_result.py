"""What the items of a checklist came to: findings, parts, items, the whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.judge.checklist import Basis, Item, Part
from bench.judge.metric import Text
from bench.judge.stats import finite_or_none
from bench.judge.verdict import Result, Verdict, overall


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check of one part came to.

    `text` says what was seen; for an undecided one, what is missing and how to get it.  `bound` is
    what `value` was held against, in `direction` ("lower" is better, "higher" is better, "none").
    `links` are run folders, files or URLs that show it; `by`, `at`, `expires` say who attested
    what is attested, when, and until when it holds.
    """

    result: Result
    basis: Basis
    check: str
    text: Text
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    bound: float | None = None
    direction: str = "none"
    n: int | None = None
    links: tuple[str, ...] = ()
    by: str | None = None
    at: str | None = None
    expires: str | None = None

    def as_json(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in ("value", "low", "high", "bound")}
        return {
            "result": self.result.value,
            "basis": self.basis.value,
            "check": self.check,
            "text": self.text.as_json(),
            **{name: finite_or_none(number) for name, number in numbers.items()},
            "infinite": [n for n, x in numbers.items() if x is not None and math.isinf(x)],
            "unit": self.unit,
            "direction": self.direction,
            "n": self.n,
            "links": list(self.links),
            "by": self.by,
            "at": self.at,
            "expires": self.expires,
        }


@dataclass(frozen=True, slots=True)
class PartResult:
    """A part and all findings on it.  `decisive` is the one the result rests on."""

    part: Part
    result: Result
    decisive: Finding
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """An item; `reason` says why it is not applicable, where it was not chosen."""

    item: Item
    result: Result
    parts: tuple[PartResult, ...]
    reason: Text | None = None

    @property
    def bases(self) -> tuple[Basis, ...]:
        """How the parts that are decided were decided, in the order of the enum."""
        decided = {
            part.decisive.basis for part in self.parts if part.result in (Result.PASS, Result.FAIL)
        }
        return tuple(basis for basis in Basis if basis in decided)

    def as_json(self) -> dict[str, Any]:
        item = self.item
        return {
            "id": item.id,
            "stage": item.stage.model_dump(),
            "title": item.title.model_dump(),
            "criterion": item.criterion.model_dump(),
            "source": item.source,
            "result": self.result.value,
            "decided_by": [basis.value for basis in self.bases],
            "reason": self.reason.as_json() if self.reason else None,
            "parts": [
                {
                    "name": part.part.name,
                    "criterion": part.part.criterion.model_dump(),
                    "result": part.result.value,
                    "decisive": part.findings.index(part.decisive),
                    "findings": [found.as_json() for found in part.findings],
                }
                for part in self.parts
            ],
        }


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A whole checklist judged.  `conditions`: what, against what, when, at which scale."""

    name: str
    title: Text
    items: tuple[ItemResult, ...]
    conditions: Mapping[str, Any]
    activities: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def verdict(self) -> Verdict:
        """Of all items.  A rehearsal accepts nothing, so it never passes."""
        found = overall([item.result for item in self.items], valid=True)
        rehearsed = found is Verdict.PASS and self.conditions.get("rehearsal")
        return Verdict.UNDECIDED if rehearsed else found

    @property
    def counts(self) -> dict[str, int]:
        return {
            result.value: sum(item.result is result for item in self.items) for result in Result
        }

    @property
    def decided_by(self) -> dict[str, int]:
        """Items with at least one part decided in each way; an item may count in several."""
        return {basis.value: sum(basis in item.bases for item in self.items) for basis in Basis}

    @property
    def measured_items(self) -> int:
        """Items with a part decided by measurement or scrape."""
        own = {Basis.MEASURED, Basis.SCRAPED}
        return sum(bool(own & set(item.bases)) for item in self.items)


_PREFERENCE = {Result.FAIL: 0, Result.PASS: 1, Result.UNDECIDED: 2, Result.NOT_APPLICABLE: 3}


def part_result(part: Part, findings: Sequence[Finding]) -> PartResult:
    """A failed finding fails the part; else one passed finding passes it; else it is undecided.

    So a statement never undoes a measurement, nor a measurement a stated defect.  Among equal
    findings the first counts: the checklist names the stronger way first.
    """
    decisive = min(findings, key=lambda found: _PREFERENCE[found.result])
    return PartResult(part, decisive.result, decisive, tuple(findings))


def item_result(item: Item, parts: Sequence[PartResult]) -> ItemResult:
    """Failed with any part failed, undecided with any undecided; passed when all that apply are."""
    results = [part.result for part in parts]
    decided = overall(results, valid=True)
    result = Result.NOT_APPLICABLE if decided is Verdict.NONE else Result(decided.value)
    return ItemResult(item, result, tuple(parts))


def not_chosen(item: Item, reason: Text) -> ItemResult:
    """An item that the deployment leaves out, and why."""
    return ItemResult(item, Result.NOT_APPLICABLE, (), reason)
