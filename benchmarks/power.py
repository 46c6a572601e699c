"""How often `bench nightly` cries wolf, and how often it catches a planted slowdown the same night.

The simulated engine (`bench.sim.engine`) runs in virtual time: continuous batching, one token
budget, and step times with a normal deviate of 10 %.  A night is 5 rounds of 60 s of one plan, with
another seed for every round's step times.  All step times of a night are multiplied by its drift,

    exp(a + e),  a: AR(1) from night to night, coefficient 0.7, deviation `--drift` × 0.8
                 e: independent from night to night, deviation `--drift` × 0.6

and those of a round by exp(0.3 % × normal).  Two workloads: an open loop (Poisson arrivals) for
TTFT, a closed loop for throughput.  A slowdown is planted by making the engine's prefill (open
loop) or all of its steps (closed loop) slower, by the factor that, without any drift, moves the
metric by exactly the planted effect.  Every night of the A/A series is judged as `bench nightly`
judges it, all metrics together, and its rounds join the baseline if they are accepted; the planted
nights are held against the same baselines and never join them.

    python benchmarks/power.py --nights 200 --jobs 2
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from bench.judge.compare import DEFAULT_COMPARED
from bench.judge.compare_nights import NightValues, compare_nights, key_of, since_new_level
from bench.judge.compare_stats import Change, overall
from bench.judge.stats import nearest_rank
from bench.sim.config import EngineConfig
from bench.sim.engine import Engine, simulate
from bench.sim.request import EngineRequest

ROUNDS = 5
ROUND_S = 60.0
CONFIDENCE = 0.95
BASELINE_NIGHTS = 14
NOISE_FRACTION = 0.1
ROUND_DEVIATION = 0.003
AR_COEFFICIENT = 0.7
RATE_RPS = 40.0
SLOTS = 16
TOKENS = {"input": (400, 0.6, 16, 4000), "output": (16, 0.5, 4, 200)}
COSTS = {"step_s": 0.012, "prefill_token_s": 20e-6, "decode_seq_s": 40e-6}
COMPARED = tuple(
    each for each in DEFAULT_COMPARED if each.metric in ("ttft_s", "tpot_s", "e2e_s", "output_tps")
)


@dataclass(frozen=True, slots=True)
class Slowdown:
    """What is planted: a factor of the engine's costs, in one workload, seen in one statistic."""

    name: str
    closed: bool
    statistic: str
    effect: float
    prefill: float = 1.0
    every_step: float = 1.0


SLOWDOWNS = (
    Slowdown("median TTFT +5 %", False, "ttft_s p50", 0.05),
    Slowdown("P99 TTFT +10 %", False, "ttft_s p99", 0.10),
    Slowdown("throughput -5 %", True, "output_tps value", -0.05),
)


def requests(seed: int, n: int) -> list[EngineRequest]:
    """The plan's requests: log-normal lengths, no shared prefixes; the same for every round."""
    rng = np.random.default_rng(seed)
    lengths = {
        name: np.clip(rng.lognormal(math.log(median), sigma, n), low, high).astype(int)
        for name, (median, sigma, low, high) in TOKENS.items()
    }
    return [
        EngineRequest(str(k), range(k * 10_000, k * 10_000 + int(inputs)), int(outputs))
        for k, (inputs, outputs) in enumerate(zip(lengths["input"], lengths["output"], strict=True))
    ]


def engine(seed: int, pace: float, slow: Slowdown | None) -> Engine:
    """An engine whose steps take `pace` times their usual time, and the slowdown's on top."""
    prefill, steps = (slow.prefill, slow.every_step) if slow else (1.0, 1.0)
    costs = {name: cost * pace * steps for name, cost in COSTS.items()}
    costs["prefill_token_s"] *= prefill
    config = EngineConfig(
        noise_fraction=NOISE_FRACTION, seed=seed, prefix_caching=False, block_tokens=512
    )
    return Engine(config.model_copy(update=costs))


