"""Kernel times on the monotonic clock; a timer that is finer than epoll's milliseconds."""

from __future__ import annotations

import select
import time

import pytest

from bench.load import clock
from bench.load.clock import STEP_NS, ClockPair, Timer


class Clocks:
    """Both clocks by hand: each reading of either takes `cost_ns`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1_000_000_000
        self.offset_ns = 1_700_000_000_000_000_000
        self.costs_ns = [100]
        monkeypatch.setattr(clock, "time", self)

    def _pass(self) -> int:
        self.now_ns += self.costs_ns[0] if len(self.costs_ns) == 1 else self.costs_ns.pop(0)
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self._pass()

    def time_ns(self) -> int:
        return self._pass() + self.offset_ns


def test_an_offset_maps_wall_clock_to_monotonic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time that reading a clock takes."""
    clocks = Clocks(monkeypatch)
    pair = ClockPair()
    assert abs(pair.offset_ns - clocks.offset_ns) <= 100
    assert not pair.refresh()


def test_an_interrupted_reading_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that lost the CPU between the two clocks reads them again."""
    clocks = Clocks(monkeypatch)
    clocks.costs_ns = [100, 100, 5_000_000, 100, 100, 100, 100]
    pair = ClockPair()
    assert abs(pair.offset_ns - clocks.offset_ns) <= 100
    clocks.costs_ns = [100, 5_000_000, 100, 100]
    assert not pair.refresh()
    assert abs(pair.offset_ns - clocks.offset_ns) <= 100


@pytest.mark.parametrize(
    ("change_ns", "steps"),
    [(STEP_NS // 2, 0), (-STEP_NS // 2, 0), (3 * STEP_NS, 1), (-3_600_000_000_000, 1)],
)
def test_a_step_is_counted_a_slew_is_followed(
    monkeypatch: pytest.MonkeyPatch, change_ns: int, steps: int
) -> None:
    """More than a millisecond at once is a step; times after it are right either way."""
    clocks = Clocks(monkeypatch)
    pair = ClockPair()
    clocks.offset_ns += change_ns
    assert pair.refresh() is bool(steps)
    assert pair.steps == steps
    assert abs(pair.offset_ns - clocks.offset_ns) <= 100
    assert not pair.refresh()


def test_a_slow_drift_is_never_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is with the reading before, not with the first."""
    clocks = Clocks(monkeypatch)
    pair = ClockPair()
    for _ in range(100):
        clocks.offset_ns += STEP_NS // 2
        assert not pair.refresh()


def ready(timer: Timer, wait_s: float) -> bool:
    with select.epoll() as epoll:
        epoll.register(timer.fd, select.EPOLLIN)
        return bool(epoll.poll(wait_s))


def test_a_timer_fires_at_its_instant_and_not_before() -> None:
    """Ready once the clock has passed it, and no more after it was taken."""
    timer = Timer()
    at_ns = time.monotonic_ns() + 3_000_000
    timer.arm(at_ns)
    assert ready(timer, 5.0)
    assert time.monotonic_ns() >= at_ns
    timer.clear()
    assert not ready(timer, 0)
    timer.close()


def test_a_timer_in_the_past_fires_at_once() -> None:
    """Also at 0, which would disarm a timerfd."""
    timer = Timer()
    for at_ns in (0, time.monotonic_ns() - 1):
        timer.arm(at_ns)
        assert ready(timer, 5.0)
        timer.clear()
    timer.close()


def test_a_timer_is_armed_anew() -> None:
    """The latest instant holds; one that was taken can be armed again for the same instant."""
    timer = Timer()
    timer.arm(time.monotonic_ns() + 3_600_000_000_000)
    assert not ready(timer, 0)
    now_ns = time.monotonic_ns()
    for _ in range(2):
        timer.arm(now_ns)
        assert ready(timer, 5.0)
        timer.clear()
    timer.clear()  # nothing to take is no error
    timer.close()
