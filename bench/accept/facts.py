"""What checks read: runs judged, observations made, evidence given.  No network.

Facts are the acceptance folder's activity records, the run folders they name, the settings and the
evidence.  The same folder gives the same findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.accept.evidence import Evidence
from bench.accept.missing import missing
from bench.accept.scenario import profile_of
from bench.accept.settings import Settings
from bench.judge.checklist import Checklist
from bench.judge.judgement import Judgement, judge
from bench.judge.metric import Text
from bench.judge.profile import Limit
from bench.judge.server_view import ServerView
from bench.judge.window import WHOLE_RUN
from bench.record.frame import Run, open_run

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRun:
    """A run folder and what it came to under a scenario's profile.  `link` is relative."""

    run: Run
    judgement: Judgement
    link: str

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The `metrics` of summary.json."""
        found: Mapping[str, Any] = self.judgement.summary["metrics"]
        return found

    @property
    def broken_rules(self) -> list[str]:
        return [reason["rule"] for reason in self.judgement.verdict["reasons"]]

    @property
    def server(self) -> ServerView:
        """What the server and exporters said over the whole run."""
        return ServerView(self.run.server, WHOLE_RUN)


class Facts:
    """Everything there is to judge a checklist on.

    `limits` are the bounds that checks hold the runs of each scenario against, beside the
    profile's own.  `family` is what the target was found to be, `target` its base URL.  Runs are
    judged once.
    """

    def __init__(
        self,
        folder: Path,
        checklist: Checklist,
        settings: Settings,
        evidence: Evidence,
        records: Mapping[str, Record],
        limits: Mapping[str, Sequence[Limit]],
        family: str,
        target: str,
    ) -> None:
        self.folder = folder
        self.checklist = checklist
        self.settings = settings
        self.evidence = evidence
        self.family = family
        self.target = target
        self._records = records
        self._limits = limits
        self._judged: dict[tuple[str, str], JudgedRun] = {}

    def record(self, key: str) -> Record:
        """What became of an activity.

        Raises Unavailable: not made, not finished, not possible, failed.
        """
        found = self._records.get(key)
        if found is None:
            raise missing("not_made", name=key)
        if found["state"] == "missing":
            raise missing(found["missing"], name=key.partition(":")[2])
        if found["state"] == "partial":
            raise missing("partial", name=key)
        if found["state"] == "failed":
            raise missing("failed", why=Text(**found["why"]))
        return found

    def observed(self, key: str) -> Mapping[str, Any]:
        """What a probe saw.  Raises Unavailable."""
        seen: Mapping[str, Any] = self.record(key)["observed"]
        return seen

    def outline(self, key: str) -> dict[str, Any]:
        """State, beginning, length and runs of an activity, and why it was not made, if it was not.

        For the report.
        """
        found = self._records.get(key, {})
        why = found.get("why")
        if found.get("state") == "missing":
            why = missing(found["missing"], name=key.partition(":")[2]).text.as_json()
        return {
            "state": found.get("state", "not_made"),
            "began_utc": found.get("began_utc"),
            "took_s": found.get("took_s"),
            "runs": list(found.get("runs", ())),
            "why": why,
        }

    @property
    def judged_runs(self) -> list[JudgedRun]:
        """Every run that was looked at, once for each scenario it belongs to."""
        return list(self._judged.values())

    def judged(self, link: str, scenario: str) -> JudgedRun:
        """A run of a scenario, by its path relative to the acceptance folder."""
        key = (link, scenario)
        if key not in self._judged:
            profile = profile_of(scenario, self.checklist, self.settings)
            limits = (*profile.limits, *self._limits.get(scenario, ()))
            profile = profile.model_copy(update={"limits": limits})
            run = open_run(self.folder / link)  # an absolute link stays as it is
            self._judged[key] = JudgedRun(run, judge(run, profile), link)
        return self._judged[key]

    def runs(self, scenario: str) -> list[JudgedRun]:
        """The runs of a scenario, valid or not.  Raises Unavailable where there is none."""
        record = self.record(f"scenario:{scenario}")
        return [self.judged(link, scenario) for link in record["runs"]]

    def valid_runs(self, scenario: str) -> list[JudgedRun]:
        """The same.  Raises Unavailable where one of them is not valid."""
        return all_valid(self.runs(scenario))


def all_valid(runs: list[JudgedRun]) -> list[JudgedRun]:
    """The runs.  Raises Unavailable where one is not valid."""
    broken = sorted({rule for run in runs for rule in run.broken_rules})
    if broken:
        found = missing("not_valid", rules=", ".join(broken))
        found.links = tuple(run.link for run in runs if run.broken_rules)
        raise found
    return runs
