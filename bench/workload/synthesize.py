"""A made-up trace with shared prefixes, sessions and bursts, wholly set by its parameters and seed.

Inputs form a radix tree, as in production traces (Mooncake, FAST'25, §4.2): a root all requests
share, a few groups (system prompts) under it, and a branch for each session.  A turn's input is the
one before it, its answer and new text, so that its blocks begin with all blocks of that turn.
Sessions begin in a renewal process with Gamma gaps (CV 1: Poisson); a session's number of turns is
geometric; new text, answers and think times are log-normal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from bench.errors import UsageError
from bench.model import TraceRow
from bench.workload.readers.reading import Blocks


@dataclass(frozen=True, slots=True)
class Synthesis:
    """Parameters of a made-up trace.  `_p50` is a log-normal's median, `_sigma` that of its log.

    `rate_rps` is of requests: sessions begin at `rate_rps / turns_mean`.  The groups' lengths run
    evenly from 0 to twice `group_tokens`; they and `root_tokens` are rounded up to whole blocks.
    Raises UsageError on a value that can't be.
    """

    requests: int = 300
    rate_rps: float = 5.0
    cv: float = 1.0
    seed: int = 0
    block_tokens: int = 32
    root_tokens: int = 32
    groups: int = 4
    group_tokens: int = 256
    turns_mean: float = 2.0
    think_p50_s: float = 3.0
    new_tokens_p50: float = 120.0
    new_tokens_sigma: float = 1.0
    output_tokens_p50: float = 60.0
    output_tokens_sigma: float = 0.6
    min_output: int = 10
    max_input: int = 3000
    max_output: int = 200

    def __post_init__(self) -> None:
        for name in ("requests", "block_tokens", "groups", "min_output", "turns_mean"):
            self._require(name, getattr(self, name) >= 1, "1 or more")
        for name in ("rate_rps", "cv", "new_tokens_p50", "output_tokens_p50", "think_p50_s"):
            value = getattr(self, name)
            self._require(name, math.isfinite(value) and value > 0, "over 0")
        for name in ("root_tokens", "group_tokens", "new_tokens_sigma", "output_tokens_sigma"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("max_output", self.max_output >= self.min_output, "min_output or more")
        root, groups = self.shared_blocks()
        shared_tokens = (root + max(groups)) * self.block_tokens
        self._require(
            "max_input", self.max_input > shared_tokens, f"over the shared {shared_tokens} tokens"
        )

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UsageError(f"{name} must be {expected}, got {getattr(self, name)!r}")

    @property
    def blocks(self) -> Blocks:
        return Blocks(self.block_tokens, "ceil", "prefix")

    def shared_blocks(self) -> tuple[int, list[int]]:
        """Blocks of the root, and of each group under it."""
        share = 2 / (self.groups - 1) if self.groups > 1 else 1
        lengths = [
            self.group_tokens * share * (group if self.groups > 1 else 1)
            for group in range(self.groups)
        ]
        size = self.block_tokens
        return -(-self.root_tokens // size), [math.ceil(length / size) for length in lengths]


def synthesize(how: Synthesis) -> Iterator[TraceRow]:
    """The rows, session after session in order of their starts; equal parameters, equal rows.

    A session's first turn has `at_s`, the others have `think_s`.
    """
    arrivals, lengths, shape = (np.random.default_rng([how.seed, stream]) for stream in range(3))
    gamma_shape = how.cv**-2
    mean_gap_s = how.turns_mean / how.rate_rps
    ids = count()
    root_blocks, group_blocks = how.shared_blocks()
    root = [next(ids) for _ in range(root_blocks)]
    groups = [root + [next(ids) for _ in range(blocks)] for blocks in group_blocks]
    at_s = 0.0
    left = how.requests
    for session in count(1):
        name = f"s{session}"
        turns = min(left, int(shape.geometric(1 / how.turns_mean)))
        chain = list(groups[int(shape.integers(how.groups))])
        for row in _session(how, lengths, ids, name=name, at_s=at_s, turns=turns, chain=chain):
            yield row
            left -= 1
        if not left:
            return
        at_s += float(arrivals.gamma(gamma_shape, mean_gap_s / gamma_shape))


def _session(
    how: Synthesis,
    lengths: np.random.Generator,
    ids: Iterator[int],
    *,
    name: str,
    at_s: float,
    turns: int,
    chain: list[int],
) -> Iterator[TraceRow]:
    """Turns of one session, which ends early where its input would pass `max_input`."""
    input_tokens = len(chain) * how.block_tokens
    for turn in range(turns):
        new_tokens = _log_normal(lengths, how.new_tokens_p50, how.new_tokens_sigma)
        input_tokens += max(1, round(new_tokens))
        if input_tokens > how.max_input:
            if turn:
                return
            input_tokens = how.max_input
        output_tokens = _log_normal(lengths, how.output_tokens_p50, how.output_tokens_sigma)
        output_tokens = min(max(round(output_tokens), how.min_output), how.max_output)
        chain.extend(next(ids) for _ in range(how.blocks.expected(input_tokens) - len(chain)))
        yield TraceRow(
            at_s=None if turn else round(at_s, 3),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            session=name,
            think_s=round(_log_normal(lengths, how.think_p50_s, 0.5), 3) if turn else None,
            block_ids=tuple(chain),
        )
        input_tokens += output_tokens


def _log_normal(random: np.random.Generator, median: float, sigma: float) -> float:
    return float(median * math.exp(sigma * random.standard_normal()))
