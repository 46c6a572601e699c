"""Baselines: the last accepted nights, or nights that were pinned under a name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.judge.compare_likeness import Unlike, unlike
from bench.judge.compare_nights import since_new_level
from bench.nightly.config import Nightly
from bench.nightly.nights import SCHEMA, Night, as_bytes, night_of, read_json, read_nights
from bench.record.files import write_whole
from bench.yamlfile import nearest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Pinned:
    """A pinned baseline: nights that stay what they are, in a file that can be committed."""

    name: str
    pinned_utc: str
    nights: tuple[Night, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What tonight is held against.

    `nights` are alike and accepted; `history` all accepted nights that are alike, for the noise
    floor; `unlike` says why nights of a pinned baseline, or all there were, are left out.
    """

    nights: tuple[Night, ...]
    history: tuple[Night, ...]
    pinned: str | None = None
    unlike: tuple[Unlike, ...] = ()


def baseline_for(
    conditions: Mapping[str, Any], nights: Sequence[Night], config: Nightly
) -> Baseline:
    """The baseline of a night under these conditions; `nights` are those before it."""
    history = tuple(n for n in nights if n.accepted and not unlike([conditions, n.conditions]))
    if config.baseline.pinned is not None:
        pinned = read_pinned(config, config.baseline.pinned)
        differing = unlike([conditions, *(night.conditions for night in pinned.nights)])
        kept = () if differing else pinned.nights
        return Baseline(kept, history, pinned.name, tuple(differing))
    names = {found.name for found in since_new_level([n.as_values for n in history],
                                                     config.baseline.nights)}  # fmt: skip
    latest = next((night for night in reversed(nights) if night.accepted), None)
    differing = unlike([conditions, latest.conditions]) if latest and not history else []
    return Baseline(tuple(n for n in history if n.id in names), history, None, tuple(differing))


def pin(config: Nightly, name: str, night_ids: Sequence[str] = ()) -> Path:
    """Write a baseline of these nights, or of the present rolling one.

    Raises UsageError: a name that is no file name, an unknown night, nights that are not alike,
    none that was accepted.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f'"{name}" can\'t name a baseline', "letters, digits and ._- only")
    nights = read_nights(config.path)
    chosen = _chosen(nights, night_ids) if night_ids else _rolling(nights, config)
    differing = unlike([night.conditions for night in chosen])
    if differing:
        what = ", ".join(each.title.en for each in differing)
        raise UsageError(f"these nights were not measured alike: {what}", "pin others")
    config.baselines_path.mkdir(parents=True, exist_ok=True)
    path = config.baselines_path / f"{name}.json"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    pinned = Pinned(name, now, tuple(chosen))
    write_whole(path, as_bytes({"schema": SCHEMA, **asdict(pinned)}))
    return path


def read_pinned(config: Nightly, name: str) -> Pinned:
    """A pinned baseline by name.  Raises UsageError with the nearest known one."""
    path = config.baselines_path / f"{name}.json"
    if not path.is_file():
        known = [found.stem for found in config.baselines_path.glob("*.json")]
        hint = nearest(name, known) if known else "pin one: bench nightly baseline pin NAME"
        raise UsageError(f"no baseline {name} in {config.baselines_path}", hint)
    content = read_json(path)
    nights = tuple(night_of(each, path) for each in content.get("nights", ()))
    return Pinned(str(content.get("name", name)), str(content.get("pinned_utc", "")), nights)


def pinned_baselines(config: Nightly) -> list[Pinned]:
    """All pinned baselines by name."""
    paths = sorted(config.baselines_path.glob("*.json"))
    return [read_pinned(config, path.stem) for path in paths]


def _chosen(nights: Sequence[Night], ids: Sequence[str]) -> list[Night]:
    known = {night.id: night for night in nights}
    for name in ids:
        if name not in known:
            raise UsageError(f"no night {name}", nearest(name, list(known)))
    return [known[name] for name in ids]


def _rolling(nights: Sequence[Night], config: Nightly) -> list[Night]:
    accepted = [night for night in nights if night.accepted]
    if not accepted:
        raise UsageError(f"no accepted night in {config.path}", "let it run for a night first")
    last = accepted[-1].conditions
    alike = [night for night in accepted if not unlike([last, night.conditions])]
    names = {n.name for n in since_new_level([n.as_values for n in alike], config.baseline.nights)}
    return [night for night in alike if night.id in names]
