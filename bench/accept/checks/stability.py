"""Checks that look inside runs or across repeats: jitter, health under load, warm-up, blocking."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from bench.accept.checks.check import EITHER, MEASURED, Asked, Check, OnScenario, OnStatistic
from bench.accept.facts import JudgedRun
from bench.accept.missing import missing
from bench.judge.checklist_result import Finding
from bench.judge.metric import Text, column
from bench.judge.stats import Floats, quantiles
from bench.judge.usage import prompt_usage
from bench.yamlfile import EitherModel

_TRAILING = 20


class SpreadParameters(OnStatistic):
    """Coefficient of variation of one statistic over the repeats of a scenario."""

    bound: float = Field(gt=0)


def spread(asked: Asked, wanted: SpreadParameters) -> Finding:
    runs = asked.facts.valid_runs(wanted.scenario)
    values = [run.metrics[wanted.metric][wanted.statistic] for run in runs]
    known = np.array([value for value in values if value is not None])
    if len(known) < max(2, len(runs)):
        raise missing(
            "too_short",
            why=Text(
                f"{len(runs)} 次重复中 {len(known)} 次有值",
                f"{len(known)} of {len(runs)} repeats have a value",
            ),
        )
    value = float(known.std(ddof=1) / known.mean())
    text = Text(f"{len(runs)} 次重复之间的变异系数。", f"Variation over {len(runs)} repeats.")
    links = tuple(run.link for run in runs)
    return asked.held(value, wanted.bound, "lower", "fraction", text, n=len(runs), links=links)


class BaselineParameters(OnScenario):
    """The statistics a baseline holds; `runs`: how many valid repeats it takes."""

    runs: int = Field(default=2, ge=1)


BASELINE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ttft_s", ("p50", "p95", "p99")),
    ("tpot_s", ("p50", "p95", "p99")),
    ("e2e_s", ("p50", "p95", "p99")),
    ("request_rps", ("value",)),
    ("output_tps", ("value",)),
)


def baseline_of(runs: list[JudgedRun]) -> dict[str, dict[str, float | None]]:
    """Median over the runs of every statistic of `BASELINE`; None where none has it."""

    def median(metric: str, statistic: str) -> float | None:
        values = [run.metrics[metric][statistic] for run in runs]
        known = [value for value in values if value is not None]
        return float(np.median(known)) if known else None

    return {
        metric: {statistic: median(metric, statistic) for statistic in statistics}
        for metric, statistics in BASELINE
    }


def baseline_kept(asked: Asked, wanted: BaselineParameters) -> Finding:
    """baseline.json of the acceptance folder holds every statistic, from valid runs."""
    runs = asked.facts.valid_runs(wanted.scenario)
    kept = baseline_of(runs)
    held = sum(value is not None for row in kept.values() for value in row.values())
    total = sum(len(statistics) for _, statistics in BASELINE)
    if len(runs) < wanted.runs:
        raise missing(
            "too_short",
            why=Text(
                f"{len(runs)} 次运行，需要 {wanted.runs} 次", f"{len(runs)} of {wanted.runs} runs"
            ),
        )
    text = Text(f"{len(runs)} 次运行的中位数。", f"Medians over {len(runs)} runs.")
    return asked.held(held, total, "higher", "1", text, n=len(runs), links=("baseline.json",))


class HealthParameters(EitherModel, OnScenario):
    """`answered`: share of polls answered 200; `p99_s`: how fast.  One of the two is judged."""

    either = ("p99_s", "answered")

    p99_s: float | None = None
    answered: float | None = None


def health(asked: Asked, wanted: HealthParameters) -> Finding:
    """The health endpoint as polled while the load ran, each poll on a connection of its own."""
    seen = asked.facts.observed(f"scenario:{wanted.scenario}").get("health")
    if seen is None:
        raise missing("health")
    latencies, failed = np.array(seen["latency_s"], np.float64), seen["failed"]
    total = len(latencies) + failed
    if not total:
        raise missing(
            "too_short", why=Text("没有对健康接口的探测", "no poll of the health endpoint")
        )
    links = (seen["url"],) if "://" in seen["url"] else ()
    if wanted.answered is not None:
        text = Text(f"{total} 次探测，{failed} 次未答。", f"{total} polls, {failed} unanswered.")
        share = len(latencies) / total
        return asked.held(share, wanted.answered, "higher", "fraction", text, n=total, links=links)
    assert wanted.p99_s is not None
    # A poll that is not answered is slower than any bound.
    slow = np.concatenate([latencies, np.full(failed, np.inf)])
    value = quantiles(slow, [0.99])[0]
    text = Text(f"{total} 次探测的 P99。", f"P99 of {total} polls.")
    return asked.held(value, wanted.p99_s, "lower", "s", text, n=total, links=links)


class WarmUpParameters(OnScenario):
    """How soon the hit rate over the last 20 requests reaches `hit_fraction`."""

    hit_fraction: float = Field(gt=0, lt=1)
    bound_s: float = Field(gt=0)


def cache_warm_up(asked: Asked, wanted: WarmUpParameters) -> Finding:
    """From the first intended start of a run on a cold cache (salted prompts)."""
    run = asked.facts.valid_runs(wanted.scenario)[0]
    rows = run.judgement.requests
    usage = prompt_usage(rows)
    if not len(usage.prompt):
        raise missing(
            "no_value", why=Text("响应未写明 cached_tokens", "the responses state no cached_tokens")
        )
    start_s = float(column(rows, "intended_s").min())
    at_s = column(rows, "first_s")[usage.rows] - start_s
    if len(at_s) < _TRAILING:
        raise missing(
            "too_short",
            why=Text(
                f"{len(at_s)} 个请求，需要 {_TRAILING} 个", f"{len(at_s)} of {_TRAILING} requests"
            ),
        )
    reached = _first_reached(at_s, usage.cached, usage.prompt, wanted.hit_fraction)
    text = Text(
        f"最近 {_TRAILING} 个请求的命中率首次达标的时刻。",
        f"When the hit rate of the last {_TRAILING} requests first got there.",
    )
    links = (run.link,)
    return asked.held(reached, wanted.bound_s, "lower", "s", text, n=len(at_s), links=links)


def _first_reached(at_s: Floats, cached: Floats, prompt: Floats, share: float) -> float:
    """Instant of the request with which Σ cached / Σ prompt of the last ones first is `share`."""
    order = np.argsort(at_s, kind="stable")
    at_s, cached, prompt = at_s[order], cached[order], prompt[order]
    sums = np.concatenate([[0.0], np.cumsum(cached - share * prompt)])
    there = np.flatnonzero(sums[_TRAILING:] - sums[:-_TRAILING] >= 0)
    return float(at_s[there[0] + _TRAILING - 1]) if len(there) else float("inf")


class BlockingParameters(OnScenario):
    """TTFT of requests of at most `short_tokens` beside long ones, against them alone."""

    alone: str
    short_tokens: int = Field(gt=0)
    bound: float = Field(gt=1, description="Times the TTFT P95 of the short ones alone.")

    def scenarios(self) -> tuple[str, ...]:
        return self.scenario, self.alone


def head_of_line(asked: Asked, wanted: BlockingParameters) -> Finding:
    """TTFT P95 of short requests in the mix, over that of the same ones without long requests."""
    facts = asked.facts
    beside = [_short_ttft(run, wanted.short_tokens) for run in facts.valid_runs(wanted.scenario)]
    alone = [_short_ttft(run, wanted.short_tokens) for run in facts.valid_runs(wanted.alone)]
    slow, fast = (quantiles(np.concatenate(parts), [0.95])[0] for parts in (beside, alone))
    if not fast > 0 or np.isnan(slow):
        raise missing(
            "no_value",
            why=Text(
                f"没有不超过 {wanted.short_tokens} 个 Token 的请求",
                f"no request of at most {wanted.short_tokens} tokens",
            ),
        )
    text = Text(
        f"短请求 TTFT P95：混合 {slow * 1e3:.0f} ms，单独 {fast * 1e3:.0f} ms。",
        f"TTFT P95 of short requests: {slow * 1e3:.0f} ms in the mix, {fast * 1e3:.0f} ms alone.",
    )
    links = tuple(run.link for run in facts.runs(wanted.scenario))
    n = sum(map(len, beside))
    return asked.held(slow / fast, wanted.bound, "lower", "1", text, n=n, links=links)


def _short_ttft(run: JudgedRun, short_tokens: int) -> Floats:
    rows = run.judgement.requests
    short = column(rows, "planned_input_tokens") <= short_tokens
    return column(rows, "ttft_s")[short & run_window(run)]


def run_window(run: JudgedRun) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Rows that the run's window judges."""
    return run.judgement.requests["in_window"].to_numpy(np.bool_)