def round_of(seed: int, pace: float, closed: bool, slow: Slowdown | None) -> dict[str, float]:
    """The statistics of one round."""
    return (closed_round if closed else open_round)(seed, pace, slow)


def open_round(seed: int, pace: float, slow: Slowdown | None) -> dict[str, float]:
    rng = np.random.default_rng(1)
    starts = np.cumsum(rng.exponential(1 / RATE_RPS, int(RATE_RPS * ROUND_S * 1.5)))
    starts = starts[starts < ROUND_S]
    made = requests(2, len(starts))
    due = [(int(at * 1e9), each) for at, each in zip(starts, made, strict=True)]
    tokens = 0
    for step in simulate(engine(seed, pace, slow), due):
        tokens += len(step.emitted) if step.end_ns < ROUND_S * 1e9 else 0
    return statistics_of(made, tokens)


def closed_round(seed: int, pace: float, slow: Slowdown | None) -> dict[str, float]:
    """SLOTS clients, each of which asks again as soon as it is answered."""
    made, server = requests(3, 3600), engine(seed, pace, slow)
    now_ns = tokens = started = 0
    ended: list[EngineRequest] = []
    for _ in range(SLOTS):
        server.submit(made[started], now_ns)
        started += 1
    while now_ns < ROUND_S * 1e9:
        step = server.step(now_ns)
        assert step is not None
        now_ns = step.end_ns
        tokens += len(step.emitted)
        for each in step.emitted:
            if each.finish_reason is not None:
                ended.append(each)
                server.submit(made[started], now_ns)
                started += 1
    return statistics_of(ended, tokens)


def statistics_of(made: Sequence[EngineRequest], tokens: int) -> dict[str, float]:
    """The compared statistics of the requests that ended, by their keys."""
    rows = np.array(
        [
            (r.arrival_ns, r.first_ns, r.last_ns, r.output_tokens)
            for r in made
            if r.finish_reason is not None
        ],
        np.float64,
    )
    arrival, first, last, outputs = rows.T
    several = outputs > 1
    seconds = {
        "ttft_s": (first - arrival) / 1e9,
        "tpot_s": (last - first)[several] / (outputs[several] - 1) / 1e9,
        "e2e_s": (last - arrival) / 1e9,
    }
    ordered = {name: np.sort(values) for name, values in seconds.items()}
    values = {
        f"{name} p{round(q * 100)}": nearest_rank(column, q)
        for name, column in ordered.items()
        for q in (0.5, 0.99)
    }
    return {**values, "output_tps value": tokens / ROUND_S}


def calibrated(slow: Slowdown) -> Slowdown:
    """The slowdown with the factor that moves its statistic by its effect, without drift."""
    field = "every_step" if slow.closed else "prefill"

    def mean_log(with_factor: Slowdown | None) -> float:
        rounds = [round_of(seed, 1.0, slow.closed, with_factor) for seed in range(900, 904)]
        return sum(math.log(found[slow.statistic]) for found in rounds) / len(rounds)

    usual, low, high = mean_log(None), 1.0, 1.5
    for _ in range(9):
        middle = (low + high) / 2
        moved = abs(math.expm1(mean_log(replace(slow, **{field: middle})) - usual))
        low, high = (middle, high) if moved < abs(slow.effect) else (low, middle)
    return replace(slow, **{field: (low + high) / 2})


def night_paces(nights: int, drift: float) -> list[tuple[float, list[float]]]:
    """The drift of each night, and of each of its rounds."""
    rng = np.random.default_rng(11)
    slow = 0.0
    paces = []
    for _ in range(nights):
        slow = AR_COEFFICIENT * slow + math.sqrt(1 - AR_COEFFICIENT**2) * rng.standard_normal()
        drifted = drift * (0.8 * slow + 0.6 * rng.standard_normal())
        rounds = [math.exp(ROUND_DEVIATION * rng.standard_normal()) for _ in range(ROUNDS)]
        paces.append((math.exp(drifted), rounds))
    return paces


