"""The top band: the verdict in a word, the four numbers that matter, what ran against what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.report.changes import quantity
from bench.report.evidence import Evidence
from bench.report.numbers import DASH, bound, clock, count, span

SYMBOLS = {
    "pass": "✓",
    "fail": "✗",
    "undecided": "?",
    "invalid": "⊘",
    "none": "·",
    "not_applicable": "·",
    "unknown": "?",
}
# One number of each kind, in the order in which a reader asks for them: the metrics whose limit is
# taken, and what is shown without a limit on any of them.
_KINDS = (
    (("ttft_s", "ttft_from_send_s"), ("ttft_s", "p99")),
    (("tpot_s", "itl_s", "e2e_s", "normalized_latency_s"), ("tpot_s", "p99")),
    (
        (
            "goodput_fraction",
            "goodput_rps",
            "goodput_tps",
            "output_tps",
            "total_tps",
            "request_rps",
        ),
        ("output_tps", "value"),
    ),
    (
        ("error_rate", "availability", "request_availability", "timeout_rate"),
        ("error_rate", "value"),
    ),
)
_ORDER = {"fail": 0, "undecided": 1, "pass": 2, "not_applicable": 3}


@dataclass(frozen=True, slots=True)
class Card:
    """One number: what it is, its value, its limit with the result, its interval if it has one."""

    name: str
    value: str
    limit: str
    interval: str = ""
    tone: str = "none"
    symbol: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """The top of a page: whose it is, its verdict and why, cards, facts.

    `kind` is the key of the word that says what kind of page it is; `notice` stands before the
    reason where the verdict has to be read with a reservation.
    """

    title: str
    tone: str
    symbol: str
    verdict_word: str
    because: str
    cards: tuple[Card, ...]
    facts: tuple[tuple[str, str], ...]
    kind: str = "page.kind"
    notice: str = ""


def band(evidence: Evidence) -> Band:
    """The band of a judged run."""
    verdict = evidence.verdict["verdict"]
    return Band(
        title=str(evidence.run.manifest.get("run_id", "")),
        tone=verdict,
        symbol=SYMBOLS[verdict],
        verdict_word=evidence.words(f"verdict.{verdict}"),
        because=_because(evidence, verdict),
        cards=tuple(_cards(evidence)),
        facts=tuple(_facts(evidence)),
        notice=_notice(evidence),
    )


def _notice(evidence: Evidence) -> str:
    """What the verdict has to be read with."""
    said = (_ended_early(evidence), _unverified(evidence), _wider_rules(evidence))
    return evidence.words("page.sentence_break").join(filter(None, said))


def _unverified(evidence: Evidence) -> str:
    """Whether anybody could have answered in the server's name."""
    target = evidence.run.manifest.get("target") or {}
    if target.get("tls_verify", True) or not str(target.get("url", "")).startswith("https:"):
        return ""
    return evidence.words("band.insecure")


def _wider_rules(evidence: Evidence) -> str:
    """Rules of validity in which the profile is more lenient than the metric system."""
    words = evidence.words
    wider = [rule for rule in evidence.verdict["validity"] if rule["standard"] is not None]
    if not wider:
        return ""
    shown = [
        words(
            "band.wider_rule",
            name=evidence.own(rule["title"]),
            limit=quantity(words, rule["limit"], rule["unit"]),
            standard=quantity(words, rule["standard"], rule["unit"]),
        )
        for rule in wider
    ]
    return words("band.wider", rules=words("page.list_break").join(shown))


def _ended_early(evidence: Evidence) -> str:
    """Whether a person or a stop condition ended the run, and how much of its plan is missing."""
    reason, counts = str((evidence.run.end or {}).get("reason", "")), evidence.summary["counts"]
    kind = reason.partition(":")[0]
    if kind not in ("interrupted", "stopped"):
        return ""
    return evidence.words(f"band.ended_{kind}", n=count(counts["aborted"]))


def _because(evidence: Evidence, verdict: str) -> str:
    words = evidence.words
    targets = [limit for limit in evidence.limits if limit["level"] == "target"]
    if verdict == "invalid":
        broken = evidence.verdict["reasons"]
        return words("because.invalid", n=len(broken), first=_rule(evidence, broken[0]))
    if verdict == "none":
        return words("because.none")
    found = [limit for limit in targets if limit["result"] == verdict]
    first = _sentence(evidence, found[0]) if found else DASH
    advice = evidence.own(found[0]["advice"]) if found else ""
    return words(
        f"because.{verdict}", n=len(found), all=len(targets), first=first, advice=advice
    ).rstrip()


def _sentence(evidence: Evidence, limit: Mapping[str, Any]) -> str:
    return evidence.words(
        "because.limit_infinite" if "value" in limit["infinite"] else "because.limit",
        name=evidence.limit_name(limit),
        value=evidence.show(limit["metric"], limit["value"]),
        bound=evidence.bound(limit),
    )


