"""What an engine counts of itself, as numbers; a family's table gives them names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from bench.sim.request import EngineRequest

FINISH_REASONS = ("stop", "length", "abort")

HISTOGRAMS = (
    "ttft_s",
    "itl_s",
    "tpot_s",
    "e2e_s",
    "queue_s",
    "inference_s",
    "prefill_s",
    "decode_s",
    "step_tokens",
    "prompt_tokens",
    "output_tokens",
    "max_tokens",
)


class Histogram:
    """Counts by upper bound; `bounds` ascend and the last bucket, above them, is implied."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = ()) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def add(self, other: Histogram) -> None:
        """Take in what another one of the same bounds has observed."""
        self.counts = [
            ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)
        ]
        self.sum += other.sum

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, int]]:
        """(upper bound, observations at or under it), as Prometheus exposes them."""
        labels = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return list(zip(labels, accumulate(self.counts), strict=True))


@dataclass(slots=True)
class EngineStats:
    """Totals since the start.  Counted when vLLM 0.32 counts them: prefix cache at a request's
    first admission, prompt tokens when its prefill ends, the rest when the step or request ends.
    """

    histograms: dict[str, Histogram]
    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generation_tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    preemptions: int = 0
    longest_tokens: int = 0  # prompt and reply together
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISH_REASONS, 0))

    @classmethod
    def with_bounds(cls, bounds: Mapping[str, Sequence[float]] | None = None) -> EngineStats:
        """Stats whose histograms have the bucket bounds a family gives; without, one bucket."""
        bounds = bounds or {}
        return cls({name: Histogram(bounds.get(name, ())) for name in HISTOGRAMS})

    def anew(self) -> EngineStats:
        """Stats of the same bounds that have counted nothing."""
        return EngineStats.with_bounds({n: h.bounds for n, h in self.histograms.items()})

    def count_finished(self, request: EngineRequest) -> None:
        """Observe a request's durations and sizes.  One that never started has only its end."""
        self.finished[str(request.finish_reason)] += 1
        if request.first_ns is None or request.scheduled_ns is None or request.last_ns is None:
            return
        self.longest_tokens = max(self.longest_tokens, request.known)
        decode_s = (request.last_ns - request.first_ns) / 1e9
        gaps = request.output_tokens - 1
        for name, value in (
            ("e2e_s", (request.last_ns - request.arrival_ns) / 1e9),
            ("queue_s", (request.scheduled_ns - request.arrival_ns) / 1e9),
            ("inference_s", (request.last_ns - request.scheduled_ns) / 1e9),
            ("prefill_s", (request.first_ns - request.scheduled_ns) / 1e9),
            ("decode_s", decode_s),
            ("tpot_s", decode_s / gaps if gaps else 0.0),  # vLLM observes 0 for a single token
            ("prompt_tokens", request.prompt_tokens),
            ("output_tokens", request.output_tokens),
            ("max_tokens", request.max_tokens),
        ):
            self.histograms[name].observe(value)