def one_night(
    job: tuple[int, float, list[float]], closed: bool, slow: Slowdown | None
) -> NightValues:
    """A night's rounds; planted ones have step times of their own."""
    night, pace, rounds = job
    first = 1_000 * (night + 1) + (500 if slow else 0)
    found = [
        round_of(first + k, pace * of_round, closed, slow) for k, of_round in enumerate(rounds)
    ]
    keys = [key_of(each) for each in COMPARED]
    return NightValues(f"night {night}", {key: tuple(row[key] for row in found) for key in keys})


@dataclass(slots=True)
class Count:
    judged: int = 0
    alarms: int = 0
    undecided: int = 0
    caught: dict[str, int] = field(default_factory=dict)
    by_itself: dict[str, int] = field(default_factory=dict)


def judge_series(
    series: Sequence[NightValues],
    planted: Mapping[Slowdown, Sequence[NightValues]],
    learning: int,
) -> Count:
    """Every night after the `learning` ones, as `bench nightly` judges it."""
    count = Count()
    accepted: list[NightValues] = []
    for k, night in enumerate(series):
        change = overall(list(judged(night, accepted).values()))
        if k >= learning:
            count.judged += 1
            count.alarms += change is Change.WORSE
            count.undecided += change is Change.UNDECIDED
            for slow, nights in planted.items():
                found = judged(nights[k], accepted)
                worse = overall(list(found.values())) is Change.WORSE
                itself = found[slow.statistic] is Change.WORSE
                count.caught[slow.name] = count.caught.get(slow.name, 0) + worse
                count.by_itself[slow.name] = count.by_itself.get(slow.name, 0) + itself
        if change is not Change.WORSE:
            accepted.append(replace(night, new_level=change is Change.BETTER))
    return count


def judged(night: NightValues, accepted: Sequence[NightValues]) -> dict[str, Change]:
    """What a night's comparison says of each statistic."""
    baseline = since_new_level(accepted, BASELINE_NIGHTS)
    found = compare_nights(
        night, baseline, accepted, COMPARED, window=BASELINE_NIGHTS, confidence=CONFIDENCE
    )
    return {key_of(row.compared): row.change for row in found.rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, default=200, help="nights that are judged")
    parser.add_argument("--learning", type=int, default=14, help="nights before the first judged")
    parser.add_argument("--drift", type=float, default=0.005, help="deviation of a night's drift")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    asked = parser.parse_args()
    began = time.monotonic()
    paces = night_paces(asked.nights + asked.learning, asked.drift)
    jobs = [(k, pace, rounds) for k, (pace, rounds) in enumerate(paces)]
    with ProcessPoolExecutor(asked.jobs) as pool:
        slowdowns = list(pool.map(calibrated, SLOWDOWNS))
        print("| workload | planted | nights | the night is worse | by that statistic itself |")
        print("|---|---|---|---|---|")
        for closed in (False, True):
            mine = [slow for slow in slowdowns if slow.closed is closed]
            series = list(pool.map(partial(one_night, closed=closed, slow=None), jobs, chunksize=4))
            planted = {
                slow: list(
                    pool.map(partial(one_night, closed=closed, slow=slow), jobs, chunksize=4)
                )
                for slow in mine
            }
            count = judge_series(series, planted, asked.learning)
            print_count("closed loop" if closed else "open loop", count, mine)
    print(f"{time.monotonic() - began:.0f} s, {os.cpu_count()} cores, drift {asked.drift:.1%}")


def print_count(title: str, count: Count, slowdowns: Sequence[Slowdown]) -> None:
    """The workload's rows of the table in README.md."""
    n = count.judged
    alarms = f"{count.alarms} false alarms ({count.alarms / n:.1%})"
    print(f"| {title} | nothing | {n} | {alarms}, {count.undecided} undecided | |")
    for slow in slowdowns:
        night, itself = (found[slow.name] / n for found in (count.caught, count.by_itself))
        cost = f"costs × {max(slow.prefill, slow.every_step):.3f}"
        print(f"| {title} | {slow.name} ({cost}) | {n} | {night:.1%} | {itself:.1%} |")


if __name__ == "__main__":
    main()
