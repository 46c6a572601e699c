"""The self-test as a whole: one load, a ramp where it is wanted, and what it was made on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bench import __version__
from bench.conduct.manifest import host
from bench.conduct.preflight import Ready
from bench.conduct.run import SelfTest
from bench.selftest.load import Load, load_of
from bench.selftest.measure import Measured, measure
from bench.selftest.ramp import ramp

SCHEMA = 1
RUN_DURATION_S = 10.0


async def selftest(
    load: Load,
    *,
    with_ramp: bool,
    announce: Callable[[str], None],
    measure: Callable[[Load], Awaitable[Measured]] = measure,
) -> dict[str, Any]:
    """This machine's error bars under a load: the object documented in docs/validity.md."""
    announce(f"self-test: {_in_words(load)} against the simulator, {load.duration_s:g} s")
    found = await measure(load)
    ramped = await ramp(load, measure, announce) if with_ramp else None
    return {
        "schema": SCHEMA,
        "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "bench_version": __version__,
        "host": host(),
        "simulator_shares_machine": True,
        **asdict(found),
        "ramp": None if ramped is None else asdict(ramped),
    }


def before_run(workers: int, announce: Callable[[str], None]) -> SelfTest:
    """A self-test for `bench.conduct.run.Order`, at the load of the run that it stands before."""

    async def test(ready: Ready) -> dict[str, Any]:
        load = load_of(ready, workers, RUN_DURATION_S)
        return await selftest(load, with_ramp=False, announce=announce)

    return test


def _in_words(load: Load) -> str:
    flow = (
        f"{load.streams} streams" if load.streams is not None else f"{load.rate_rps:g} requests/s"
    )
    return f"{flow} of {load.input_tokens} → {load.output_tokens} tokens"
