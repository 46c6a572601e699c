"""Clocks of the engine: a timer finer than epoll's; kernel times on the monotonic clock."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time

_TFD_NONBLOCK = 0o4000
_TFD_CLOEXEC = 0o2000000
_TFD_TIMER_ABSTIME = 1

STEP_NS = 1_000_000
"""A change of wall clock against monotonic clock by more than this is a step, not a slew."""

_PAIR_WIDTH_NS = 20_000


class _Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


class Timer:
    """A Linux timerfd: becomes readable at an absolute instant (timerfd_create(2)).

    epoll's own timeout counts whole milliseconds, which is as long as the lag that is allowed.
    `armed_ns` is that instant, None once it has come.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = _Itimerspec()
        self.armed_ns: int | None = None

    def arm(self, at_ns: int) -> None:
        """Fires at `at_ns` of the monotonic clock, at once when that has passed."""
        if at_ns == self.armed_ns:
            return
        self.armed_ns = at_ns
        self._spec.value.sec, self._spec.value.nsec = divmod(max(at_ns, 1), 1_000_000_000)
        self._libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)

    def clear(self) -> None:
        """Takes the expiry, so that the descriptor is no longer readable."""
        self.armed_ns = None
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        os.close(self.fd)


class ClockPair:
    """Maps wall-clock instants of the kernel to the monotonic clock.

    `offset_ns` is wall clock minus monotonic clock, from a pair read so close together that the
    process was not interrupted between.  `steps` counts jumps of more than STEP_NS.
    """

    __slots__ = ("offset_ns", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.offset_ns = 0
        while not self._sample():
            pass

    def _sample(self) -> bool:
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before > _PAIR_WIDTH_NS:
            return False
        self.offset_ns = wall - (before + after) // 2
        return True

    def refresh(self) -> bool:
        """Reads the clocks again; True when the wall clock was stepped since the last time."""
        before = self.offset_ns
        if not self._sample() or abs(self.offset_ns - before) <= STEP_NS:
            return False
        self.steps += 1
        return True
