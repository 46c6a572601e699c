"""Nights as they are kept: one JSON file each, `nights/<id>.json`.

History of the schema:
    1  first version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from bench.errors import UsageError
from bench.judge.compare_nights import NightValues
from bench.judge.compare_stats import Change
from bench.record.files import write_whole
from bench.yamlfile import nearest

SCHEMA = 1
FOLDER = "nights"


@dataclass(frozen=True, slots=True)
class Round:
    """One run of a night: its folder's name, whether it can be trusted, its verdict."""

    run: str
    valid: bool
    verdict: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Night:
    """One night.

    `id` is its UTC time, `20260101T020000Z`.  `conditions` have to be the same in nights that are
    compared.  `values`: the statistics of each valid round, +∞ (null in the file) where failed
    requests reach a quantile.  `change` is the JSON of the
    comparison.  An `accepted` night is a baseline for later ones; `new_level` ends the baseline
    before it.
    """

    id: str
    label: str
    server: str
    conditions: Mapping[str, Any]
    rounds: tuple[Round, ...]
    values: Mapping[str, tuple[float, ...]]
    change: Mapping[str, Any]
    accepted: bool = False
    new_level: bool = False

    @property
    def verdict(self) -> str:
        return str(self.change.get("verdict", Change.NONE.value))

    @property
    def as_values(self) -> NightValues:
        return NightValues(self.id, self.values, self.new_level)


def read_nights(folder: Path) -> list[Night]:
    """All nights of a series, the oldest first.  Raises UsageError for a file that is none."""
    return [read_night(path) for path in sorted((folder / FOLDER).glob("*.json"))]


def read_night(path: Path) -> Night:
    """One night.  Raises UsageError."""
    return night_of(read_json(path), path)


def night_of(content: Mapping[str, Any], path: Path) -> Night:
    """A night from what was read of `path`.  Raises UsageError."""
    try:
        rounds = tuple(
            Round(**{**each, "reasons": tuple(each["reasons"])}) for each in content["rounds"]
        )
        values = {
            key: tuple(math.inf if value is None else value for value in found)
            for key, found in content["values"].items()
        }
        kept = {key: value for key, value in content.items() if key != "schema"}
        return Night(**{**kept, "rounds": rounds, "values": values})
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a night: {error}", "move it away") from None


def write_night(folder: Path, night: Night) -> Path:
    """Write or replace a night's file.  Raises NotValidError where the disk refuses it."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    path = folder / FOLDER / f"{night.id}.json"
    write_whole(path, as_bytes({"schema": SCHEMA, **asdict(night)}))
    return path


def accept(folder: Path, night_id: str) -> Night:
    """Take a night as the new level: later ones are held against it and those after it.

    Raises UsageError where there is no such night.
    """
    nights = {night.id: night for night in read_nights(folder)}
    if night_id not in nights:
        raise UsageError(f"no night {night_id} in {folder}", nearest(night_id, list(nights)))
    accepted = replace(nights[night_id], accepted=True, new_level=True)
    write_night(folder, accepted)
    return accepted


def as_bytes(content: Mapping[str, Any]) -> bytes:
    """Indented JSON, so that a change of it reads well in a diff."""
    return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object with a `schema` that this release knows.  Raises UsageError."""
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}", "move it away") from None
    version = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(version, int) or version > SCHEMA:
        raise UsageError(
            f"{path} has schema {version}; this release reads up to {SCHEMA}",
            "read it with the release that wrote it, or a later one",
        )
    return dict(content)
