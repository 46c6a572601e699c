"""What a self-test sends: equal requests, at a load that was asked for or is that of a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.conduct.preflight import Ready
from bench.sim.config import SimConfig
from bench.workload.recipe import Recipe
from bench.workload.resolve import Overrides, override, recipe_of_lengths

ITL_S = 0.020
"""Between two tokens of a stream of the simulator: 50 tokens/s, faster than most people read."""

MOST_INPUT_TOKENS = 4096
"""A longer prompt costs the simulator more than it tells about the client."""

_BUSIEST_S = 10


@dataclass(frozen=True, slots=True)
class Load:
    """`streams` answers at a time (closed loop), or `rate_rps` Poisson arrivals (open loop)."""

    streams: int | None
    rate_rps: float | None
    input_tokens: int
    output_tokens: int
    duration_s: float
    workers: int = 1

    def __post_init__(self) -> None:
        if (self.streams is None) == (self.rate_rps is None):
            raise ValueError("a load has either streams or a rate")

    @property
    def answer_s(self) -> float:
        """How long the simulator takes for one answer when nothing is late."""
        return ITL_S * self.output_tokens

    @property
    def expected_streams(self) -> int:
        """Answers under way at a time."""
        if self.streams is not None:
            return self.streams
        assert self.rate_rps is not None
        return math.ceil(self.rate_rps * self.answer_s)

    @property
    def expected_tokens_per_s(self) -> float:
        """What arrives in a second when neither side is late."""
        if self.streams is not None:
            # The next request of a slot misses the step that begins as the last answer ends.
            return self.streams * self.output_tokens / ((self.output_tokens + 1) * ITL_S)
        assert self.rate_rps is not None
        return self.rate_rps * self.output_tokens

    def recipe(self) -> Recipe:
        recipe = recipe_of_lengths(self.input_tokens, self.output_tokens)
        return override(
            recipe,
            Overrides(concurrency=self.streams, rate_rps=self.rate_rps, duration_s=self.duration_s),
        )

    def simulator(self, **fields: Any) -> SimConfig:
        """A server whose steps take ITL_S whatever they hold, so that only the client is tested."""
        tokens = (self.input_tokens + self.output_tokens) * 4 * self.expected_streams
        return SimConfig(
            port=0,
            step_s=ITL_S,
            prefill_token_s=0,
            decode_seq_s=0,
            max_num_seqs=4 * self.expected_streams,
            max_num_batched_tokens=max(8192, tokens),
            kv_blocks=max(32_768, tokens // 16),
            **fields,
        )


def load_of(ready: Ready, workers: int, duration_s: float) -> Load:
    """The load of a prepared run: its slots, or the rate of its busiest time; its mean lengths.

    Lengths that the plan leaves open count as 1 token.
    """
    columns = ready.plan.columns
    starts_s = ready.plan.starts_s
    turns = columns.rows / columns.sessions
    return Load(
        streams=ready.pace.concurrency,
        rate_rps=None if starts_s is None else _busiest_rps(starts_s) * turns,
        input_tokens=min(MOST_INPUT_TOKENS, _mean(columns.input_tokens)),
        output_tokens=_mean(columns.output_tokens),
        duration_s=duration_s,
        workers=workers,
    )


def _busiest_rps(starts_s: np.ndarray[Any, Any]) -> float:
    """Starts per second of the busiest stretch of _BUSIEST_S, or of all when that is shorter."""
    if starts_s[-1] - starts_s[0] < _BUSIEST_S:
        return len(starts_s) / max(1.0, float(starts_s[-1] - starts_s[0]))
    return float(np.bincount((starts_s // _BUSIEST_S).astype(np.int64)).max()) / _BUSIEST_S


def _mean(tokens: np.ndarray[Any, Any]) -> int:
    known = tokens[tokens >= 0]
    return max(1, round(float(known.mean()))) if known.size else 1
