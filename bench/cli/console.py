"""What a run shows while it is made: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.conduct.preflight import Ready
    from bench.conduct.tally import Totals

PLAIN_EVERY_S = 10.0


class Console:
    """Writes to stderr only, so that stdout stays for results.

    On a terminal the progress is one line written over; else a line each PLAIN_EVERY_S.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._planned: int | None = None
        self._duration_s: float | None = None
        self._next_plain_s = 0.0
        self._next_live_s = 0.0
        self._before = (0.0, 0)
        self._line_open = False

    def note(self, text: str) -> None:
        if not self._quiet:
            self._close_line()
            click.echo(f"· {text}", err=True)

    def began(self, folder: Path, ready: Ready) -> None:
        self._planned = ready.plan.requests
        self._duration_s = ready.pace.duration_s
        server = ready.probe.server
        version = f" {server.version}" if server.version else ""
        self.note(f"server: {server.title}{version}, model {ready.target.model}")
        for gap in ready.probe.gaps:
            self.note(f"{gap.missing}: {gap.effect} → {gap.remedy}")
        self.note(f"writing {folder}")

    def second(self, totals: Totals, elapsed_s: float) -> None:
        if self._quiet:
            return
        if self._live and time.monotonic() >= self._next_live_s:
            self._next_live_s = time.monotonic() + 0.5
            click.echo("\r\x1b[K" + self._line(totals, elapsed_s), nl=False, err=True)
            self._line_open = True
        elif not self._live and elapsed_s >= self._next_plain_s:
            self._next_plain_s = elapsed_s + PLAIN_EVERY_S
            click.echo(self._line(totals, elapsed_s), err=True)

    def close(self) -> None:
        self._close_line()

    def _close_line(self) -> None:
        if self._line_open:
            click.echo(err=True)
            self._line_open = False

    def _line(self, totals: Totals, elapsed_s: float) -> str:
        ended = totals.ok + totals.failed
        before_s, before = self._before
        self._before = (elapsed_s, ended)
        rate = (ended - before) / (elapsed_s - before_s) if elapsed_s > before_s else 0.0
        of = f"/{self._planned}" if self._planned is not None else ""
        until = f"/{self._duration_s:.0f}" if self._duration_s is not None else ""
        parts = [
            f"{elapsed_s:5.0f}{until} s",
            f"{ended}{of} done",
            f"{rate:.1f}/s",
            f"{totals.running} running",
        ]
        if totals.ttft_s:
            parts.append(f"TTFT {statistics.median(totals.ttft_s) * 1000:.0f} ms")
        if totals.failed:
            parts.append(f"{totals.failed} failed")
        if totals.dropped:
            parts.append(f"{totals.dropped} dropped")
        if totals.lag_max_s > 0.005:
            parts.append(f"lag {totals.lag_max_s * 1000:.0f} ms")
        return "  ".join(parts)
