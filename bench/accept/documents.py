"""What an acceptance writes: acceptance.json, junit.xml, summary.md, baseline.json, alerts.yml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from bench.accept.checks.rules import RulesParameters, rules_for
from bench.accept.checks.stability import BaselineParameters, baseline_of
from bench.accept.facts import Facts
from bench.accept.missing import Unavailable
from bench.accept.plan import Plan
from bench.judge.checklist_result import Acceptance, ItemResult, PartResult
from bench.judge.verdict import Result
from bench.record.files import write_whole
from bench.record.plan_folder import PlanFolder

SCHEMA = 1
SIGNS = {
    Result.PASS: "✓ pass",
    Result.FAIL: "✗ FAIL",
    Result.UNDECIDED: "? undecided",
    Result.NOT_APPLICABLE: "– n/a",
}


def write_documents(folder: PlanFolder, plan: Plan, facts: Facts, acceptance: Acceptance) -> None:
    """Everything but the HTML page; the runs that were looked at get their verdicts too.

    Raises NotValidError where the disk refuses.
    """
    for judged in facts.judged_runs:
        if judged.run.path.resolve().is_relative_to(folder.runs.resolve()):
            judged.judgement.write(judged.run.path)
    folder.write("acceptance.json", as_json(acceptance))
    write_whole(folder.path / "junit.xml", junit(acceptance))
    write_whole(folder.path / "summary.md", markdown(acceptance).encode())
    for question in plan.questions:
        if isinstance(question.parameters, BaselineParameters):
            _write_baseline(folder, facts, question.parameters.scenario)
        elif isinstance(question.parameters, RulesParameters):
            rules = rules_for(question.parameters.profile, facts.family)
            write_whole(folder.path / "alerts.yml", rules.as_yaml().encode())


def _write_baseline(folder: PlanFolder, facts: Facts, scenario: str) -> None:
    try:
        runs = facts.valid_runs(scenario)
    except Unavailable:
        return
    links = [run.link for run in runs]
    folder.write("baseline.json", {"schema": SCHEMA, "runs": links, "medians": baseline_of(runs)})


def as_json(acceptance: Acceptance) -> dict[str, Any]:
    """acceptance.json."""
    return {
        "schema": SCHEMA,
        "checklist": acceptance.name,
        "title": acceptance.title.as_json(),
        "verdict": acceptance.verdict.value,
        "rehearsal": acceptance.conditions["rehearsal"],
        "conditions": dict(acceptance.conditions),
        "counts": acceptance.counts,
        "decided_by": acceptance.decided_by,
        "measured_or_scraped": acceptance.measured_items,
        "items": [item.as_json() for item in acceptance.items],
        "activities": [dict(activity) for activity in acceptance.activities],
    }


def junit(acceptance: Acceptance) -> bytes:
    """JUnit XML: an item is a test case; undecided and not applicable ones are skipped."""
    items = acceptance.items
    failures = sum(item.result is Result.FAIL for item in items)
    skipped = sum(item.result not in (Result.PASS, Result.FAIL) for item in items)
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=f"acceptance.{acceptance.name}",
        tests=str(len(items)),
        failures=str(failures),
        skipped=str(skipped),
    )
    for item in items:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"acceptance.{acceptance.name}", name=_name(item)
        )
        message = _message(item)
        if item.result is Result.FAIL:
            ElementTree.SubElement(case, "failure", message=message)
        elif item.result is not Result.PASS:
            ElementTree.SubElement(case, "skipped", message=f"{item.result.value}: {message}")
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _name(item: ItemResult) -> str:
    return f"{item.item.id} {item.item.title.en}"


def _message(item: ItemResult) -> str:
    """What decided against an item, or what is missing."""
    if item.reason is not None:
        return item.reason.en
    parts = [part for part in item.parts if part.result is item.result]
    return "; ".join(f"{p.part.criterion.en}: {said(p)}" for p in parts)


def said(part: PartResult) -> str:
    """The decisive finding's words, with its value where it has one."""
    found = part.decisive
    value = (
        "" if found.value is None else f"{found.value:.4g} {found.unit} — ".replace(" 1 —", " —")
    )
    return f"{value}{found.text.en}"


def markdown(acceptance: Acceptance) -> str:
    """summary.md, for a merge request: one row for each item, then what is open."""
    conditions = acceptance.conditions
    lines = [
        f"## {acceptance.title.en}: {acceptance.verdict.value}",
        "",
        *(
            [f"**Rehearsal at scale {conditions['scale']:g}: not an acceptance.**", ""]
            if conditions["rehearsal"]
            else []
        ),
        _counted(acceptance),
        "",
        "| item | | result | decided by |",
        "|---|---|---|---|",
    ]
    for item in acceptance.items:
        bases = ", ".join(basis.value for basis in item.bases) or "—"
        title = item.item.title.en
        lines.append(f"| {item.item.id} | {title} | {SIGNS[item.result]} | {bases} |")
    for result, head in ((Result.FAIL, "Not met"), (Result.UNDECIDED, "Undecided")):
        rows = _open(acceptance.items, result)
        lines += ["", f"### {head}", "", *rows] if rows else []
    return "\n".join(lines) + "\n"


def _counted(acceptance: Acceptance) -> str:
    counts: Mapping[str, int] = acceptance.counts
    parts = ", ".join(f"{n} {result.replace('_', ' ')}" for result, n in counts.items() if n)
    return (
        f"{len(acceptance.items)} items: {parts}. "
        f"{acceptance.measured_items} decided by measurement or scrape."
    )


def _open(items: Sequence[ItemResult], result: Result) -> list[str]:
    return [
        f"- **{item.item.id}** {part.part.criterion.en}: {_escaped(said(part))}"
        for item in items
        for part in item.parts
        if part.result is result
    ]


def _escaped(text: str) -> str:
    """Text that came from elsewhere, without what Markdown or a table would make of it."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace("|", "\\|").replace("<", "&lt;")
