"""Checklists: every item of chapter 13 is there; how findings make parts, parts items."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.judge.checklist import (
    Basis,
    Checklist,
    Part,
    load_checklist,
    shipped_checklists,
)
from bench.judge.checklist_result import Acceptance, Finding, item_result, not_chosen, part_result
from bench.judge.metric import Text
from bench.judge.profile import load_profile
from bench.judge.verdict import Result, Verdict
from bench.workload.resolve import shipped_recipes

SHARED = Path(__file__).parents[3] / "../shared/acceptance.md"
PASS, FAIL, UNDECIDED = Result.PASS, Result.FAIL, Result.UNDECIDED


def ids(name: str) -> list[str]:
    return [item.id for item in load_checklist(name).items]


def test_every_item_of_chapter_13_is_shipped() -> None:
    """The tables of the specification, row by row, none left out and none added."""
    if not SHARED.exists():
        pytest.skip("the specification (shared/acceptance.md) is not beside this checkout")
    rows = re.findall(r"^\| ([SMLC]\d(?:\.\d)?) \|", SHARED.read_text(encoding="utf-8"), re.M)
    shipped = [id_ for name in ("small", "medium", "large", "security") for id_ in ids(name)]
    assert [id_ for id_ in shipped if not id_.startswith("T")] == rows
    assert [id_ for id_ in shipped if id_.startswith("T")] == ["T1", "T2", "T3"]


@pytest.mark.parametrize("name", list(shipped_checklists()))
def test_what_a_shipped_checklist_names_exists(name: str) -> None:
    """Its profile, its scenarios' profiles and recipes; every scenario is used."""
    checklist = load_checklist(name)
    load_profile(checklist.profile)
    used = {
        scenario
        for _, _, way in checklist.ways()
        for key, scenario in way.parameters.items()
        if key in ("scenario", "alone")
    }
    assert used == set(checklist.scenarios)
    for scenario in checklist.scenarios.values():
        assert scenario.recipe is None or scenario.recipe in shipped_recipes()
        if scenario.profile:
            load_profile(scenario.profile)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """`smal` is answered by `small`."""
    with pytest.raises(ConfigError) as caught:
        load_checklist("smal")
    assert "small" in caught.value.hint


def test_a_share_of_the_peak_needs_the_peak_before_it() -> None:
    """A scenario can't take a share of a rate that is found after it."""
    raw = load_checklist("small").model_dump(by_alias=True)
    raw["scenarios"] = dict(reversed(raw["scenarios"].items()))
    with pytest.raises(ValueError, match="before it"):
        Checklist.model_validate(raw)


def finding(result: Result, basis: Basis = Basis.MEASURED) -> Finding:
    return Finding(result, basis, "check", Text("词", "word"))


@pytest.fixture
def part() -> Part:
    return load_checklist("small").items[0].how[0]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([PASS], PASS),
        ([UNDECIDED, PASS], PASS),
        ([PASS, FAIL], FAIL),
        ([UNDECIDED, UNDECIDED], UNDECIDED),
        ([Result.NOT_APPLICABLE, UNDECIDED], UNDECIDED),
    ],
)
def test_findings_make_a_part(part: Part, results: list[Result], expected: Result) -> None:
    """Any failure fails; else any pass passes; else it is undecided."""
    assert part_result(part, [finding(result) for result in results]).result is expected


def test_a_statement_never_undoes_a_measurement(part: Part) -> None:
    """Measured as failed and attested as passed is failed, and decided by measurement."""
    found = part_result(part, [finding(FAIL), finding(PASS, Basis.ATTESTED)])
    assert (found.result, found.decisive.basis) == (FAIL, Basis.MEASURED)


def test_an_item_counts_the_ways_it_was_decided_in(part: Part) -> None:
    """Undecided parts count for no way; attested ones stand apart from measured ones."""
    item = load_checklist("small").items[0]
    parts = [
        part_result(part, [finding(PASS, Basis.ATTESTED)]),
        part_result(part, [finding(UNDECIDED)]),
    ]
    found = item_result(item, parts)
    assert found.result is UNDECIDED
    assert found.bases == (Basis.ATTESTED,)
    whole = Acceptance("x", Text("词", "word"), (found, not_chosen(item, Text("无", "none"))), {})
    assert whole.measured_items == 0
    assert whole.decided_by["attested"] == 1
    assert whole.counts["not_applicable"] == 1
    assert whole.verdict is Verdict.UNDECIDED


def test_only_passed_items_pass(part: Part) -> None:
    """Passed and not applicable items pass together; one failed item fails the whole."""
    item = load_checklist("small").items[0]
    good = item_result(item, [part_result(part, [finding(PASS)])])
    bad = item_result(item, [part_result(part, [finding(FAIL)])])
    left = not_chosen(item, Text("无", "none"))
    assert Acceptance("x", Text("词", "w"), (good, left), {}).verdict is Verdict.PASS
    assert Acceptance("x", Text("词", "w"), (good, bad), {}).verdict is Verdict.FAIL


def test_a_rehearsal_accepts_nothing(part: Part) -> None:
    """With every item passed it is undecided; a failed one still fails it."""
    item = load_checklist("small").items[0]
    rehearsed = {"rehearsal": True}
    for result, verdict in ((PASS, Verdict.UNDECIDED), (FAIL, Verdict.FAIL)):
        found = item_result(item, [part_result(part, [finding(result)])])
        assert Acceptance("x", Text("词", "w"), (found,), rehearsed).verdict is verdict
