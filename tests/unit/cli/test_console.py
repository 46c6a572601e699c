"""What a run shows while it is made."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from bench.cli.console import Console, ending, live_view, plain_line
from bench.cli.screen import Screen
from bench.conduct.tally import Totals
from bench.live.progress import Bounds, Progress
from bench.workload.recipe import Stop

MANY = Totals(
    due=1_234_567,
    sent=1_234_000,
    ok=1_200_000,
    failed=12_345,
    dropped=567,
    aborted=12,
    running=21_655,
    output_tokens=987_654_321,
    lag_max_s=0.0123,
    failed_by_class={f"http_50{n}": 10**n for n in range(6)},
    ttft_s=[0.012, 0.123, 1.234, 12.34, 123.4],
    tpot_s=[0.012],
    e2e_s=[1234.5],
)


def after(totals: Totals, bounds: Bounds, elapsed_s: float) -> Progress:
    progress = Progress(bounds)
    progress.take(totals, elapsed_s)
    return progress


def drawn(progress: Progress, width: int) -> list[str]:
    """The view as lines, without colours."""
    terminal = Screen(file=io.StringIO(), width=width, color_system=None)
    with terminal.capture() as captured:
        terminal.print(live_view(progress, width))
    return captured.get().splitlines()


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(2_000_000, 36_000.0, 60.0)])
def test_the_view_fits_eighty_columns(bounds: Bounds) -> None:
    """Also with large numbers no line is wrapped: bar, facts and a table of four lines."""
    lines = drawn(after(MANY, bounds, 18_000.0), 80)
    assert max(cell_len(line.rstrip()) for line in lines) <= 80
    assert [line.split()[0] for line in lines[1:]] == [
        "done", "requests", "rate", "client", "errors", "so", "TTFT", "TPOT", "E2E",
    ]  # fmt: skip


def test_the_view_says_it_in_words_without_colour() -> None:
    """Failures, their classes and lag can be read where colours can't be seen."""
    text = "\n".join(drawn(after(MANY, Bounds(), 10.0), 80))
    assert "12,345 failed" in text
    assert "http_505 100,000, http_504 10,000, http_503 1,000, 3 more" in text
    assert "12.3 ms late" in text


def test_before_the_first_answer_latencies_are_unknown() -> None:
    """No answer is shown as —, and not as 0."""
    lines = drawn(after(Totals(due=3, running=3), Bounds(10), 1.0), 80)
    assert lines[-1].split() == ["E2E", "0", "—", "—", "—", "—"]


def test_a_plain_line_has_the_same_in_short() -> None:
    """One line with how far, how fast, how late, and what failed."""
    line = plain_line(after(MANY, Bounds(2_000_000, 60.0), 30.0))
    assert "30/60 s  1212924/2000000 done" in line
    assert "21655 running" in line and "567 dropped" in line and "lag 12.3 ms" in line
    assert "TTFT P50 1.24 s" in line


@pytest.mark.parametrize(
    ("bounds", "stop", "words"),
    [
        (Bounds(1200, 60.0, 5.0), None, "after 1,200 requests or at 60 s, early by Ctrl-C"),
        (Bounds(), None, "when nothing is left to send"),
        (Bounds(10), Stop(max_errors=7), "early at 7 errors or by Ctrl-C"),
        (Bounds(10), Stop(max_errors_in_a_row=40), "early at 40 errors in a row or by Ctrl-C"),
        (Bounds(10), Stop(error_rate_above=0.01), "early at over 1 % errors in 10 s or by Ctrl-C"),
    ],
)
def test_what_ends_the_run_is_told(bounds: Bounds, stop: Stop | None, words: str) -> None:
    """Number, time, and the recipe's stop conditions stand in one sentence."""
    assert words in ending(bounds, stop)


def watched(console: Console, ready: Any) -> None:
    console.note("before")
    console.began(Path("reports/run"), ready)
    for second in range(1, 26):
        console.second(Totals(ok=second, due=second), float(second))
    console.close()


def test_where_nobody_watches_there_is_a_line_each_ten_seconds(ready: Callable[..., Any]) -> None:
    """In a log there are no control characters, and few lines."""
    out = io.StringIO()
    watched(Console(terminal=Screen(file=out, width=80)), ready(requests=30))
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert [line for line in lines if "/30 done" in line] == [
        line for line in lines if line.lstrip().startswith(("1 s", "11 s", "21 s"))
    ]
    assert sum("/30 done" in line for line in lines) == 3
    assert "· writing reports/run" in lines


def test_on_a_terminal_the_view_leaves_one_line(ready: Callable[..., Any]) -> None:
    """The view is drawn over, and in the end replaced by how far the run came."""
    out = io.StringIO()
    terminal = Screen(file=out, width=80, force_terminal=True, color_system="standard")
    watched(Console(terminal=terminal), ready(requests=30))
    assert "TPOT" in out.getvalue()
    assert "25 s  25/30 done" in out.getvalue().splitlines()[-1]


def test_quiet_is_silent(ready: Callable[..., Any]) -> None:
    """With --json away from a terminal nothing is told on the way."""
    out = io.StringIO()
    terminal = Screen(file=out, width=80, force_terminal=True)
    watched(Console(quiet=True, terminal=terminal), ready(requests=30))
    assert out.getvalue() == ""


def test_a_run_goes_on_without_its_terminal() -> None:
    """A pipe that broke is written to once; the run that is told of hears nothing of it."""
    writes = []

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            raise BrokenPipeError

    console = Console(terminal=Screen(file=Broken()))
    console.note("a")
    console.note("b")
    console.second(MANY, 1.0)
    console.close()
    assert len(writes) == 1
