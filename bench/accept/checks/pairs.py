"""A/B pairs: the same load on two deployments in turn, round by round.

A round gives one change; a part passes when every round meets the bound, fails when none does, and
is undecided between.  That needs no assumption on how rounds are distributed.
"""

from __future__ import annotations

from bench.accept.checks.check import MEASURED, Asked, Check, OnStatistic
from bench.accept.facts import JudgedRun, all_valid
from bench.accept.missing import missing
from bench.judge.checklist_result import Finding
from bench.judge.compare_likeness import conditions, unlike
from bench.judge.metric import Text
from bench.judge.metrics import METRICS
from bench.judge.verdict import Result
from bench.yamlfile import EitherModel

FEWEST_ROUNDS = 2
_ONE_ROUND = Text("只有 1 轮，至少需要 2 轮", "1 round of at least 2")


class ChangeParameters(EitherModel, OnStatistic):
    """(after − before) / before of a statistic, with one bound.

    `at_least`: "throughput +50 %" is 0.5; `at_most`: "latency −15 %" is −0.15.
    """

    either = ("at_least", "at_most")

    at_least: float | None = None
    at_most: float | None = None


def change(asked: Asked, wanted: ChangeParameters) -> Finding:
    facts = asked.facts
    rounds = facts.observed(f"scenario:{wanted.scenario}")["rounds"]
    changes: list[float] = []
    links: list[str] = []
    for before, after in rounds:
        runs = all_valid([facts.judged(link, wanted.scenario) for link in (before, after)])
        _check_alike(runs)
        values = [_value(run, wanted) for run in runs]
        changes.append(values[1] / values[0] - 1)
        links += [before, after]
    higher = wanted.at_least is not None
    bound = wanted.at_least if wanted.at_least is not None else wanted.at_most
    assert bound is not None
    met = [c >= bound if higher else c <= bound for c in changes]
    result = Result.PASS if all(met) else Result.UNDECIDED if any(met) else Result.FAIL
    if len(changes) < FEWEST_ROUNDS:
        raise missing("too_short", why=_ONE_ROUND)
    middle = sorted(changes)[len(changes) // 2]
    title = METRICS[wanted.metric].title
    text = Text(
        f"{title.zh} {wanted.statistic} 的变化，{len(changes)} 轮中 {sum(met)} 轮达标。",
        f"Change of {title.en} {wanted.statistic}; {sum(met)} of {len(changes)} rounds meet it.",
    )
    return asked.finding(
        result, text, value=middle, low=min(changes), high=max(changes), unit="fraction",
        bound=bound, direction="higher" if higher else "lower", n=len(changes),
        links=tuple(links),
    )  # fmt: skip


def _check_alike(runs: list[JudgedRun]) -> None:
    """The model may change between the sides; the load and the client may not."""
    differing = unlike([conditions(run.run.manifest) for run in runs], same_profile=True)
    found = [each.title for each in differing if each.condition != "model"]
    if found:
        what = Text("、".join(t.zh for t in found), ", ".join(t.en for t in found))
        lacking = missing("unlike_pair", what=what)
        lacking.links = tuple(run.link for run in runs)
        raise lacking


def _value(run: JudgedRun, wanted: ChangeParameters) -> float:
    value = run.metrics[wanted.metric][wanted.statistic]
    if not value:
        raise missing(
            "no_value",
            why=Text(
                f"{run.link} 的 {wanted.metric} {wanted.statistic}",
                f"{wanted.metric} {wanted.statistic} of {run.link}",
            ),
        )
    return float(value)


PAIRS = (Check("change", MEASURED, change, ChangeParameters),)
