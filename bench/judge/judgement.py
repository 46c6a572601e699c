"""A stored run judged: values of every metric, the verdict on a profile, whether to trust it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.client import Client
from bench.judge.diagnosis import Case, diagnose
from bench.judge.diagnosis_rules import RULES
from bench.judge.documents import junit, summary_of, verdict_of
from bench.judge.evidence import RunValues, StoredRun, evidence_of, read_values
from bench.judge.profile import Profile, Words
from bench.judge.score import score_of
from bench.judge.server_view import ServerView, probed_series
from bench.judge.stats import Flags
from bench.judge.tokens import Gaps
from bench.judge.validity import check
from bench.judge.verdict import judge_limit
from bench.judge.window import WHOLE_RUN, Window
from bench.record.files import write_whole

NO_PROFILE = Profile(name="none", title=Words(zh="无", en="none"))


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a run came to.

    `requests`: every row of the run with its request metrics as columns (NaN unknown or not
    applicable, +inf where the request failed or was dropped) and `in_window`, `good`;
    `not_applicable` holds the masks.  `itl_s`: the window's gaps per token, in no order, float32.
    `series`: one row for each second (see `window.per_second`).  `summary` and `verdict` are the
    contents of the JSON files.
    """

    requests: pd.DataFrame
    not_applicable: Mapping[str, Flags]
    itl_s: Gaps
    series: pd.DataFrame
    window: Window
    summary: dict[str, Any]
    verdict: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write summary.json, verdict.json and junit.xml; the same judgement, the same bytes.

        Raises NotValidError where the disk refuses them.
        """
        for name, content in (("summary", self.summary), ("verdict", self.verdict)):
            text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
            write_whole(folder / f"{name}.json", text.encode() + b"\n")
        write_whole(folder / "junit.xml", junit(folder.name, self.verdict))


def judge(run: StoredRun, profile: Profile | None = None) -> Judgement:
    """Judge a run, under a profile, or without one: then there are values and no limits."""
    rules = profile or NO_PROFILE
    values = read_values(run, rules)
    steady = evidence_of(run, values, values.steady, rules)
    uncut = steady
    if not values.steady.spans(values.whole):
        uncut = evidence_of(run, values, values.whole, rules, inside=steady)
    client = _client(run, values, rules)
    findings = check(client)
    results = [(limit, judge_limit(limit, steady)) for limit in rules.limits]
    summary = summary_of(values, steady, uncut, client)
    summary["diagnosis"] = diagnose(RULES, Case(steady.measured, steady.readings, findings))
    verdict = verdict_of(profile, values.steady, rules.confidence, findings, results)
    verdict["score"] = score_of(rules.score, steady, verdict["valid"])
    frame = values.frame
    frame["in_window"] = client.in_window
    frame["good"] = values.good[0] if values.good else np.zeros(len(frame), np.bool_)
    masks = {name: found.not_applicable for name, found in values.columns.items()}
    return Judgement(
        requests=frame,
        not_applicable={name: mask for name, mask in masks.items() if mask is not None},
        itl_s=steady.itl_s.values,
        series=values.series,
        window=values.steady,
        summary=summary,
        verdict=verdict,
    )


def _client(run: StoredRun, values: RunValues, rules: Profile) -> Client:
    return Client(
        requests=values.frame,
        in_window=values.rows_in(values.steady),
        window=values.steady,
        journal=run.journal,
        end=run.end,
        start_ns=run.start_ns,
        server=ServerView(run.server, WHOLE_RUN, probed_series(run.manifest)),
        limits=rules.validity,
        workload=run.manifest.get("workload") or {},
        ttft_limit_s=_ttft_limit_s(rules),
        defects=run.defects,
        duration_s=((run.manifest.get("load") or {}).get("pace") or {}).get("duration_s"),
    )


def _ttft_limit_s(profile: Profile) -> float | None:
    """The tightest TTFT target: a schedule lag has to be small against it."""
    targets = [(limit.metric, limit.bound) for limit in profile.limits if limit.level == "target"]
    good = [(limit.metric, limit.bound) for limit in profile.good.limits] if profile.good else []
    return min((bound for metric, bound in targets + good if metric == "ttft_s"), default=None)
