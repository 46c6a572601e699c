"""The rounds of one night: the same run again and again, judged, and held against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.conduct.run import Order, Watch, conduct
from bench.judge.compare import (
    CONFIDENCE,
    Comparison,
    JudgedRun,
    compared_by,
    judges_cold_starts,
    samples_of,
    slices_of,
)
from bench.judge.compare_documents import as_json
from bench.judge.compare_likeness import conditions
from bench.judge.compare_nights import NightValues, compare_nights, key_of
from bench.judge.compare_stats import Change, overall
from bench.judge.judgement import Judgement, judge
from bench.judge.metric import Text
from bench.judge.profile import Profile
from bench.nightly.baselines import Baseline, baseline_for
from bench.nightly.config import Nightly
from bench.nightly.nights import Night, Round
from bench.record.frame import Run, open_run
from bench.report.history_nights import REPORT
from bench.report.page import write_report
from bench.report.words import choose_language

FEWEST_ROUNDS = 2
FEWEST_NIGHTS = 3
"""Accepted nights from which on the noise between nights is seen and not only assumed."""

_ASSUMED = Text(
    "夜测还太少：夜间波动主要按最小效应的 1/3 假定，结论仅供参考。",
    "Too few nights yet: the noise between them is mostly assumed, as a third of the minimum "
    "effect, so the result rests on that.",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The rounds of a night, warm-up rounds left out."""

    runs: tuple[JudgedRun, ...]
    interrupted: bool = False


def conduct_rounds(
    order: Order, config: Nightly, profile: Profile | None, watch: Watch
) -> Measured:
    """Warm-up rounds, then rounds; each its own run folder, judged.  Ends where interrupted.

    Raises BenchError for what makes a round impossible.
    """
    runs: list[JudgedRun] = []
    for number in range(config.warmup_rounds + config.rounds):
        warming = number < config.warmup_rounds
        of = config.warmup_rounds if warming else config.rounds
        shown = number + 1 if warming else number - config.warmup_rounds + 1
        watch.note(f"{'warm-up round' if warming else 'round'} {shown} of {of}")
        done = conduct(order, watch)
        if done.interrupted:
            return Measured(tuple(runs), interrupted=True)
        if not warming:
            run = open_run(done.path)
            judgement = judge(run, profile)
            judgement.write(done.path)
            if config.reports:
                _write_report(run, judgement, config)
            runs.append(JudgedRun(done.path.name, run.manifest, judgement))
    return Measured(tuple(runs))


def _write_report(run: Run, judgement: Judgement, config: Nightly) -> None:
    """The report of a round; all of them share one copy of the figures' library, in `runs/`."""
    page, language = run.path / REPORT, choose_language(config.lang)
    write_report(run, judgement, page, language=language, plotlyjs="parent")


def night_of_runs(
    runs: Sequence[JudgedRun],
    earlier: Sequence[Night],
    config: Nightly,
    profile: Profile | None,
    label: str = "",
) -> Night:
    """The night that these rounds make, held against earlier nights."""
    manifest = runs[0].manifest
    valid = [run for run in runs if run.valid]
    compared = compared_by(profile)
    slices = slices_of(valid, cold_start=judges_cold_starts(profile)) if valid else []
    values = {}
    for each in compared:
        found = [sample.value for sample in samples_of(each, slices) if sample is not None]
        if found:
            values[key_of(each)] = tuple(found)
    tonight = NightValues(night_id(manifest), values)
    same = conditions(manifest)
    baseline = baseline_for(same, earlier, config)
    change = _change(tonight, baseline, config, profile, runs)
    verdict = Change(change["verdict"])
    rounds = tuple(_round(run) for run in runs)
    failed = config.objectives and any(each.verdict == "fail" for each in rounds)
    good = len(valid) >= FEWEST_ROUNDS and not failed
    return Night(
        id=tonight.name,
        label=label,
        server=_server(manifest),
        conditions=same,
        rounds=rounds,
        values=values,
        change=change,
        accepted=good and verdict is not Change.WORSE,
        new_level=good and verdict is Change.BETTER and baseline.pinned is None,
    )


def night_id(manifest: Mapping[str, Any]) -> str:
    """The UTC time at which the first round was made: the head of its folder's name."""
    return str(manifest["run_id"]).split("-", 1)[0]


def failed_objectives(night: Night) -> list[str]:
    """Rounds that failed their profile."""
    return [each.run for each in night.rounds if each.verdict == "fail"]


def _change(
    tonight: NightValues,
    baseline: Baseline,
    config: Nightly,
    profile: Profile | None,
    runs: Sequence[JudgedRun],
) -> dict[str, Any]:
    """The comparison's JSON, with the noise floor of each metric."""
    confidence = profile.confidence if profile else CONFIDENCE
    invalid = tuple(run.name for run in runs if not run.valid)
    found = compare_nights(
        tonight,
        [night.as_values for night in baseline.nights],
        [night.as_values for night in baseline.history],
        compared_by(profile),
        window=config.baseline.nights,
        confidence=confidence,
    )
    verdict = overall([row.change for row in found.rows])
    if len(runs) - len(invalid) < FEWEST_ROUNDS or (baseline.unlike and baseline.pinned):
        verdict = Change.UNDECIDED
    elif not baseline.nights:
        verdict = Change.NONE
    comparison = Comparison(
        base=found.baseline,
        new=(tonight.name,),
        change=verdict,
        rows=found.rows,
        confidence=confidence,
        unlike=baseline.unlike,
        notes=_notes(baseline, invalid),
    )
    floors = {
        key: {"error": floor.error, "degrees": floor.degrees, "differences": floor.differences}
        for key, floor in found.floors.items()
    }
    return {**as_json(comparison), "noise_floor": floors, "pinned": baseline.pinned}


def _notes(baseline: Baseline, invalid: Sequence[str]) -> tuple[Text, ...]:
    notes = []
    if baseline.pinned:
        notes.append(
            Text(f"基线：固定的 {baseline.pinned}。", f"Baseline: pinned, {baseline.pinned}.")
        )
    elif baseline.nights:
        n = len(baseline.nights)
        notes.append(
            Text(f"基线：最近 {n} 次已接受的夜测。", f"Baseline: the last {n} accepted nights.")
            if n > 1
            else Text("基线：最近 1 次已接受的夜测。", "Baseline: the last accepted night.")
        )
    else:
        notes.append(
            Text("尚无基线：这是同条件下的首夜。", "No baseline yet: the first night of its kind.")
        )
    if baseline.nights and len(baseline.history) < FEWEST_NIGHTS:
        notes.append(_ASSUMED)
    notes += [
        Text(f"{name} 无效，未计入。", f"{name} is not valid and was left out.") for name in invalid
    ]
    return tuple(notes)


def _round(run: JudgedRun) -> Round:
    verdict = run.judgement.verdict
    reasons = tuple(str(reason["rule"]) for reason in verdict["reasons"])
    return Round(run.name, run.valid, str(verdict["verdict"]), reasons)


def _server(manifest: Mapping[str, Any]) -> str:
    found = (manifest.get("server") or {}).get("server") or {}
    return " ".join(str(found[key]) for key in ("title", "version") if found.get(key))