class ExpectedParameters(OnStatistic):
    """A statistic against the deployment's own capacity model, within a relative `tolerance`."""

    tolerance: float = Field(default=0.2, gt=0)


def expected(asked: Asked, wanted: ExpectedParameters) -> Finding:
    """|measured − expected| / expected of the median run."""
    name = f"{wanted.metric}.{wanted.statistic}"
    model = asked.facts.settings.expected.get(name)
    if not model:
        raise missing("expected", name=name)
    runs = asked.facts.valid_runs(wanted.scenario)
    values = [run.metrics[wanted.metric][wanted.statistic] for run in runs]
    known = [value for value in values if value is not None]
    if not known:
        raise missing("no_value", why=name)
    value = float(np.median(known))
    text = Text(f"实测 {value:.4g}，预期 {model:.4g}。", f"{value:.4g}, expected {model:.4g}.")
    off = abs(value - model) / model
    links = tuple(run.link for run in runs)
    return asked.held(off, wanted.tolerance, "lower", "fraction", text, n=len(runs), links=links)


class RttParameters(OnScenario):
    bound_s: float = Field(gt=0)


def rtt(asked: Asked, wanted: RttParameters) -> Finding:
    """The lowest smoothed TCP round trip of our own connections, as the kernel tells it.

    A server delays acknowledgements until it answers, and these delays are in the smoothed value:
    the lowest one is nearest to the network's own latency.
    """
    runs = asked.facts.runs(wanted.scenario)
    values = np.concatenate([column(run.judgement.requests, "rtt_s") for run in runs])
    known = values[~np.isnan(values)]
    if not len(known):
        raise missing(
            "no_value",
            why=Text("portable 传输方式没有 TCP_INFO", "the portable transport has no TCP_INFO"),
        )
    value = float(known.min())
    text = Text("本机连接的最低 TCP 往返时延。", "Lowest TCP round trip of these connections.")
    links = tuple(run.link for run in runs)
    return asked.held(value, wanted.bound_s, "lower", "s", text, n=len(known), links=links)


STABILITY = (
    Check("spread", MEASURED, spread, SpreadParameters),
    Check("baseline_kept", MEASURED, baseline_kept, BaselineParameters),
    Check("health", MEASURED, health, HealthParameters),
    Check("cache_warm_up", MEASURED, cache_warm_up, WarmUpParameters),
    Check("head_of_line", MEASURED, head_of_line, BlockingParameters),
    Check("expected", MEASURED, expected, ExpectedParameters),
    Check("rtt", EITHER, rtt, RttParameters),
)
