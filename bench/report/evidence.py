"""What the sections read: one run, its judgement, one language, and the questions they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.judge.judgement import Judgement
from bench.judge.metrics import METRICS
from bench.judge.profile import CURRENCY, quantile_of
from bench.record.frame import Run
from bench.report import figures, numbers, thin
from bench.report.blocks import Cell, Column, Table, absent
from bench.report.changes import quantity
from bench.report.numbers import clock, count, significant, unknown
from bench.report.observed import Line, observe
from bench.report.thin import Floats
from bench.report.words import Words

SLOWEST = 20
_SERIES_ROWS = 12


class Evidence:
    """One judged run as the sections see it.  Reads; changes nothing."""

    def __init__(self, run: Run, judgement: Judgement, words: Words) -> None:
        self.run = run
        self.judgement = judgement
        self.words = words
        self.summary: Mapping[str, Any] = judgement.summary
        self.verdict: Mapping[str, Any] = judgement.verdict
        self.requests: pd.DataFrame = judgement.requests
        self.limits: Sequence[Mapping[str, Any]] = judgement.verdict["limits"]
        window = judgement.summary["window"]
        self.window: tuple[float, float] = (window["start_s"], window["end_s"])

    def has(self, need: str) -> bool:
        """Whether what a section needs is there; `absent.<need>` says what is missing."""
        present = {
            "limits": lambda: bool(self.limits),
            "answered": lambda: bool(self.judged_ok.any()),
            "server": lambda: bool(self.observed),
            "score": lambda: self.verdict["score"] is not None,
            "good": lambda: self.scalar("goodput_fraction") is not None,
        }
        return present[need]()

    # Requests

    @cached_property
    def judged_ok(self) -> npt.NDArray[np.bool_]:
        """Rows of the judged window that ended well."""
        ok = (self.requests["outcome"] == "ok").to_numpy(np.bool_)
        judged: npt.NDArray[np.bool_] = ok & self.requests["in_window"].to_numpy(np.bool_)
        return judged

    def answered(self, metric: str) -> Floats:
        """The metric of the judged requests that ended well and have it, in seconds."""
        values: Floats = self.requests[metric].to_numpy(np.float64)[self.judged_ok]
        return values[np.isfinite(values)]

    def ranked(self, metric: str) -> Floats:
        """The metric of all judged requests that have it, ascending; failed ones are +inf."""
        judged = self.requests["in_window"].to_numpy(np.bool_)
        values: Floats = self.requests[metric].to_numpy(np.float64)[judged]
        return np.sort(values[~np.isnan(values)])

    def started(self, metric: str) -> tuple[Floats, Floats]:
        """Intended starts and values of all requests of the run that ended well and have it."""
        values = self.requests[metric].to_numpy(np.float64)
        kept = np.isfinite(values) & (self.requests["outcome"] == "ok").to_numpy()
        return self.requests["intended_s"].to_numpy(np.float64)[kept], values[kept]

    def ended_s(self, frame: pd.DataFrame) -> pd.Series:
        """When each request ended, else was sent, else was intended; seconds of the run."""
        return frame["done_s"].fillna(frame["sent_s"]).fillna(frame["intended_s"])

    @cached_property
    def slowest(self) -> pd.DataFrame:
        """The requests of greatest E2E latency that ended well, the slowest first."""
        ok = self.requests[(self.requests["outcome"] == "ok").to_numpy()]
        return ok.nlargest(SLOWEST, "e2e_s")

    def arrivals(
        self, positions: npt.NDArray[np.int64]
    ) -> dict[int, tuple[Floats, npt.NDArray[np.int32]]]:
        """Arrival instants and tokens of the events of some requests, by position."""
        found = {}
        for batch in self.run.token_events():
            for k in np.flatnonzero(np.isin(batch.rows, positions)).tolist():
                span = slice(batch.offsets[k], batch.offsets[k + 1])
                found[int(batch.rows[k])] = (batch.arrival_s[span], batch.tokens[span])
        return found

    @cached_property
    def observed(self) -> dict[str, list[Line]]:
        """What servers said of themselves, by neutral series."""
        return observe(self.run.server)

    @property
    def itl_s(self) -> npt.NDArray[np.float32]:
        """Gaps between tokens of the judged window, one for each token after the first."""
        return self.judgement.itl_s

    # Time

    @cached_property
    def duration_s(self) -> float:
        """From the run's start to the last thing recorded."""
        return float(np.nan_to_num(self.run.end_s))

    def interval_s(self, most: int) -> float:
        """A round interval that divides the run into at most `most` parts."""
        least = max(self.duration_s, 1.0) / most
        power = 10.0 ** np.floor(np.log10(least))
        return float(next(step * power for step in (1, 2, 5, 10) if step * power >= least))

    @property
    def window_empty(self) -> bool:
        """Whether the window holds no time: the run ended before its warm-up did."""
        start, end = self.window
        return end <= start

    def window_marks(self) -> list[figures.Mark]:
        """Marks at the edges of the judged window, where it is less than the run."""
        marks = []
        edges = (("window_start", "right"), ("window_end", "left"))
        for at, (key, inward) in zip(self.window, edges, strict=True):
            if 0.01 * self.duration_s < at < 0.99 * self.duration_s:
                label = self.words(f"page.{key}")
                mark = figures.Mark(at, label, colour="@grey", dash="dot", inward=inward, foot=True)
                marks.append(mark)
        return marks

    def per_second(self, column: str) -> tuple[Floats, Floats]:
        """A column of the judgement's series: starts of the seconds, values.

        The first second may have begun before the run did; it is told from the run's start.
        """
        series = self.judgement.series
        at = np.maximum(series["second"].to_numpy(np.float64), 0.0)
        return at, series[column].to_numpy(np.float64)

    @property
    def second_ends(self) -> Floats:
        """Where the seconds of the judgement's series end."""
        at, _ = self.per_second("offered")
        return np.append(at[1:], at[-1] + 1)

    def second_steps(self, values: Floats, points: int) -> tuple[Floats, Floats]:
        """Counts of each second as the corners of a step line, of at most `points` seconds."""
        at, _ = self.per_second("offered")
        kept = thin.thin(values, points)
        return np.append(at[kept], self.second_ends[-1]), np.append(values[kept], values[kept[-1]])

    def series_table(self, caption: str, columns: Mapping[str, Floats]) -> Table:
        """What each second counted, by title, as rates over at most a dozen parts of the run."""
        at, _ = self.per_second("offered")
        ends = self.second_ends
        parts = np.array_split(np.arange(len(at)), min(_SERIES_ROWS, max(len(at), 1)))
        rows = []
        for part in parts:
            start, end = float(at[part[0]]), float(ends[part[-1]])
            span = Cell(f"{clock(start)} – {clock(end)}")
            rates = (float(values[part].sum()) / (end - start) for values in columns.values())
            rows.append((span, *(Cell(significant(rate)) for rate in rates)))
        heads = [Column(self.words("column.interval_of_run"))]
        heads += [Column(title, "number") for title in columns]
        return Table(caption, heads, rows)

    def thinned(self, shown: int, of: int) -> str:
        """What to say where a series was cut; nothing where it was not."""
        if shown >= of:
            return ""
        return self.words("page.thinned", shown=count(shown), total=count(of))

    # Metrics

    def scalar(self, metric: str) -> float | None:
        """A run metric's value."""
        value: float | None = self.summary["metrics"].get(metric, {}).get("value")
        return value

    def title(self, metric: str) -> str:
        """The metric's title in the metrics table."""
        title = METRICS[metric].title
        return title.zh if self.words.language == "zh" else title.en

    def definition(self, metric: str) -> str:
        """The metric's title with its formula, for a note."""
        formula = METRICS[metric].definition
        text = formula.zh if self.words.language == "zh" else formula.en
        return f"{self.title(metric)}: {text}"

    def short(self, metric: str) -> str:
        """The field's short name of a metric, else its title."""
        key = f"short.{metric}"
        return self.words(key) if self.words.known(key) else self.title(metric)

    def show(self, metric: str, value: float | None) -> str:
        """A value of a metric with its unit, "—" where unknown."""
        return quantity(self.words, value, self.unit(metric))

    def unit(self, metric: str) -> str:
        """The metric's unit; of a cost the profile's currency."""
        unit, profile = METRICS[metric].unit, self.verdict["profile"]
        return str(profile["currency"]) if unit == CURRENCY and profile else unit

    def own(self, text: Mapping[str, str] | None) -> str:
        """Of words that the judge gives in both languages, this page's; empty for none."""
        return text[self.words.language] if text else ""

    def why_unknown(self, metric: str) -> str:
        """Why a run metric has no value."""
        reason = self.summary["metrics"].get(metric, {}).get("absent")
        return self.own(reason) or self.words("absent.no_value")

    def cell(self, metric: str, value: float | None, reason: str) -> Cell:
        """A value of a metric as a cell; `reason` says why it may be unknown."""
        if value is None or unknown(value):
            return absent(reason)
        return Cell(self.show(metric, value))

    # Limits

    def first_limit(self, metric: str) -> Mapping[str, Any] | None:
        """The profile's first target on a metric's single values."""
        found = (m for m in self.limits if m["metric"] == metric and m["level"] == "target")
        return next(found, None)

    def marks(self, metric: str, axis: str = "x", *, named: bool = False) -> list[figures.Mark]:
        """The profile's limits on a metric as lines of a figure; `named` says on which metric."""
        return [
            figures.Mark(
                limit["bound"],
                self.limit_name(limit) if named else self.statistic(limit["statistic"]),
                axis=axis,
                dash="dash" if limit["level"] == "target" else "dot",
            )
            for limit in self.limits
            if limit["metric"] == metric and limit["bound"]
        ]

    def statistic(self, name: str) -> str:
        """`P99`, `P99.9`, or the word for a mean, maximum …"""
        quantile = quantile_of(name)
        return self.words(f"statistic.{name}") if quantile is None else f"P{100 * quantile:g}"

    def limit_name(self, limit: Mapping[str, Any]) -> str:
        """What a limit is on: `P99 TTFT`."""
        name = self.short(limit["metric"])
        statistic = self.statistic(limit["statistic"])
        return self.words("statistic.name", statistic=statistic, metric=name).strip()

    def limit_title(self, limit: Mapping[str, Any]) -> str:
        """The same for who knows no short names: `Time to first token (TTFT), P99`."""
        title, statistic = self.title(limit["metric"]), self.statistic(limit["statistic"])
        if not statistic:
            return title
        return self.words("statistic.title", metric=title, statistic=statistic)

    def bound(self, limit: Mapping[str, Any]) -> str:
        """A limit's bound with its direction: `≤ 200 ms`."""
        return self.bound_of(limit["metric"], limit["bound"])

    def bound_of(self, metric: str, bound: float) -> str:
        """A bound on a metric, in the direction in which the metric is better."""
        return numbers.bound(METRICS[metric].direction, self.show(metric, bound))

    def interval(self, limit: Mapping[str, Any]) -> str:
        """A limit's interval, without an end that too few samples leave open; empty for none."""
        metric, open_ends = limit["metric"], limit["infinite"]
        low, high = (self.show(metric, limit[end]) for end in ("low", "high"))
        if limit["low"] is not None and limit["high"] is not None:
            return numbers.span(low, high)
        if limit["high"] is not None and "low" in open_ends:
            return numbers.bound("lower", high)
        if limit["low"] is not None and "high" in open_ends:
            return numbers.bound("higher", low)
        return ""

    @property
    def interval_title(self) -> str:
        """`95 % interval`, with the profile's confidence."""
        level = numbers.percent(self.verdict["confidence"])
        return self.words("limits.interval", level=level)

    @property
    def profile_title(self) -> str:
        """The profile's title, empty where the run was judged without one."""
        profile = self.verdict["profile"]
        return self.own(profile["title"]) if profile else ""
