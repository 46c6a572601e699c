"""NEW against BASE: what changed, by how much, and whether that is chance.

A metric is worse (or better) when its difference is no chance, by a two-sided test at the profile's
confidence after Holm's correction over the metrics judged, and its estimate is at least the minimum
effect.  It is the same when its estimate is less than that, and its whole interval less than twice
it.  Everything between is undecided.  Exchanging the sides exchanges better and worse and changes
nothing else.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.judge.compare_blocks import Sample
from bench.judge.compare_likeness import Unlike, conditions, is_open_loop, plan_digest, unlike
from bench.judge.compare_pairs import Pair, pairs_of
from bench.judge.compare_samples import Slice, sample_of, slice_of
from bench.judge.compare_stats import (
    MISSED_EFFECTS,
    Basis,
    Change,
    Difference,
    Scale,
    decide,
    difference,
    effect_on_scale,
    holm,
    overall,
)
from bench.judge.judgement import Judgement
from bench.judge.metric import Scope, Text
from bench.judge.metrics import METRICS
from bench.judge.profile import Compared, Profile, quantile_of
from bench.judge.window import Window

CONFIDENCE = 0.95
DEFAULT_COMPARED: tuple[Compared, ...] = (
    Compared(metric="ttft_s", statistic="p50", minimum_effect=0.03),
    Compared(metric="ttft_s", statistic="p99", minimum_effect=0.05),
    Compared(metric="tpot_s", statistic="p50", minimum_effect=0.03),
    Compared(metric="tpot_s", statistic="p99", minimum_effect=0.05),
    Compared(metric="e2e_s", statistic="p50", minimum_effect=0.03),
    Compared(metric="output_tps", statistic="value", minimum_effect=0.03),
    Compared(metric="goodput_fraction", statistic="value", minimum_effect=0.01),
    Compared(metric="error_rate", statistic="value", minimum_effect=0.001),
    Compared(metric="cache_client", statistic="value", minimum_effect=0.02),
)
"""What is judged where the profile does not say: 3 % of medians and throughput, 5 % of P99, points
of shares."""

_MOST_RUNS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRun:
    """A run of either side: its folder's name, its manifest, what it came to."""

    name: str
    manifest: Mapping[str, Any]
    judgement: Judgement

    @property
    def valid(self) -> bool:
        return bool(self.judgement.verdict["valid"])


