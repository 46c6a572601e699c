"""What a sweep came to: sweep.json, and the verdict its exit code tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench import __version__
from bench.judge.compare_likeness import conditions as conditions_of_run
from bench.judge.judgement import NO_PROFILE
from bench.judge.metric import Reading
from bench.judge.stats import Estimate, finite_or_none
from bench.judge.summary import value_of
from bench.judge.sweep import (
    FOLLOWING_FRACTION,
    SUSTAINED_FRACTION,
    Point,
    Step,
    attainment_points,
    bracket,
    highest_held,
    max_goodput,
    peak_throughput,
    saturation_points,
    scaling_coefficient,
)
from bench.judge.verdict import Verdict
from bench.sweep.baseline import Baseline
from bench.sweep.order import SweepOrder
from bench.workload.recipe import recipe_hash

SCHEMA = 1


def conditions_of(sweep: SweepOrder, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be the same for two sweeps to be held against each other.

    As of one of its runs, but the recipe is the one before a load was laid on it.
    """
    return {**conditions_of_run(manifest), "recipe": recipe_hash(sweep.recipe)}


def subject_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What ran against what, to be told; as of one of the sweep's runs."""
    server = (manifest.get("server") or {}).get("server") or {}
    resolved = (manifest.get("workload") or {}).get("resolved") or {}
    return {
        "recipe": resolved.get("title"),
        "url": manifest["target"].get("url"),
        "model": manifest["target"].get("model"),
        "server": " ".join(str(server[k]) for k in ("title", "version") if server.get(k)) or None,
    }


def as_json(
    sweep: SweepOrder,
    steps: Sequence[Step],
    ended: bool,
    manifest: Mapping[str, Any],
    baseline: Baseline | None = None,
) -> dict[str, Any]:
    """sweep.json.  `ended` is as `Sweeper.make` says; `manifest` that of one of the runs."""
    wanted = sweep.attainment
    ascending = sorted(steps, key=lambda step: step.load)
    attained = [] if wanted is None else attainment_points(ascending, wanted)
    saturation = saturation_points(ascending, open_loop=sweep.open_loop)
    goodput = max_goodput(ascending, wanted, open_loop=sweep.open_loop)
    peak = peak_throughput(ascending)
    scaling = scaling_coefficient(peak, sweep.replicas, baseline.peak if baseline else None)
    points = saturation if sweep.goal == "max-rate" else attained
    sought = sweep.goal == "max-rate" or wanted is not None
    return {
        "schema": SCHEMA,
        "bench_version": __version__,
        "verdict": verdict_of(steps, points if sought else None, ended, sweep.require_rps).value,
        "loop": "open" if sweep.open_loop else "closed",
        "goal": sweep.goal,
        "ended": ended,
        "require_rps": sweep.require_rps,
        "profile": _profile(sweep),
        "attainment": wanted,
        "confidence": (sweep.profile or NO_PROFILE).confidence,
        "replicas": sweep.replicas,
        "baseline": baseline.path if baseline else None,
        "subject": subject_of(manifest),
        "conditions": conditions_of(sweep, manifest),
        "metrics": {
            "max_goodput_rps": _reading(goodput),
            "scaling_coefficient": _reading(scaling),
        },
        "attained": _highest(attained, wanted),
        "saturation": _highest(
            saturation, SUSTAINED_FRACTION if sweep.open_loop else FOLLOWING_FRACTION
        ),
        "peak_output_tps": _estimate(peak),
        "steps": [_step(step, wanted) for step in ascending],
    }


def verdict_of(
    steps: Sequence[Step],
    points: Sequence[Point] | None,
    ended: bool,
    require_rps: float | None,
) -> Verdict:
    """Passed when the sought load is shown, and is at least what was required.

    `points` None: nothing was sought, the steps stand for themselves.  A step that is not valid, or
    a search that did not come to its end, leaves it undecided, unless it failed already.
    """
    if not any(step.valid for step in steps):
        return Verdict.INVALID
    whole = ended and all(step.valid for step in steps)
    if points is None:
        return Verdict.NONE if whole else Verdict.UNDECIDED
    found = highest_held(points)
    if require_rps is not None:
        if found.high <= require_rps:
            return Verdict.FAIL
        return Verdict.PASS if found.low >= require_rps else Verdict.UNDECIDED
    if points and min(points, key=lambda point: point.load).refuted:
        return Verdict.FAIL
    return Verdict.PASS if whole and not math.isnan(found.low) else Verdict.UNDECIDED


def _profile(sweep: SweepOrder) -> dict[str, Any] | None:
    found = sweep.profile
    if found is None:
        return None
    good = [limit.model_dump() for limit in found.good.limits] if found.good else []
    return {"name": found.name, "title": found.title.model_dump(), "good": good}


def _highest(points: Sequence[Point], wanted: float | None) -> dict[str, Any] | None:
    """The highest load that held, the lowest that did not, and the share that was wanted."""
    if wanted is None:
        return None
    _, lost = bracket(points)
    return {**_estimate(highest_held(points)), "lost": lost, "wanted": wanted}


def _step(step: Step, wanted: float | None) -> dict[str, Any]:
    return {
        "load": step.load,
        "run": step.run,
        "valid": step.valid,
        "reasons": list(step.reasons),
        "verdict": step.verdict,
        "attained": _attained(step, wanted),
        "sustained": _estimate(step.sustained),
        "metrics": {name: dict(entry) for name, entry in step.metrics.items()},
        "percentiles": [
            {"metric": metric, "statistic": name, **_estimate(found)}
            for (metric, name), found in step.percentiles.items()
        ],
    }


def _attained(step: Step, wanted: float | None) -> str:
    """Whether the run is shown to meet the attainment, or shown not to: never met by chance."""
    if not step.valid:
        return "invalid"
    points = [] if wanted is None else attainment_points([step], wanted)
    if not points:
        return "none"
    return "met" if points[0].shown else "missed" if points[0].refuted else "undecided"


def _reading(reading: Reading) -> dict[str, Any]:
    return {**value_of(reading), "infinite": _infinite(reading.estimate)}


def _estimate(found: Estimate) -> dict[str, Any]:
    numbers = {name: finite_or_none(getattr(found, name)) for name in ("value", "low", "high")}
    return {**numbers, "n": found.n, "infinite": _infinite(found)}


def _infinite(found: Estimate) -> list[str]:
    return [name for name in ("value", "low", "high") if math.isinf(getattr(found, name))]
