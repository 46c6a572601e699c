"""How a run is paced, and what the engine counts while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

SLOT_STEP_S = 0.0001
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


@dataclass(slots=True)
class Counters:
    """What one worker has done so far; sent to the parent once a second."""

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
    read_late_max_ns: int = 0
    reads: int = 0
    clock_steps: int = 0
    failed_by_class: dict[str, int] = field(default_factory=dict)
    ttft_s: list[float] = field(default_factory=list)

    @property
    def recorded(self) -> int:
        return self.ok + self.failed + self.dropped + self.aborted
