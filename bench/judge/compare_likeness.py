"""May two runs be compared?  Only what was measured in the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import ConfigError
from bench.judge.metric import Text
from bench.judge.profile import profile_of

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unlike:
    """A condition that differs between runs: its name, and each different value as text."""

    condition: str
    title: Text
    values: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "condition": self.condition,
            "title": self.title.as_json(),
            "values": list(self.values),
        }


_CONDITIONS: tuple[tuple[str, Text, tuple[str, ...]], ...] = (
    ("recipe", Text("负载配方", "recipe"), ("workload", "recipe_hash")),
    ("model", Text("目标模型", "target model"), ("target", "model")),
    ("endpoint", Text("接口", "endpoint"), ("target", "endpoint")),
    ("transport", Text("传输方式", "transport"), ("load", "transport")),
    ("workers", Text("负载进程数", "workers"), ("load", "workers")),
)
_PROFILE = Text("SLO 配置", "profile")
_LONGEST = 60


def conditions(manifest: Manifest) -> dict[str, Any]:
    """What has to be the same for runs to be comparable, by name; None where not stated."""
    found = {name: _at(manifest, path) for name, _, path in _CONDITIONS}
    return {**found, "profile": _profile(manifest)}


def unlike(runs: Sequence[Mapping[str, Any]], *, same_profile: bool = False) -> list[Unlike]:
    """The conditions (see `conditions`) that are not the same in all runs.

    `same_profile`: the profile is given, so the runs' own don't matter.
    """
    titles = {name: title for name, title, _ in _CONDITIONS}
    if not same_profile:
        titles["profile"] = _PROFILE
    found = []
    for name, title in titles.items():
        texts = list(dict.fromkeys(_text(name, run.get(name)) for run in runs))
        if len({json.dumps(run.get(name), sort_keys=True) for run in runs}) > 1:
            found.append(Unlike(name, title, tuple(texts)))
    return found


def plan_digest(manifest: Manifest) -> str | None:
    """What the plan was: equal digests are the same requests at the same planned times."""
    digest = _at(manifest, ("workload", "digest"))
    return digest if isinstance(digest, str) else None


def is_open_loop(manifest: Manifest) -> bool:
    """Whether requests started at planned times and not when a slot fell free."""
    return _at(manifest, ("load", "pace")) is not None and (
        _at(manifest, ("load", "pace", "concurrency")) is None
    )


def _at(manifest: Manifest, path: Sequence[str]) -> Any:
    value: Any = manifest
    for step in path:
        value = (value or {}).get(step)
    return value


def _profile(manifest: Manifest) -> Any:
    """The run's profile with the defaults of this release, so that an older one's is equal."""
    try:
        profile = profile_of(manifest)
    except ConfigError:
        return manifest.get("profile")
    return profile.model_dump(mode="json") if profile else None


def _text(name: str, value: Any) -> str:
    if value is None:
        return "—"
    if name == "profile" and isinstance(value, Mapping):
        return str(value.get("name"))
    return str(value)[: 12 if name == "recipe" else _LONGEST]
