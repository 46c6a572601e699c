"""The ramp, with measurements that follow from the load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bench.selftest.load import Load
from bench.selftest.measure import Measured
from bench.selftest.ramp import MOST_STREAMS, STEP_TOKENS, Ramp, Stopped, ramp

Make = Callable[..., Load]
Found = Callable[..., Measured]


def climb(load: Load, measured: Callable[[Load], Measured]) -> Ramp:
    async def measure(step: Load) -> Measured:
        return measured(step)

    return asyncio.run(ramp(load, measure, lambda text: None))


def streams_of(result: Ramp) -> list[int | None]:
    return [step.load.streams for step in result.steps]


def test_ends_where_uncertainty_begins(load: Make, found: Found) -> None:
    """Streams double until more than 1 % of the first tokens are uncertain; 1 % itself is not."""
    uncertain = {100: 0.0, 200: 0.01, 400: 0.02}
    result = climb(load(), lambda step: found(step, uncertain[step.streams or 0]))
    assert streams_of(result) == [100, 200, 400]
    assert result.stopped is Stopped.UNCERTAIN
    assert result.certain_tokens_per_s == result.steps[1].tokens_per_s
    assert result.uncertain_tokens_per_s == result.steps[2].tokens_per_s


def test_a_full_machine_has_no_point_of_uncertainty(load: Make, found: Found) -> None:
    """Where tokens come late and first tokens are certain, the point of uncertainty is unknown."""
    result = climb(load(), lambda step: found(step, 0.0, kept_up=0.5 if step.streams == 200 else 1))
    assert result.stopped is Stopped.LATE
    assert result.uncertain_tokens_per_s is None
    assert result.certain_tokens_per_s == max(step.tokens_per_s for step in result.steps)


def test_uncertain_at_once(load: Make, found: Found) -> None:
    """With the first step uncertain, no rate is known to be certain."""
    result = climb(load(), lambda step: found(step, 0.5))
    assert streams_of(result) == [100]
    assert result.certain_tokens_per_s is None


def test_ends_at_the_most_streams(load: Make, found: Found) -> None:
    """A machine that is never late ends the ramp at most at MOST_STREAMS."""
    result = climb(load(), found)
    assert result.stopped is Stopped.MOST
    assert (result.steps[-1].load.streams or 0) <= MOST_STREAMS


def test_an_open_load_climbs_from_its_streams(load: Make, found: Found) -> None:
    """The ramp is closed loop with short answers, whatever the load was."""
    opened = load(streams=None, rate_rps=100.0, output_tokens=100)
    result = climb(opened, lambda step: found(step, 0.5))
    assert streams_of(result) == [200]
    assert result.steps[0].load.output_tokens == STEP_TOKENS
