"""Commands of the user's that break, restore, stop and start what is accepted."""

from __future__ import annotations

import subprocess
import threading
import time

from bench.accept.failures import ActivityFailed, failure
from bench.accept.settings import Hooks

_SHOWN = 200


def run_hook(name: str, command: str, limit_s: float) -> None:
    """Runs a command to its end.  Raises ActivityFailed when it fails or takes too long."""
    try:
        done = subprocess.run(
            command, shell=True, timeout=limit_s, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        raise failure("hook_slow", name=name, limit_s=limit_s) from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-_SHOWN:]
        raise failure("hook_failed", name=name, exit_code=done.returncode, said=said or "—")


def launch_hook(command: str) -> subprocess.Popen[bytes]:
    """Starts a command that may stay in the foreground, in a session of its own.

    It outlives this process and Ctrl-C: it is the user's server.
    """
    return subprocess.Popen(
        command, shell=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


class Outage(threading.Thread):
    """Breaks a part `break_at_s` into a run, and restores it `lasting_s` later.

    What was broken is restored however the run ends.  `broken_s` and `restored_s` are when the
    hooks were done, after the run's start; `error` is what a hook said when it failed.
    """

    def __init__(self, hooks: Hooks, break_at_s: float, lasting_s: float) -> None:
        super().__init__(name="outage", daemon=False)
        self._hooks = hooks
        self._break_at_s = break_at_s
        self._lasting_s = lasting_s
        self._over = threading.Event()
        self._start_ns = 0
        self.broken = threading.Event()
        self.broken_s: float | None = None
        self.restored_s: float | None = None
        self.error: ActivityFailed | None = None

    def begin(self, elapsed_s: float) -> None:
        """The run has been going for `elapsed_s`.  Called again, it does nothing."""
        if self.ident is None:
            self._start_ns = time.monotonic_ns() - round(elapsed_s * 1e9)
            self.start()

    def run(self) -> None:
        assert self._hooks.break_ is not None and self._hooks.restore is not None
        if self._over.wait(max(0.0, self._break_at_s - self._elapsed_s())):
            return
        try:
            run_hook("break", self._hooks.break_, self._hooks.limit_s)
            self.broken_s = self._elapsed_s()
            self.broken.set()
            self._over.wait(self._lasting_s)
        except ActivityFailed as error:
            self.error = error
        try:
            run_hook("restore", self._hooks.restore, self._hooks.limit_s)
            self.restored_s = self._elapsed_s()
        except ActivityFailed as error:
            self.error = self.error or error

    def end(self) -> None:
        """The run is over: restore now what is still broken, and wait for it."""
        self._over.set()
        if self.ident is not None:
            self.join()

    def _elapsed_s(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / 1e9
