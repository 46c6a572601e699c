"""How far a run is against its plan, and at what rates."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.live.histogram import Histogram, fine_bounds_s

if TYPE_CHECKING:
    from bench.conduct.preflight import Ready
    from bench.conduct.tally import Totals

RATES_OVER_S = 10.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What ends a run: a number of requests, a time; None does not bound it.

    After the end open answers have `drain_s` more.
    """

    requests: int | None = None
    duration_s: float | None = None
    drain_s: float = 0.0

    @classmethod
    def of(cls, ready: Ready) -> Bounds:
        return cls(ready.plan.requests, ready.pace.duration_s, ready.pace.drain_s)


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second over about the last RATES_OVER_S: requests due, ended well, their tokens."""

    offered_rps: float
    ok_rps: float
    tokens_per_s: float


@dataclass(slots=True)
class Progress:
    """Takes each second of a run (`bench.conduct.run.Watch`); latencies are of all so far."""

    bounds: Bounds
    ttft: Histogram = field(default_factory=lambda: Histogram(fine_bounds_s()))
    tpot: Histogram = field(default_factory=lambda: Histogram(fine_bounds_s()))
    e2e: Histogram = field(default_factory=lambda: Histogram(fine_bounds_s()))
    elapsed_s: float = 0.0
    totals: Totals | None = None
    _past: deque[tuple[float, int, int, int]] = field(
        default_factory=lambda: deque([(0.0, 0, 0, 0)])
    )

    def take(self, totals: Totals, elapsed_s: float) -> None:
        self.totals, self.elapsed_s = totals, elapsed_s
        self.ttft.add(totals.ttft_s)
        self.tpot.add(totals.tpot_s)
        self.e2e.add(totals.e2e_s)
        past = self._past
        past.append((elapsed_s, totals.due, totals.ok, totals.output_tokens))
        while len(past) > 2 and past[1][0] <= elapsed_s - RATES_OVER_S:
            past.popleft()

    @property
    def ended(self) -> int:
        """Requests that will not change any more."""
        totals = self.totals
        if totals is None:
            return 0
        return totals.ok + totals.failed + totals.dropped + totals.aborted

    @property
    def fraction(self) -> float | None:
        """The share of the plan that is done, by the bound that is nearest; None without a bound.

        A run whose time is over is at 1, also while answers are open.
        """
        return max(self._shares, default=None)

    @property
    def left_s(self) -> float | None:
        """About how long sending goes on at this pace; None where nothing tells yet."""
        lefts_s = [self.elapsed_s * (1 - share) / share for share in self._shares if share]
        return min(lefts_s, default=None)

    @property
    def _shares(self) -> list[float]:
        bounds, shares = self.bounds, []
        if bounds.requests:
            shares.append(self.ended / bounds.requests)
        if bounds.duration_s:
            shares.append(self.elapsed_s / bounds.duration_s)
        return [min(1.0, share) for share in shares]

    @property
    def rates(self) -> Rates | None:
        """None before the first second is over."""
        first_s, *before = self._past[0]
        last_s, *now = self._past[-1]
        if last_s <= first_s:
            return None
        due, ok, tokens = (b - a for a, b in zip(before, now, strict=True))
        length_s = last_s - first_s
        return Rates(due / length_s, ok / length_s, tokens / length_s)
