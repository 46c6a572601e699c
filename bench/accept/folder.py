"""The acceptance folder: the plan first, one record for each activity, runs, then the results.

<folder>/
  plan.json          what is to be done, against what, at which scale; never changed
  activities/*.json  what became of each activity; written again as it gets on
  runs/<run folder>  as `bench run` makes them
  acceptance.json acceptance.html junit.xml summary.md baseline.json alerts.yml   derived
"""

from __future__ import annotations

import json
import secrets as randomness
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, RunFolderError
from bench.record.files import write_whole
from bench.record.redact import redact

SCHEMA = 1
PLAN = "plan.json"
ACTIVITIES = "activities"
RUNS = "runs"


class AcceptanceFolder:
    """One acceptance's folder.  `secrets` are kept out of everything that is written."""

    def __init__(self, path: Path, secrets: Iterable[str] = ()) -> None:
        self.path = path
        self._secrets = tuple(secrets)

    @property
    def runs(self) -> Path:
        return self.path / RUNS

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Make the folder and write the plan.  Raises ConfigError where one is there already."""
        if (self.path / PLAN).exists():
            raise ConfigError(
                f"{self.path} holds an acceptance already", "continue it with --resume"
            )
        for folder in (self.path, self.path / ACTIVITIES, self.runs):
            folder.mkdir(parents=True, exist_ok=True)
        self.write(PLAN, {"schema": SCHEMA, **plan})

    def resume(self, plan: Mapping[str, Any]) -> None:
        """Check that the folder holds the same plan.  Raises ConfigError naming what differs."""
        stored = self.plan()
        given = json.loads(json.dumps({"schema": SCHEMA, **redact(plan, self._secrets)}))
        own = {"created_utc", "bench_version"}
        differing = sorted(
            key for key in (stored.keys() | given.keys()) - own if stored.get(key) != given.get(key)
        )
        if differing:
            raise ConfigError(
                f"{self.path}: this acceptance was begun with another {', '.join(differing)}",
                "repeat the first command with --resume, or begin anew without it",
            )

    def plan(self) -> dict[str, Any]:
        """Raises RunFolderError where the folder holds no acceptance."""
        path = self.path / PLAN
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError):
            raise RunFolderError(
                f"{self.path} is not an acceptance folder: {PLAN} is not there or not readable",
                "name a folder that `bench accept` has made",
            ) from None
        assert isinstance(found, dict)
        return found

    def records(self) -> dict[str, dict[str, Any]]:
        """Activity records by key; one that is torn counts as not made."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted((self.path / ACTIVITIES).glob("*.json")):
            try:
                record = json.loads(path.read_bytes())
                found[record["key"]] = record
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def keep(self, record: Mapping[str, Any]) -> None:
        """Write an activity's record.  Raises NotValidError where the disk refuses."""
        self.write(f"{ACTIVITIES}/{record['key'].replace(':', '-')}.json", record)

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(redact(content, self._secrets), ensure_ascii=False, indent=2)
        write_whole(self.path / name, text.encode() + b"\n")

    def link(self, run: Path) -> str:
        """A run folder's path relative to this folder, where it lies within."""
        inside = run.resolve().is_relative_to(self.path.resolve())
        return str(run.resolve().relative_to(self.path.resolve())) if inside else str(run.resolve())


def new_path(base: Path, checklist: str) -> Path:
    """`<base>/<utc>-accept-<checklist>-<4 hex>`."""
    return base / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-accept-{checklist}-{randomness.token_hex(2)}"


def latest_path(base: Path, checklist: str) -> Path:
    """The newest acceptance of a checklist.  Raises RunFolderError where there is none."""
    found = sorted(base.glob(f"*-accept-{checklist}-????/{PLAN}"))
    if not found:
        raise RunFolderError(
            f"no acceptance of {checklist} in {base} to resume", "name its folder with -o"
        )
    return found[-1].parent
