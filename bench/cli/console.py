"""What a run shows while it is made: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.cli.plain import visible
from bench.cli.screen import Screen
from bench.cli.verdict_view import quantity
from bench.live.histogram import Histogram
from bench.live.progress import RATES_OVER_S, Bounds, Progress

if TYPE_CHECKING:
    from bench.conduct.preflight import Ready
    from bench.conduct.tally import Totals
    from bench.workload.recipe import Stop

PLAIN_EVERY_S = 10.0
_LIVE_PER_S = 2
_WIDTH = 80
_MOST_CLASSES = 3
_LAG_WORTH_SAYING_S = 0.005


class Console:
    """A `bench.conduct.run.Watch`; writes to stderr only, so that stdout stays for results.

    On a terminal the progress is a view that is drawn over; else a line each PLAIN_EVERY_S.
    `stop` are the recipe's conditions that end a run early, to be told.  A terminal or pipe that
    is gone is no reason to lose the run: nothing more is told.
    """

    def __init__(
        self, *, quiet: bool = False, stop: Stop | None = None, terminal: Screen | None = None
    ) -> None:
        self._terminal = terminal or Screen(stderr=True, highlight=False)
        self._quiet = quiet
        self._stop = stop
        self._animated = self._terminal.is_terminal and not self._terminal.is_dumb_terminal
        self._live: Live | None = None
        self._progress = Progress(Bounds())
        self._next_plain_s = 0.0

    def note(self, text: str) -> None:
        if not self._quiet:
            self._print(f"· {visible(text)}")

    def began(self, folder: Path, ready: Ready) -> None:
        self.close()
        self._progress = Progress(Bounds.of(ready))
        self._next_plain_s = 0.0
        server = ready.probe.server
        version = f" {server.version}" if server.version else ""
        self.note(f"server: {server.title}{version}, model {ready.target.model}")
        for gap in ready.probe.gaps:
            remedy = f" → {gap.remedy}" if gap.remedy else ""
            self.note(f"{gap.missing}: {gap.effect}{remedy}")
        self.note(f"ends {ending(self._progress.bounds, self._stop)}")
        self.note(f"writing {folder}")
        if self._animated and not self._quiet:
            self._live = Live(
                console=self._terminal,
                get_renderable=self._view,
                refresh_per_second=_LIVE_PER_S,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def second(self, totals: Totals, elapsed_s: float) -> None:
        self._progress.take(totals, elapsed_s)
        if not self._quiet and self._live is None and elapsed_s >= self._next_plain_s:
            self._next_plain_s = elapsed_s + PLAIN_EVERY_S
            self._print(plain_line(self._progress))

    def close(self) -> None:
        """Takes the live view away; one line says how far the run came."""
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None
            if self._progress.totals is not None:
                self._print(plain_line(self._progress))

    def _print(self, line: str) -> None:
        try:
            self._terminal.print(Text(line), soft_wrap=True)
        except OSError:
            self._quiet = True

    def _view(self) -> RenderableType:
        if self._progress.totals is None:
            return Text("waiting for the first second")
        return live_view(self._progress, min(_WIDTH, self._terminal.width))


def plain_line(progress: Progress) -> str:
    """The progress in one line."""
    totals, bounds, rates = progress.totals, progress.bounds, progress.rates
    assert totals is not None
    until = f"/{bounds.duration_s:.0f}" if bounds.duration_s is not None else ""
    planned = f"/{bounds.requests}" if bounds.requests is not None else ""
    parts = [f"{progress.elapsed_s:5.0f}{until} s", f"{progress.ended}{planned} done"]
    if rates is not None:
        parts.append(f"{rates.ok_rps:.1f} ok/s of {rates.offered_rps:.1f}/s")
    parts.append(f"{totals.running} running")
    if progress.ttft.count:
        parts.append(f"TTFT P50 {_seconds(progress.ttft.quantile_s(0.5))}")
        parts.append(f"P99 {_seconds(progress.ttft.quantile_s(0.99))}")
    if totals.failed:
        parts.append(f"{totals.failed} failed ({_classes(totals.failed_by_class)})")
    if totals.dropped:
        parts.append(f"{totals.dropped} dropped")
    if totals.lag_max_s > _LAG_WORTH_SAYING_S:
        parts.append(f"lag {_seconds(totals.lag_max_s)}")
    return "  ".join(parts)


def live_view(progress: Progress, width: int = _WIDTH) -> Group:
    """The progress as a block of lines, at most `width` columns wide."""
    totals, rates = progress.totals, progress.rates
    assert totals is not None
    counts = [Text(f"{totals.ok:,} ok")]
    counts.append(Text(f"{totals.failed:,} failed", "bold yellow" if totals.failed else ""))
    for name in ("dropped", "aborted"):
        if count := getattr(totals, name):
            counts.append(Text(f"{count:,} {name}"))
    counts.append(Text(f"{totals.running:,} open"))
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True, min_width=8)
    rows.add_column(no_wrap=True, overflow="ellipsis")
    rows.add_row("done", _done(progress))
    rows.add_row("requests", Text("   ").join(counts))
    if rates is not None:
        rows.add_row(
            "rate",
            f"{rates.offered_rps:.1f}/s offered   {rates.ok_rps:.1f}/s ok   "
            f"{rates.tokens_per_s:,.0f} tokens/s   (last {RATES_OVER_S:.0f} s)",
        )
    lag = f"sends at most {_seconds(totals.lag_max_s)} late in the last second"
    late = "bold yellow" if totals.lag_max_s > _LAG_WORTH_SAYING_S else ""
    rows.add_row("client", Text(lag, late))
    if totals.failed:
        rows.add_row("errors", Text(_classes(totals.failed_by_class), "bold yellow"))
    return Group(_bar(progress, width), rows, _latencies(progress))


def ending(bounds: Bounds, stop: Stop | None) -> str:
    """What ends the run, in words."""
    ends = []
    if bounds.requests is not None:
        ends.append(f"after {bounds.requests:,} requests")
    if bounds.duration_s is not None:
        ends.append(f"at {bounds.duration_s:g} s")
    early = []
    if stop is not None and stop.max_errors is not None:
        early.append(f"at {stop.max_errors} errors")
    if stop is not None and stop.max_errors_in_a_row is not None:
        early.append(f"at {stop.max_errors_in_a_row} errors in a row")
    if stop is not None and stop.error_rate_above is not None:
        early.append(
            f"at over {stop.error_rate_above * 100:g} % errors in {stop.error_rate_for_s:g} s"
        )
    early.append("by Ctrl-C")
    return (
        f"{' or '.join(ends) or 'when nothing is left to send'}, early {' or '.join(early)}; "
        f"open answers get {bounds.drain_s:g} s"
    )


def _bar(progress: Progress, width: int) -> Table:
    fraction, left_s = progress.fraction, progress.left_s
    told = "" if fraction is None else f"{fraction:4.0%}"
    if fraction == 1:
        told += "  waiting for open answers"
    elif left_s is not None:
        told += f"  about {_clock(left_s)} left"
    line = Table.grid(padding=(0, 2))
    bar = ProgressBar(
        total=1.0,
        completed=fraction or 0.0,
        width=max(10, width - len(told) - 2),
        complete_style="blue",
        finished_style="blue",
    )
    line.add_row(bar, told)
    return line


def _done(progress: Progress) -> str:
    """How much of what bounds the run is done."""
    bounds = progress.bounds
    planned = f" of {bounds.requests:,}" if bounds.requests is not None else ""
    until = f" of {_clock(bounds.duration_s)}" if bounds.duration_s is not None else ""
    return f"{progress.ended:,}{planned} requests   {_clock(progress.elapsed_s)}{until}"


def _latencies(progress: Progress) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("so far", "n", "P50", "P90", "P99", "max"):
        table.add_column(
            head, justify="left" if head == "so far" else "right", no_wrap=True, min_width=8
        )
    rows: Mapping[str, Histogram] = {
        "TTFT": progress.ttft,
        "TPOT": progress.tpot,
        "E2E": progress.e2e,
    }
    for name, found in rows.items():
        shown = [_seconds(found.quantile_s(share)) for share in (0.5, 0.9, 0.99)]
        table.add_row(name, f"{found.count:,}", *shown, _seconds(found.max_s))
    return table


def _classes(failed: Mapping[str, int]) -> str:
    """Error classes, the most frequent first."""
    ranked = sorted(failed.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} {count:,}" for name, count in ranked[:_MOST_CLASSES]]
    rest = len(ranked) - _MOST_CLASSES
    return ", ".join(shown) + (f", {rest} more" if rest > 0 else "")


def _seconds(value_s: float | None) -> str:
    return quantity(value_s, "s")


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours from one hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
