"""At how many tokens per second this machine begins not to know when a token came."""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from bench.selftest.load import Load
from bench.selftest.measure import Measured

UNCERTAIN_FRACTION = 0.01
"""Metric system §10: with more uncertain first tokens than this a run is not valid."""

STEP_S = 3.0
STEP_TOKENS = 25
MOST_STREAMS = 16_384

_KEPT_UP = 0.9


class Stopped(StrEnum):
    """Why a ramp went no further."""

    UNCERTAIN = "uncertain"  # more than UNCERTAIN_FRACTION of the first tokens were
    LATE = "late"  # fewer tokens arrived than the load makes: the machine is full
    MOST = "most_streams"  # MOST_STREAMS, or half of the files a process may open


@dataclass(frozen=True, slots=True)
class Ramp:
    """`certain_tokens_per_s`: the most at which first tokens were certain; None for no step.

    `uncertain_tokens_per_s`: where uncertainty began; None where the machine was full before.
    """

    steps: tuple[Measured, ...]
    stopped: Stopped
    certain_tokens_per_s: float | None
    uncertain_tokens_per_s: float | None


async def ramp(
    load: Load,
    measure: Callable[[Load], Awaitable[Measured]],
    announce: Callable[[str], None],
) -> Ramp:
    """Doubles the streams, from those of `load`, until first tokens are uncertain or late.

    Answers are short, so that there are many first tokens; client and simulator share the machine.
    """
    steps: list[Measured] = []
    streams = load.expected_streams
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most_streams = min(MOST_STREAMS, files // 2)
    while True:
        step = replace(
            load,
            streams=streams,
            rate_rps=None,
            output_tokens=STEP_TOKENS,
            duration_s=STEP_S,
        )
        announce(f"ramp: {streams} streams")
        found = await measure(step)
        steps.append(found)
        stopped = _stops(found)
        if stopped is None and streams * 2 > most_streams:
            stopped = Stopped.MOST
        if stopped is not None:
            return _concluded(steps, stopped)
        streams *= 2


def _stops(found: Measured) -> Stopped | None:
    uncertain = found.uncertain_first_fraction
    if uncertain is not None and uncertain > UNCERTAIN_FRACTION:
        return Stopped.UNCERTAIN
    if found.tokens_per_s < _KEPT_UP * found.load.expected_tokens_per_s:
        return Stopped.LATE
    return None


def _concluded(steps: list[Measured], stopped: Stopped) -> Ramp:
    certain = [step.tokens_per_s for step in steps if _stops(step) is not Stopped.UNCERTAIN]
    uncertain = steps[-1].tokens_per_s if stopped is Stopped.UNCERTAIN else None
    return Ramp(tuple(steps), stopped, max(certain, default=None), uncertain)