@dataclass(frozen=True, slots=True)
class Row:
    """One metric compared.  `p_adjusted` is Holm's; `advice` says why nothing was decided."""

    compared: Compared
    scale: Scale
    found: Difference
    p_adjusted: float
    change: Change
    advice: Text | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two sides.  `paired`: both followed one plan at the same times."""

    base: tuple[str, ...]
    new: tuple[str, ...]
    change: Change
    rows: tuple[Row, ...]
    confidence: float
    paired: bool = False
    pairs: tuple[Pair, ...] = ()
    unlike: tuple[Unlike, ...] = ()
    invalid: tuple[str, ...] = ()
    notes: tuple[Text, ...] = field(default=())


def compared_by(profile: Profile | None) -> tuple[Compared, ...]:
    """What a comparison under the profile judges."""
    return (profile.compare if profile else ()) or DEFAULT_COMPARED


def judges_cold_starts(profile: Profile | None) -> bool:
    """Whether requests of the warm-up phase are compared too."""
    return profile is not None and profile.cold_start == "include"


def scale_of(compared: Compared) -> Scale:
    """Shares differ by points; everything else by a ratio."""
    return Scale.POINTS if METRICS[compared.metric].unit == "fraction" else Scale.RELATIVE


def differing(
    base: Sequence[JudgedRun], new: Sequence[JudgedRun], *, same_profile: bool
) -> list[Unlike]:
    """Conditions that are not the same in all the runs; not to be compared unless forced."""
    runs = [conditions(run.manifest) for run in (*base, *new)]
    return unlike(runs, same_profile=same_profile)


def compare(
    base: Sequence[JudgedRun],
    new: Sequence[JudgedRun],
    profile: Profile | None = None,
    unlike: Sequence[Unlike] = (),
) -> Comparison:
    """Compare the runs of two sides; `unlike` is what differs and was allowed to."""
    confidence = profile.confidence if profile else CONFIDENCE
    digests = {plan_digest(run.manifest) for run in (*base, *new)}
    same_plan = len(digests) == 1 and None not in digests
    paired = same_plan and all(is_open_loop(run.manifest) for run in (*base, *new))
    slices = slices_of([*base, *new], common=not unlike, cold_start=judges_cold_starts(profile))
    sides = slices[: len(base)], slices[len(base) :]
    rows = [_row(each, *sides, confidence, paired) for each in compared_by(profile)]
    judged = judged_rows(rows, confidence)
    invalid = tuple(run.name for run in (*base, *new) if not run.valid)
    change = overall([row.change for row in judged])
    nothing_shown = bool(invalid) or change is Change.NONE
    return Comparison(
        base=tuple(run.name for run in base),
        new=tuple(run.name for run in new),
        change=Change.UNDECIDED if nothing_shown else change,
        rows=judged,
        confidence=confidence,
        paired=paired,
        pairs=pairs_of(*sides, confidence) if same_plan else (),
        unlike=tuple(unlike),
        invalid=invalid,
        notes=_notes(len(base), len(new), paired),
    )


def judged_rows(rows: Sequence[Row], confidence: float) -> tuple[Row, ...]:
    """The rows with what each came to, corrected over all that have a p-value."""
    tested = [k for k, row in enumerate(rows) if not math.isnan(row.found.p)]
    adjusted = dict(zip(tested, holm([rows[k].found.p for k in tested]), strict=True))
    return tuple(_judged(row, adjusted.get(k, math.nan), confidence) for k, row in enumerate(rows))


def _judged(row: Row, p_adjusted: float, confidence: float) -> Row:
    if row.change is Change.NONE:
        return row
    effect, lower = row.compared.minimum_effect, METRICS[row.compared.metric].direction == "lower"
    change = decide(row.found, p_adjusted, effect, row.scale, lower, confidence)
    advice = row.advice
    if change is Change.UNDECIDED and advice is None:
        advice = _advice(row, effect_on_scale(effect, row.scale))
    return replace(row, p_adjusted=p_adjusted, change=change, advice=advice)


def slices_of(
    runs: Sequence[JudgedRun], *, common: bool = True, cold_start: bool = False
) -> list[Slice]:
    """Each run in its own window, or all in one where they were made alike.

    Where a cut falls in one run is partly chance, and would make runs differ that don't: the common
    window is from the median start to the median end.
    """
    windows = [run.judgement.window for run in runs]
    if common:
        start, end = (
            statistics.median_low(getattr(window, name) for window in windows)
            for name in ("start_s", "end_s")
        )
        windows = [Window(start, max(start, end), windows[0].rule)] * len(windows)
    return [
        slice_of(found.requests, found.not_applicable, found.series, window, cold_start=cold_start)
        for found, window in zip((run.judgement for run in runs), windows, strict=True)
    ]


def _row(
    compared: Compared,
    base: Sequence[Slice],
    new: Sequence[Slice],
    confidence: float,
    paired: bool,
) -> Row:
    scale = scale_of(compared)
    bases, news = samples_of(compared, base), samples_of(compared, new)
    present = [sample for sample in (*bases, *news) if sample is not None]
    if not present:
        return Row(compared, scale, _UNKNOWN, math.nan, Change.NONE, _ABSENT)
    if len(present) < len(bases) + len(news):
        missing = len(bases) + len(news) - len(present)
        absent = Text(f"{missing} 次运行没有该值。", f"{missing} runs do not have it")
        return Row(compared, scale, _UNKNOWN, math.nan, Change.UNDECIDED, absent)
    known_base = [sample for sample in bases if sample is not None]
    known_new = [sample for sample in news if sample is not None]
    found = difference(known_base, known_new, scale, confidence, paired)
    advice = None if not math.isnan(found.p) else _why_unknown(compared, found, present, scale)
    return Row(compared, scale, found, math.nan, Change.UNDECIDED, advice)


def samples_of(compared: Compared, slices: Sequence[Slice]) -> list[Sample | None]:
    """One sample of the statistic for each run."""
    scope = METRICS[compared.metric].scope
    q = quantile_of(compared.statistic) if scope is Scope.REQUEST else None
    return [sample_of(found, compared.metric, q) for found in slices]


_NIGHTS_DIFFER = Text(
    "各夜之间的波动太大：需要更多次夜测，或更安静的机器。",
    "nights differ by too much: it takes more of them, or a quieter machine",
)
_UNKNOWN = Difference(math.nan, math.nan)
_ABSENT = Text("两侧都没有该值。", "neither side has it")
_FAILED = Text(
    "分位数为无穷：失败请求过多；见错误率。",
    "a quantile is infinite: too many requests failed; see the error rate",
)
_ZERO = Text("比值无定义：有一侧为 0。", "a ratio with 0 says nothing")
_THIN = Text(
    "样本太少：分位数两侧各需 10 个值，或每侧运行多次。",
    "too few: a quantile needs 10 values on either side of it, or several runs on each side",
)
_SHORT = Text(
    "一次运行的时间太短，看不出波动：延长运行，或每侧运行多次。",
    "one run is too short to show how it varies: a longer one, or several runs on each side",
)


def _why_unknown(
    compared: Compared, found: Difference, samples: Sequence[Sample], scale: Scale
) -> Text:
    if any(math.isinf(sample.value) for sample in samples):
        return _FAILED
    if math.isnan(found.change) and scale is Scale.RELATIVE:
        return _ZERO
    return _SHORT if quantile_of(compared.statistic) is None else _THIN


def _advice(row: Row, effect: float) -> Text:
    """What would settle it, if the difference stays as it is."""
    found = row.found
    if found.basis is Basis.NIGHTS:
        return _NIGHTS_DIFFER
    half, distance = (found.high - found.low) / 2, abs(found.change)
    room = distance if distance >= effect else MISSED_EFFECTS * effect - distance
    factor = (half / room) ** 2 if room > 0 else math.inf
    if not factor < _MOST_RUNS:
        return Text(
            "差异与最小效应太接近，增加运行也难以判定。",
            "too close to the minimum effect for more runs to settle it",
        )
    times = max(2, math.ceil(factor))
    return Text(f"约需 {times} 倍的运行次数。", f"about {times} times as many runs would settle it")


def _notes(bases: int, news: int, paired: bool) -> tuple[Text, ...]:
    notes = []
    if bases + news == 2:
        notes.append(
            Text(
                "每侧只有一次运行：区间不含运行之间的差异。",
                "One run on each side: the intervals leave out what differs from run to run.",
            )
        )
    if paired:
        notes.append(
            Text(
                "两侧执行同一计划，按相同时段配对重采样。",
                "Both sides followed one plan and were resampled at the same stretches of it.",
            )
        )
    return tuple(notes)
