"""A folder of several runs made by one plan: the plan first, a record of each activity, runs.

<folder>/
  plan.json          what is to be done, against what; never changed
  activities/*.json  what became of each activity; written again as it gets on
  runs/<run folder>  as `bench run` makes them

An acceptance and a sweep are such folders; what they derive from the runs stands beside.
"""

from __future__ import annotations

import contextlib
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


class PlanFolder:
    """One such folder.  `secrets` are kept out of everything that is written.

    `kind` is what the plan is of, such as "acceptance" or "sweep", for messages.
    """

    def __init__(self, path: Path, secrets: Iterable[str] = (), *, kind: str) -> None:
        self.path = path
        self.kind = kind
        self._secrets = tuple(secrets)

    @property
    def runs(self) -> Path:
        return self.path / RUNS

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Make the folder and write the plan.  Raises ConfigError where one is there already."""
        if (self.path / PLAN).exists():
            raise ConfigError(
                f"{self.path} holds the plan of an earlier {self.kind} already",
                "continue it with --resume, or name another folder with -o",
            )
        for folder in (self.path, self.path / ACTIVITIES, self.runs):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"can't make {folder}: {error.strerror}", "choose another folder with -o"
                ) from None
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
                f"{self.path}: this {self.kind} was begun with another {', '.join(differing)}",
                "repeat the first command with --resume, or begin anew without it",
            )

    def plan(self) -> dict[str, Any]:
        """Raises RunFolderError where the folder holds no plan."""
        found: object = None
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.path / PLAN).read_bytes())
        if not isinstance(found, dict):
            raise RunFolderError(
                f"{self.path} holds no {self.kind}: {PLAN} is not there or not readable",
                f"name the folder of an earlier {self.kind}",
            )
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


def new_path(base: Path, stem: str) -> Path:
    """`<base>/<utc>-<stem>-<4 hex>`."""
    return base / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{stem}-{randomness.token_hex(2)}"


def latest_path(base: Path, stem: str) -> Path:
    """The newest folder of that stem.  Raises RunFolderError where there is none."""
    found = sorted(base.glob(f"*-{stem}-????/{PLAN}"))
    if not found:
        raise RunFolderError(f"no {stem} in {base} to resume", "name its folder with -o")
    return found[-1].parent


def open_plan_folder(
    kind: str,
    stem: str,
    plan: Mapping[str, Any],
    *,
    base: Path,
    path: Path | None,
    resume: bool,
    secrets: Iterable[str],
) -> PlanFolder:
    """The folder at `path`, or a new one below `base`, or its newest one, with this plan.

    Raises ConfigError and RunFolderError as `begin` and `resume` do.
    """
    if path is None:
        path = latest_path(base, stem) if resume else new_path(base, stem)
    folder = PlanFolder(path, secrets, kind=kind)
    begun = folder.resume if resume else folder.begin
    begun(plan)
    return folder
