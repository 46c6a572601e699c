"""From a stored run to the values that limits are judged on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from bench.judge.goodput import good_requests
from bench.judge.metric import Column, Measured, column, outcome_is
from bench.judge.metrics import REQUEST_METRICS, RUN_METRICS
from bench.judge.profile import Profile
from bench.judge.ranked import Ranked
from bench.judge.server_view import ServerView, probed_series
from bench.judge.stats import Flags
from bench.judge.tokens import NO_GAPS, TokenCounts, TokenEvents, count_tokens, ranked, selected
from bench.judge.verdict import Evidence
from bench.judge.window import Grid, Window, cut, grid_of, per_second, whole_window

_READ_BY_RUN_METRICS = [
    "index", "outcome", "error_class", "error_text", "reconnects", "intended_s", "sent_s",
    "role_s", "first_s", "last_s", "done_s", "prompt_tokens", "cached_tokens", "output_tokens",
]  # fmt: skip


class StoredRun(Protocol):
    """What is read of a run folder (`bench.record.frame.Run`)."""

    manifest: dict[str, Any]
    journal: list[dict[str, Any]]
    end: dict[str, Any] | None

    @property
    def defects(self) -> dict[str, int]: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def requests(self) -> pd.DataFrame: ...
    @property
    def server(self) -> pd.DataFrame: ...
    def token_events(self) -> Iterator[TokenEvents]: ...


@dataclass(frozen=True, slots=True, eq=False)
class RunValues:
    """A whole run as columns, before a window is laid on it.

    `frame`: all rows, with the request metrics as columns.  `judged`: rows that may be judged (not
    the warm-up phase, unless the profile includes cold starts).  `whole` is the window of all of
    those, `steady` what the profile's rule leaves of it.
    """

    frame: pd.DataFrame
    columns: Mapping[str, Column]
    judged: Flags
    tokens: TokenCounts
    grid: Grid
    series: pd.DataFrame
    whole: Window
    steady: Window
    good: tuple[Flags, Flags] | None

    def rows_in(self, window: Window) -> Flags:
        """Rows that a window judges."""
        return self.judged & window.holds(column(self.frame, "intended_s"))


def read_values(run: StoredRun, profile: Profile) -> RunValues:
    """Read a run's requests and tokens once."""
    frame = run.requests.copy(deep=False)
    judged = np.ones(len(frame), np.bool_)
    if profile.cold_start == "exclude":
        judged = (frame["phase"] == "main").to_numpy(np.bool_)
    whole = whole_window(frame[judged])
    grid = grid_of(frame, whole)
    tokens = count_tokens(run.token_events(), column(frame, "intended_s"), grid, profile.deadlines)
    # Tokens of a response that was not streamed have no arrival of their own.
    unseen = np.clip(column(frame, "output_tokens") - tokens.arrived, 0, None)
    tokens.per_second += grid.count(column(frame, "done_s"), np.nan_to_num(unseen))
    columns = request_columns(frame, tokens, profile.deadlines is not None)
    for name, found in columns.items():
        frame[name] = found.values
    good = None
    if profile.good:
        ok, aborted = outcome_is(frame, "ok"), outcome_is(frame, "aborted")
        good = good_requests(profile.good, columns, ok, aborted)
    fixed = (profile.window.head_s, profile.window.tail_s)
    return RunValues(
        frame=frame,
        columns=columns,
        judged=judged,
        tokens=tokens,
        grid=grid,
        series=per_second(frame, grid, tokens.per_second, good[0] if good else None),
        whole=whole,
        steady=cut(whole, grid, tokens.per_second, profile.window.rule, fixed),
        good=good,
    )


def request_columns(
    frame: pd.DataFrame, tokens: TokenCounts, has_deadlines: bool
) -> dict[str, Column]:
    """Every request metric of every row.

    A request that failed or was dropped has the metric's value for that; one that the run's end cut
    off has no end, so what needs it is unknown.  Without deadlines in the profile fluidity applies
    to no request.
    """
    aborted = outcome_is(frame, "aborted")
    lost = outcome_is(frame, "failed", "dropped")
    ended = {name: np.where(aborted, np.nan, column(frame, name)) for name in _AT_THE_END}
    measured = {"tbt_top10_s": tokens.tbt_top10_s, "fluidity": tokens.fluidity}
    whole = {name: np.where(aborted | lost, np.nan, values) for name, values in measured.items()}
    given = frame.assign(**ended, **whole)
    columns = {}
    for metric in REQUEST_METRICS:
        assert metric.request is not None
        if metric.needs == "fluidity" and not has_deadlines:
            n = len(frame)
            columns[metric.name] = Column(np.full(n, np.nan), np.ones(n, np.bool_))
            continue
        found = metric.request(given)
        if metric.failed_as is not None:
            values = np.where(lost, metric.failed_as, found.values)
            mask = found.not_applicable
            found = Column(values, None if mask is None else mask & ~lost)
        columns[metric.name] = found
    return columns


_AT_THE_END = ("last_s", "done_s", "output_tokens")


def evidence_of(
    run: StoredRun,
    values: RunValues,
    window: Window,
    profile: Profile,
    inside: Evidence | None = None,
) -> Evidence:
    """The values of one window of a run.

    `inside` is the evidence of a window inside this one, whose gaps are not gathered again.
    """
    keep = values.rows_in(window)
    rows = np.flatnonzero(keep)
    order = rows[np.argsort(column(values.frame, "intended_s")[rows], kind="stable")]
    measured = Measured(
        requests=values.frame[_READ_BY_RUN_METRICS].iloc[order],
        columns={name: _taken(found, order) for name, found in values.columns.items()},
        seconds=values.series.iloc[window.bins(values.grid)],
        window=window,
        tokens=values.tokens,
        server=ServerView(run.server, window, probed_series(run.manifest)),
        confidence=profile.confidence,
        profile=profile,
        ceiling_fraction=_ceiling(run.manifest),
        good=values.good[0][order] if values.good else None,
        undecided=values.good[1][order] if values.good else None,
    )
    readings = {metric.name: metric.run(measured) for metric in RUN_METRICS if metric.run}
    per_token = values.tokens.per_token
    if inside is None:
        gaps = ranked(selected(per_token, keep))
        return Evidence(measured, readings, (gaps, Ranked(NO_GAPS)))
    rest = keep & ~values.rows_in(inside.measured.window)
    return Evidence(measured, readings, (inside.itl_s, ranked(selected(per_token, rest))))


def _taken(found: Column, order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Column:
    mask = found.not_applicable
    return Column(found.values[order], None if mask is None else mask[order])


def _ceiling(manifest: Mapping[str, Any]) -> float:
    stated = ((manifest.get("workload") or {}).get("ceiling") or {}).get("tokens_fraction")
    return math.nan if stated is None else float(stated)
