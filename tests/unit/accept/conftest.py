"""Facts made of given records, for checks; findings asked as the evaluation asks them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bench.accept.checks import CHECKS
from bench.accept.checks.check import Asked
from bench.accept.evidence import Evidence
from bench.accept.facts import Facts
from bench.accept.missing import Unavailable
from bench.accept.settings import Settings
from bench.judge.checklist import Basis, Checklist
from bench.judge.checklist_result import Finding
from bench.judge.verdict import Result

TODAY = date(2026, 11, 22)
TARGET = "http://10.0.0.5:8000"
WORDS = {"zh": "词", "en": "word"}


def checklist_of(*ways: dict[str, Any], **scenarios: dict[str, Any]) -> Checklist:
    """A checklist of one item X1 with a part for each way, and these scenarios."""
    parts = [{"part": f"p{i}", "criterion": WORDS, "by": [way]} for i, way in enumerate(ways)]
    none = {"part": "p0", "criterion": WORDS, "by": [{"basis": "A", "check": "attested"}]}
    item = {"id": "X1", "stage": WORDS, "title": WORDS, "criterion": WORDS, "source": "§0"}
    return Checklist.model_validate(
        {
            "name": "test",
            "title": WORDS,
            "description": WORDS,
            "source": "§0",
            "profile": "realtime-chat",
            "scenarios": {
                name: {"title": WORDS, "recipe": "smoke", **fields}
                for name, fields in scenarios.items()
            },
            "items": [{**item, "how": parts or [none]}],
        },
        strict=False,
    )


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Finding]:
    """`ask(check, parameters, records=…, settings=…, evidence=…)`: the check's finding.

    `records` maps activity keys to runs (a list of paths) or to what a probe observed.
    """

    def found(
        check: str,
        parameters: dict[str, Any] | None = None,
        *,
        records: dict[str, Any] | None = None,
        settings: Settings | None = None,
        evidence: Evidence | None = None,
        family: str = "vllm",
    ) -> Finding:
        row = CHECKS[check]
        read = row.parameters.model_validate(parameters or {}, strict=False)
        stored = {
            key: {
                "state": "done",
                "runs": [str(run) for run in seen] if isinstance(seen, list) else [],
                "observed": seen if isinstance(seen, dict) else {},
            }
            for key, seen in (records or {}).items()
        }
        for key, extra in (records or {}).items():
            if isinstance(extra, dict) and "runs" in extra:
                stored[key]["runs"] = [str(run) for run in extra["runs"]]
        scenarios = {name: {} for name in read.scenarios()}
        facts = Facts(
            tmp_path,
            checklist_of(**scenarios),
            settings or Settings(),
            evidence or Evidence(tmp_path, (), (), TODAY),
            stored,
            {name: read.limits() for name in read.scenarios()},
            family,
            TARGET,
        )
        basis = next(iter(row.bases & {Basis.MEASURED} or row.bases))
        asked = Asked(facts, "X1", "p0", basis, check)
        try:
            return row.evaluate(asked, read)
        except Unavailable as lacking:
            return asked.finding(Result.UNDECIDED, lacking.text, links=lacking.links)

    return found


@pytest.fixture
def checklist() -> Callable[..., Checklist]:
    return checklist_of
