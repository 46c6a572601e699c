"""The contents of summary.json, verdict.json and junit.xml (design, "Contracts")."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from bench.judge import cache, client
from bench.judge.client import Client
from bench.judge.contamination import template_tokens
from bench.judge.definitions import definitions
from bench.judge.evidence import RunValues
from bench.judge.metric import outcome_is
from bench.judge.metrics import METRICS
from bench.judge.profile import Limit, Profile
from bench.judge.reconcile import reconcile
from bench.judge.stats import finite_or_none
from bench.judge.summary import SCHEMA, attainment, cleaned, metrics_of
from bench.judge.tokens import ranked, selected
from bench.judge.validity import Finding, State, is_valid
from bench.judge.verdict import Evidence, Judged, Result, Verdict, overall
from bench.judge.window import Window

VERDICT_SCHEMA = 1

_CLEANED = ("ttft_s", "tpot_s", "e2e_s")


def summary_of(
    values: RunValues, steady: Evidence, uncut: Evidence, measured_client: Client
) -> dict[str, Any]:
    """summary.json: the window's values; `uncut` those of the whole main phase."""
    measured, found = steady.measured, measured_client
    events = steady.itl_s
    if values.tokens.several:
        keep = values.rows_in(measured.window)
        events = ranked(selected(values.tokens.per_event, keep))
    return {
        "schema": SCHEMA,
        "window": measured.window.as_json(),
        "counts": _counts(found),
        "metrics": metrics_of(measured.columns, steady.readings, steady.gaps),
        "uncut": {
            "window": uncut.measured.window.as_json(),
            "metrics": metrics_of(uncut.measured.columns, uncut.readings, uncut.gaps),
        },
        "slo_attainment": attainment(measured),
        "cache": cache.views(
            measured,
            steady.readings,
            client.other_traffic_tokens(found),
            template_tokens(found.workload),
        ),
        "client": _client_part(found),
        "reconciliation": reconcile(found.requests, found.server, found.workload),
        "cleaned": cleaned(measured.columns, _CLEANED),
        "definitions": definitions(measured, steady.itl_s, events),
    }


def _counts(found: Client) -> dict[str, Any]:
    """Where the planned requests ended: from end.json, or from manifest and rows of a killed run.

    What a killed run planned and has no row for is missing: the counts don't add up to `planned`.
    """
    if found.end is not None:
        names = ("planned", "ok", "failed", "dropped", "aborted")
        counts: dict[str, Any] = {name: found.end[name] for name in names}
    else:
        rows = found.requests
        failed = rows["error_class"][outcome_is(rows, "failed")].astype(object)
        counts = {
            "planned": found.workload.get("requests"),
            "ok": int(outcome_is(rows, "ok").sum()),
            "failed": {str(k): int(n) for k, n in sorted(failed.value_counts().items())},
            "dropped": int(outcome_is(rows, "dropped").sum()),
            "aborted": int(outcome_is(rows, "aborted").sum()),
        }
    warmup = (found.requests["phase"] != "main").to_numpy()
    return {**counts, "warmup": int(warmup.sum()), "in_window": int(found.in_window.sum())}


def _client_part(found: Client) -> dict[str, Any]:
    workers = ((found.end or {}).get("client") or {}).get("workers", ())
    cpu_s = ((found.end or {}).get("client") or {}).get("cpu_s")
    tokens = sum(worker.get("tokens", 0) for worker in workers)
    uncertain = found.requests["uncertain_first"].to_numpy(bool) & found.in_window
    return {
        "cpu_s": cpu_s,
        "cpu_us_per_token": cpu_s * 1e6 / tokens if cpu_s is not None and tokens else None,
        "cpu_fraction": client.cpu_fraction(found),
        "schedule_lag_p99_s": finite_or_none(client.lag_p99_s(found)),
        "uncertain_first_tokens": int(uncertain.sum()),
        "uncertain_first_fraction": client.uncertain_fraction(found),
        "loop_stall_max_s": client.stall_s(found),
    }


