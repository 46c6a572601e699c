"""How a run is paced, and what the engine counts while it runs."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from bench.model import Exchange, Outcome, Phase

SLOT_STEP_S = 0.0002
"""Default gap between the opening of two slots of a closed loop.

A single-threaded client can't send at one instant on all of them; without a gap the last slots
would start late against their own schedule, and TTFT would carry that.
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """When requests are sent and for how long.

    `concurrency` makes it a closed loop: that many slots, opened evenly over `ramp_s`.  Without it
    the loop is open: turns are sent when the plan says; `max_concurrency` is its optional cap, and
    a request that finds no room is dropped and counted.  After `duration_s` nothing more is sent;
    what is in flight has `drain_s` to end.
    """

    concurrency: int | None = None
    ramp_s: float | None = None
    max_concurrency: int | None = None
    duration_s: float | None = None
    drain_s: float = 60.0


def _seconds() -> array[float]:
    """An array: it is copied and pickled as a whole, where a list would be walked."""
    return array("d")


@dataclass(slots=True)
class Counters:
    """What one worker has done so far; sent to the parent once a second.

    Since the last time it was sent: `lag_max_ns`, `stall_max_ns`, and the latencies of answers of
    the main phase that ended well, `ttft_s` and `e2e_s` from the intended start.
    """

    due: int = 0
    sent: int = 0
    ok: int = 0
    failed: int = 0
    dropped: int = 0
    aborted: int = 0
    running: int = 0
    output_tokens: int = 0
    reconnects: int = 0
    uncertain_first: int = 0
    lag_max_ns: int = 0
    stall_max_ns: int = 0
    reads: int = 0
    clock_steps: int = 0
    failed_by_class: dict[str, int] = field(default_factory=dict)
    ttft_s: array[float] = field(default_factory=_seconds)
    tpot_s: array[float] = field(default_factory=_seconds)
    e2e_s: array[float] = field(default_factory=_seconds)

    def count(self, exchange: Exchange) -> None:
        """Adds one finished exchange."""
        match exchange.outcome:
            case Outcome.OK:
                self.ok += 1
            case Outcome.FAILED:
                self.failed += 1
                name = str(exchange.error_class)
                self.failed_by_class[name] = self.failed_by_class.get(name, 0) + 1
            case Outcome.DROPPED:
                self.dropped += 1
            case Outcome.ABORTED:
                self.aborted += 1
        self.reads += exchange.reads
        self.output_tokens += exchange.output_tokens or 0
        self.reconnects += exchange.reconnects
        self.uncertain_first += exchange.uncertain_first
        if exchange.sent_ns is not None:
            self.lag_max_ns = max(self.lag_max_ns, exchange.sent_ns - exchange.intended_ns)
        if exchange.outcome is Outcome.OK and exchange.phase is Phase.MAIN:
            self._time(exchange)

    def forget(self) -> None:
        """Begins a new second: what counts since the last report is empty again."""
        self.lag_max_ns = self.stall_max_ns = 0
        self.ttft_s, self.tpot_s, self.e2e_s = _seconds(), _seconds(), _seconds()

    def _time(self, exchange: Exchange) -> None:
        first_ns, last_ns, tokens = exchange.first_ns, exchange.last_ns, exchange.output_tokens
        if first_ns is not None:
            self.ttft_s.append((first_ns - exchange.intended_ns) / 1e9)
            if last_ns is not None and tokens is not None and tokens >= 2:
                self.tpot_s.append((last_ns - first_ns) / 1e9 / (tokens - 1))
        if exchange.done_ns is not None:
            self.e2e_s.append((exchange.done_ns - exchange.intended_ns) / 1e9)
