"""The sweep of one replica that a sweep of several is held against (§5.5.1)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import RunFolderError, UsageError
from bench.judge.compare_likeness import unlike
from bench.judge.stats import Estimate

SWEEP = "sweep.json"


@dataclass(frozen=True, slots=True)
class Baseline:
    """`peak` is its highest output tokens per second; `conditions` what ran against what."""

    path: str
    peak: Estimate
    conditions: Mapping[str, Any]


def read_baseline(folder: Path) -> Baseline:
    """Raises RunFolderError for what is no judged sweep, UsageError for one of several replicas."""
    path = folder / SWEEP
    try:
        found = json.loads(path.read_bytes())
        replicas, entry, conditions = (
            found[name] for name in ("replicas", "peak_output_tps", "conditions")
        )
        value, low, high = (
            math.nan if entry[end] is None else float(entry[end])
            for end in ("value", "low", "high")
        )
        peak = Estimate(value, low, high, int(entry["n"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise RunFolderError(
            f"{path} can't be read as a sweep's result",
            "name the folder of a sweep that came to its end",
        ) from None
    if replicas != 1:
        raise UsageError(
            f"{folder}: expected a sweep of 1 replica, got {replicas or 'one that does not say'}",
            "make it with --replicas 1",
        )
    return Baseline(str(folder), peak, conditions)


def check_alike(baseline: Baseline, conditions: Mapping[str, Any]) -> None:
    """Raises UsageError naming what differs: such peaks are of different loads."""
    differing = unlike([baseline.conditions, conditions])
    if differing:
        what = "; ".join(f"{each.title.en} ({' / '.join(each.values)})" for each in differing)
        raise UsageError(
            f"{baseline.path} was not made alike: {what}",
            "repeat its command against the target with more replicas",
        )
