"""A conducted plan judged: every question asked of the facts, every item accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.accept.checks.check import Asked
from bench.accept.facts import Facts
from bench.accept.missing import Unavailable
from bench.accept.plan import Plan, Question
from bench.judge.checklist import text_of
from bench.judge.checklist_result import (
    Acceptance,
    Finding,
    item_result,
    not_chosen,
    part_result,
)
from bench.judge.verdict import Result


def evaluate(plan: Plan, facts: Facts, conditions: Mapping[str, Any]) -> Acceptance:
    """Every item of the checklist, in its order.

    Raises ConfigError for an imported file that is not what its check reads.
    """
    asked: dict[tuple[str, str], list[Finding]] = {}
    for question in plan.questions:
        key = (question.item.id, question.part.name)
        asked.setdefault(key, []).append(_ask(question, facts))
    items = []
    for item in plan.checklist.items:
        if item.id in plan.skipped:
            items.append(not_chosen(item, plan.skipped[item.id]))
            continue
        parts = [part_result(part, asked[item.id, part.name]) for part in item.how]
        items.append(item_result(item, parts))
    return Acceptance(
        name=plan.checklist.name,
        title=text_of(plan.checklist.title),
        items=tuple(items),
        conditions=conditions,
        activities=_activities(plan, facts),
    )


def _ask(question: Question, facts: Facts) -> Finding:
    """A check's finding; undecided with the reason where it has nothing to look at."""
    item, part = question.item.id, question.part.name
    asked = Asked(facts, item, part, question.basis, question.check.name)
    try:
        return question.check.evaluate(asked, question.parameters)
    except Unavailable as lacking:
        return asked.finding(Result.UNDECIDED, lacking.text, links=lacking.links)


def _activities(plan: Plan, facts: Facts) -> Sequence[Mapping[str, Any]]:
    """What was made, for whom, how long it took."""
    return [
        {"key": key, "items": list(serves), **facts.outline(key)}
        for key, serves in plan.activities.items()
    ]