def verdict_of(
    profile: Profile | None,
    window: Window,
    confidence: float,
    findings: Sequence[Finding],
    results: Sequence[tuple[Limit, Judged]],
) -> dict[str, Any]:
    """verdict.json.  A run that is not valid gets no pass and no fail: results are withheld."""
    valid = is_valid(findings)
    targets = [judged.result for limit, judged in results if limit.level == "target"]
    return {
        "schema": VERDICT_SCHEMA,
        "valid": valid,
        "reasons": [found.as_json() for found in findings if found.state is State.VIOLATED],
        "verdict": overall(targets, valid).value if profile else _without_profile(valid),
        "profile": _profile(profile) if profile else None,
        "confidence": confidence,
        "window": window.as_json(),
        "limits": [
            _limit_row(limit, judged, valid, profile.unit_of(limit.metric))
            for limit, judged in results
            if profile
        ],
        "validity": [found.as_json() for found in findings],
        "references": [r.model_dump() for r in profile.references] if profile else [],
    }


def _without_profile(valid: bool) -> str:
    return (Verdict.NONE if valid else Verdict.INVALID).value


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "title": profile.title.model_dump(),
        "currency": profile.currency,
    }


def _limit_row(limit: Limit, judged: Judged, valid: bool, unit: str) -> dict[str, Any]:
    metric, found = METRICS[limit.metric], judged.estimate
    numbers = {"value": found.value, "low": found.low, "high": found.high}
    result = judged.result
    if not valid and result in (Result.PASS, Result.FAIL):
        result = Result.UNDECIDED
    return {
        "metric": limit.metric,
        "title": metric.title.as_json(),
        "unit": unit,
        "statistic": limit.statistic,
        "bound": limit.bound,
        "direction": metric.direction,
        "level": limit.level,
        **{name: finite_or_none(number) for name, number in numbers.items()},
        "infinite": [name for name, number in numbers.items() if math.isinf(number)],
        "n": found.n,
        "effective_n": finite_or_none(found.effective_n),
        "unknown": judged.unknown,
        "result": result.value,
        "source": limit.source,
        "definition": metric.formula,
        "definition_zh": metric.definition.zh,
        "note": limit.note.model_dump() if limit.note else None,
        "advice": judged.advice.as_json() if judged.advice else None,
    }


def junit(suite: str, verdict: Mapping[str, Any]) -> bytes:
    """JUnit XML: each rule of validity and each target limit is a test case.

    Undecided and unknown are skipped, with the reason: not passed and not failed.
    """
    rules, limits = verdict["validity"], verdict["limits"]
    root = ElementTree.Element("testsuites")
    groups = {
        "validity": [(rule["rule"], rule["result"], rule) for rule in rules],
        "limits": [
            (f"{row['metric']} {row['statistic']}", row["result"], row)
            for row in limits
            if row["level"] == "target"
        ],
    }
    for group, cases in groups.items():
        bad = sum(result in ("violated", "fail") for _, result, _ in cases)
        skipped = sum(result not in ("ok", "pass", "violated", "fail") for _, result, _ in cases)
        made = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{suite}.{group}",
            tests=str(len(cases)),
            failures=str(bad),
            skipped=str(skipped),
        )
        for name, result, row in cases:
            case = ElementTree.SubElement(made, "testcase", classname=f"bench.{group}", name=name)
            if result in ("violated", "fail"):
                ElementTree.SubElement(case, "failure", message=_message(row))
            elif result not in ("ok", "pass"):
                ElementTree.SubElement(case, "skipped", message=f"{result}: {_message(row)}")
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _message(row: Mapping[str, Any]) -> str:
    bound = row.get("bound", row.get("limit"))
    value = "∞" if "value" in row.get("infinite", ()) else row["value"]
    advice = (row["advice"] or {}).get("en", "")
    sign = "<=" if row["direction"] == "lower" else ">="
    return f"value {'unknown' if value is None else value}, wanted {sign} {bound}. {advice}".strip()
