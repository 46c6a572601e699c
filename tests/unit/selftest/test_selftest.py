"""The self-test's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from bench.selftest.load import Load
from bench.selftest.measure import Measured
from bench.selftest.selftest import SCHEMA, selftest

Make = Callable[..., Load]
Found = Callable[..., Measured]


def test_holds_load_figures_and_ramp(load: Make, found: Found) -> None:
    """The answer is one JSON object: the load, its figures, the ramp where one was wanted."""
    said: list[str] = []

    async def measure(step: Load) -> Measured:
        return found(step, 0.0 if step.streams == 100 else 0.5)

    def made(with_ramp: bool) -> dict[str, object]:
        result = asyncio.run(
            selftest(load(), with_ramp=with_ramp, announce=said.append, measure=measure)
        )
        return dict(orjson.loads(orjson.dumps(result)))

    whole = made(with_ramp=True)
    assert whole["schema"] == SCHEMA
    assert whole["load"] == {
        "streams": 100,
        "rate_rps": None,
        "input_tokens": 16,
        "output_tokens": 25,
        "duration_s": 2.0,
        "workers": 1,
    }
    assert whole["ttft_s"] == {"n": 0, "p50": None, "p99": None, "max": None, "bias": None}
    ramp = whole["ramp"]
    assert isinstance(ramp, dict) and ramp["stopped"] == "uncertain"
    assert [step["load"]["streams"] for step in ramp["steps"]] == [100, 200]
    assert said == [
        "self-test: 100 streams of 16 → 25 tokens against the simulator, 2 s",
        "ramp: 100 streams",
        "ramp: 200 streams",
    ]
    assert made(with_ramp=False)["ramp"] is None
