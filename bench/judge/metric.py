"""What a metric is: one row of the table in `bench.judge.metrics`.

A request metric is a pure function from the frame of requests to one value for each request; a
token metric has many values for each; a run metric is one value of the whole window.  Values are
float64: NaN is unknown, a separate mask says where a metric does not apply, and a request that
failed or was dropped has the value `failed_as` (+inf for a latency), so that failing fast improves
no percentile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.judge.stats import Estimate, Flags, Floats

if TYPE_CHECKING:
    from bench.judge.profile import Profile
    from bench.judge.server_view import ServerView
    from bench.judge.tokens import TokenCounts
    from bench.judge.window import Window

Direction = Literal["lower", "higher", "none"]
Needs = Literal["", "good", "prices", "fluidity", "a client that queues", "several runs"]


@dataclass(frozen=True, slots=True)
class Text:
    """The same words in Chinese and in English."""

    zh: str
    en: str

    def as_json(self) -> dict[str, str]:
        return {"zh": self.zh, "en": self.en}


REQUESTS = Text("个请求", "requests")
SECONDS = Text("秒", "seconds")


class Scope(StrEnum):
    """What one value of a metric belongs to."""

    REQUEST = "request"
    TOKEN = "token"
    RUN = "run"


class Kind(StrEnum):
    """How a run metric's interval comes about."""

    PROPORTION = "proportion"  # exact binomial on the effective sample size
    RATE = "rate"  # batch means over the seconds of the window
    RATIO = "ratio"  # sums over requests, batch means
    EXACT = "exact"  # counted, not sampled: the interval is the value


class Absence(StrEnum):
    """Why a run metric has no value.  `ABSENT` holds the words."""

    NO_SAMPLES = "no_samples"
    NOT_SCRAPED = "not_scraped"
    NOT_STATED = "not_stated"
    NO_FAILURE = "no_failure"
    NO_GOOD_SET = "no_good_set"
    NO_PRICE = "no_price"
    NEEDS_SEARCH = "needs_search"
    NEEDS_RUNS = "needs_runs"
    NO_BURST = "no_burst"
    ONE_REPLICA = "one_replica"
    NO_INTERVALS = "no_intervals"
    CLOSED_LOOP = "closed_loop"
    NONE_HELD = "none_held"
    NO_VALID_RUNS = "no_valid_runs"


ABSENT: Mapping[Absence, Text] = {
    Absence.NO_SAMPLES: Text("窗口内没有样本", "no samples in the window"),
    Absence.NOT_SCRAPED: Text("未采集到服务端该指标", "the server's series was not scraped"),
    Absence.NOT_STATED: Text("响应或计划未给出该值", "the responses or the plan do not state it"),
    Absence.NO_FAILURE: Text("没有发生故障", "nothing failed"),
    Absence.NO_GOOD_SET: Text("SLO 配置未定义 good 集合", "the profile defines no good set"),
    Absence.NO_PRICE: Text("SLO 配置未给出价格", "the profile gives no prices"),
    Absence.NEEDS_SEARCH: Text(
        "需要速率搜索，单次运行无法得到", "found by a rate search, not by one run"
    ),
    Absence.NEEDS_RUNS: Text("需要多次运行比较", "needs several runs to compare"),
    Absence.NO_BURST: Text("负载中没有突发阶段", "the load has no burst"),
    Absence.ONE_REPLICA: Text("只见到一个副本", "only one replica was seen"),
    Absence.NO_INTERVALS: Text("窗口太短，无法分段", "the window is too short to divide"),
    Absence.CLOSED_LOOP: Text(
        "闭环按并发发送，没有计划速率", "a closed loop has slots and no offered rate"
    ),
    Absence.NONE_HELD: Text("没有任何速率达到要求的达标率", "no rate held the attainment"),
    Absence.NO_VALID_RUNS: Text("没有有效的运行", "no valid run has a value"),
}

NOT_APPLICABLE = frozenset(
    {Absence.NO_FAILURE, Absence.NO_PRICE, Absence.NO_BURST, Absence.ONE_REPLICA}
)
"""Absences that mean there is nothing to measure, rather than that a value is unknown."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A run metric's value: an estimate, or why there is none."""

    estimate: Estimate
    absent: Absence | None = None

    @property
    def applies(self) -> bool:
        return self.absent not in NOT_APPLICABLE


def absent(reason: Absence) -> Reading:
    return Reading(Estimate(math.nan), reason)


def exact(value: float, n: int) -> Reading:
    """A value that was counted, not sampled."""
    return Reading(Estimate(value, value, value, n))


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A request metric's values, one for each row, and where it does not apply (NaN there)."""

    values: Floats
    not_applicable: Flags | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What run metrics are computed from.

    `requests` are the rows of the window in the order of their intended start, indexed by their
    position in the run; `columns` their request metrics; `seconds` the bins of the window (see
    `bench.judge.window`);
    `good` and `undecided` tell for each row whether it met every limit of the profile's good set
    (None without one).
    """

    requests: pd.DataFrame
    columns: Mapping[str, Column]
    seconds: pd.DataFrame
    window: Window
    tokens: TokenCounts
    server: ServerView
    confidence: float = 0.95
    profile: Profile | None = None
    ceiling_fraction: float = math.nan
    good: Flags | None = None
    undecided: Flags | None = None

    @property
    def ok(self) -> Flags:
        """Rows that ended well."""
        return outcome_is(self.requests, "ok")


def outcome_is(frame: pd.DataFrame, *outcomes: str) -> Flags:
    """Rows whose outcome is one of `outcomes`."""
    flags: Flags = frame["outcome"].isin(outcomes).to_numpy(np.bool_)
    return flags


def column(frame: pd.DataFrame, name: str) -> Floats:
    """A column as float64, without a copy where it is one already."""
    values: NDArray[np.float64] = frame[name].to_numpy(np.float64)
    return values


RequestCompute = Callable[[pd.DataFrame], Column]
RunCompute = Callable[[Measured], Reading]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table.

    `unit` is "s", "tokens", "1/s", "tokens/s", "fraction", "1" …; `applies_to` says which
    requests, tokens or runs have it; `direction` is what is better; `source` names the section of
    the reference design or the paper.  `request` is set for request metrics, `run` for run
    metrics, neither for token metrics (`bench.judge.tokens`).  `samples` are what the run metric is
    made from, for advice on how many more are needed.  `needs` is what the profile, or the way of
    loading, has to give for the metric to exist.  `formula_zh` is the formula in Chinese, empty
    where the formula has no words.  `ideal` is the range in which a resource is well used, both
    ends included (§5.3.3).
    """

    name: str
    title_zh: str
    title_en: str
    unit: str
    formula: str
    applies_to: str
    direction: Direction
    source: str
    scope: Scope = Scope.RUN
    request: RequestCompute | None = None
    run: RunCompute | None = None
    kind: Kind | None = None
    failed_as: float | None = None
    samples: Text = REQUESTS
    needs: Needs = ""
    formula_zh: str = ""
    ideal: tuple[float, float] | None = None

    @property
    def title(self) -> Text:
        return Text(self.title_zh, self.title_en)

    @property
    def definition(self) -> Text:
        """The formula in both languages."""
        return Text(self.formula_zh or self.formula, self.formula)
