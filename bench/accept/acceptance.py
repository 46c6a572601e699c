"""An acceptance as a whole: described in its folder, judged from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench import __version__
from bench.accept.documents import write_documents
from bench.accept.evaluate import evaluate
from bench.accept.evidence import read_evidence
from bench.accept.facts import Facts
from bench.accept.plan import Plan, plan_of
from bench.accept.scenario import profile_of
from bench.accept.settings import Settings
from bench.errors import ConfigError
from bench.judge.checklist import Checklist, load_checklist
from bench.judge.checklist_result import Acceptance
from bench.model import Target
from bench.record.plan_folder import PLAN, PlanFolder
from bench.yamlfile import explain

SERVER = "server"
"""The key of the record that says what the target was found to be."""


@dataclass(frozen=True, slots=True)
class Described:
    """What an acceptance is: the checklist (by the name or path it was given), the settings, the
    share of the time that its loads take."""

    checklist_given: str
    checklist: Checklist
    settings: Settings
    plan: Plan
    scale: float

    def as_json(self, target: Target) -> dict[str, Any]:
        """plan.json."""
        canonical = self.checklist.model_dump_json(by_alias=True)
        return {
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "bench_version": __version__,
            "checklist": self.checklist_given,
            "checklist_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
            "settings": self.settings.model_dump(mode="json", by_alias=True),
            "settings_folder": str(self.settings.path_of("").resolve()),
            "scale": self.scale,
            "target": {"url": target.base_url, "model": target.model, "endpoint": target.endpoint},
            "activities": {key: list(ids) for key, ids in self.plan.activities.items()},
        }


def describe(checklist: str, settings: Settings, scale: float) -> Described:
    """Raises ConfigError for anything that is wrong with checklist or settings."""
    loaded = load_checklist(checklist)
    for name in loaded.scenarios:
        profile_of(name, loaded, settings)
    return Described(checklist, loaded, settings, plan_of(loaded, settings), scale)


def described_in(folder: PlanFolder) -> Described:
    """What a stored acceptance is.  Raises RunFolderError, ConfigError."""
    stored = folder.plan()
    try:
        settings = Settings.model_validate_json(json.dumps(stored["settings"]))
        place, scale = Path(stored["settings_folder"]), float(stored["scale"])
        return describe(str(stored["checklist"]), settings.in_folder(place), scale)
    except ValidationError as error:
        message, hint = explain(error, Settings)
        raise ConfigError(f"{folder.path / PLAN}: {message}", hint) from None
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{folder.path / PLAN}: not a plan of this release ({error})") from None


def conclude(
    folder: PlanFolder, described: Described, evidence: Path | None, today: date
) -> Acceptance:
    """Judge what the folder holds and write the documents (all but the HTML page).

    Raises ConfigError for wrong evidence, NotValidError where the disk refuses.
    """
    records, stored = folder.records(), folder.plan()
    target = str(stored["target"]["url"])
    server: Mapping[str, Any] = records.get(SERVER, {}).get("observed", {})
    facts = Facts(
        folder.path,
        described.checklist,
        described.settings,
        read_evidence(evidence, described.checklist, today, target),
        records,
        described.plan.limits,
        family=server.get("family", "openai"),
        target=target,
    )
    conditions = {
        "target": target,
        "model": server.get("model"),
        "server": " ".join(filter(None, (server.get("title"), server.get("version")))),
        "profile": described.settings.profile or described.checklist.profile,
        "began_utc": stored["created_utc"],
        "judged_on": today.isoformat(),
        "scale": described.scale,
        "rehearsal": described.scale != 1,
        "bench_version": __version__,
    }
    acceptance = evaluate(described.plan, facts, conditions)
    write_documents(folder, described.plan, facts, acceptance)
    return acceptance