def _rule(evidence: Evidence, rule: Mapping[str, Any]) -> str:
    """A broken rule of validity as a sentence."""
    value, limit = (quantity(evidence.words, rule[key], rule["unit"]) for key in ("value", "limit"))
    name = evidence.own(rule["title"])
    return evidence.words(
        "because.limit", name=name, value=value, bound=bound(rule["direction"], limit)
    )


def _cards(evidence: Evidence) -> list[Card]:
    """One number of each kind: a limit, a failed one first, else what was measured."""
    targets = [limit for limit in evidence.limits if limit["level"] == "target"]
    limits = sorted(targets, key=lambda limit: _ORDER[limit["result"]])
    cards = []
    for metrics, default in _KINDS:
        found = [limit for limit in limits if limit["metric"] in metrics]
        card = _limit_card(evidence, found[0]) if found else _plain_card(evidence, *default)
        cards.append(card)
    return cards


def _limit_card(evidence: Evidence, limit: Mapping[str, Any]) -> Card:
    words, result = evidence.words, limit["result"]
    infinite = "value" in limit["infinite"]
    return Card(
        name=evidence.limit_title(limit),
        value="∞" if infinite else evidence.show(limit["metric"], limit["value"]),
        limit=f"{words(f'result.{result}')} · {evidence.bound(limit)}",
        interval=_interval(evidence, evidence.interval(limit), limit["n"]),
        tone=result,
        symbol=SYMBOLS[result],
        note=words("absent.infinite") if infinite else evidence.definition(limit["metric"]),
    )


def _plain_card(evidence: Evidence, metric: str, statistic: str) -> Card:
    words = evidence.words
    entry = evidence.summary["metrics"][metric]
    edges = [entry.get(edge) for edge in ("low", "high")]
    interval = "" if None in edges else span(*(evidence.show(metric, edge) for edge in edges))
    infinite = statistic in entry.get("infinite", ())
    return Card(
        name=evidence.limit_title({"metric": metric, "statistic": statistic}),
        value="∞" if infinite else evidence.show(metric, entry[statistic]),
        limit=words("absent.infinite" if infinite else "band.no_limit"),
        interval=_interval(evidence, interval, entry["n"]),
        note=evidence.definition(metric),
    )


def _interval(evidence: Evidence, interval: str, n: int) -> str:
    words = evidence.words
    if not interval:
        return words("band.n_only", n=count(n))
    title = evidence.interval_title
    return words("band.interval", title=title, interval=interval, n=count(n))


def _facts(evidence: Evidence) -> list[tuple[str, str]]:
    """What ran against what, in the fewest lines; the conditions section has the rest."""
    manifest, words = evidence.run.manifest, evidence.words
    target, server = manifest.get("target") or {}, manifest.get("server") or {}
    kind = server.get("server") or {}
    start, end = (clock(edge) for edge in evidence.window)
    rule = "empty" if evidence.window_empty else evidence.summary["window"]["rule"]
    facts = (
        ("model", target.get("model")),
        ("target", target.get("url")),
        ("server", " ".join(str(kind[key]) for key in ("title", "version") if kind.get(key))),
        ("workload", _workload(evidence, manifest.get("workload") or {})),
        ("load", _load(evidence, manifest)),
        ("profile", evidence.profile_title),
        ("when", instant(manifest.get("created_utc"))),
        ("length", clock(evidence.duration_s)),
        ("window", words(f"band.window_{rule}", start=start, end=end)),
    )
    return [(words(f"band.{name}"), str(fact)) for name, fact in facts if fact]


def _workload(evidence: Evidence, workload: Mapping[str, Any]) -> str:
    """The recipe's title in the page's language, else its name; and how many requests came due."""
    title = evidence.own((workload.get("resolved") or {}).get("title"))
    named = title or str(workload.get("recipe") or "")
    requests = evidence.summary["counts"]["planned"]
    if not named or requests is None:
        return named
    return evidence.words("band.requests", name=named, n=count(requests))


def _load(evidence: Evidence, manifest: Mapping[str, Any]) -> str:
    """Closed loop with its slots, or open loop with what it offered; empty where unknown."""
    pace = (manifest.get("load") or {}).get("pace") or {}
    if pace.get("concurrency"):
        return evidence.words("band.closed_loop", n=count(pace["concurrency"]))
    offered = evidence.scalar("offered_rps")
    if offered is None:
        return ""
    return evidence.words("band.open_loop", rate=evidence.show("offered_rps", offered))


def instant(created_utc: str | None) -> str:
    """An ISO 8601 instant as people read it; as it stands where it is not one."""
    if not created_utc:
        return ""
    try:
        return f"{datetime.fromisoformat(created_utc).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return created_utc
