"""Runs small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

_TIMES = ("intended", "sent", "role", "first", "last", "done")
_NUMBERS = (
    "connect_s", "planned_output_tokens", "prompt_tokens", "cached_tokens", "output_tokens",
    "server_queue_s", "server_prefill_s", "server_decode_s", "server_batch_mean",
)  # fmt: skip


@dataclass
class TokenEvents:
    rows: np.ndarray
    offsets: np.ndarray
    arrival_s: np.ndarray
    tokens: np.ndarray


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A frame as a run folder gives it; what a row leaves out is unknown."""
    frame = pd.DataFrame(index=range(len(rows)))
    for name in (*(f"{time}_s" for time in _TIMES), *_NUMBERS):
        frame[name] = np.array([row.get(name, np.nan) for row in rows], np.float64)
    frame["index"] = np.arange(len(rows))
    frame["turn"] = np.array([row.get("turn", 0) for row in rows], np.int64)
    frame["reconnects"] = np.array([row.get("reconnects", 0) for row in rows], np.int64)
    frame["error_text"] = pd.Series([row.get("error_text") for row in rows], dtype=object)
    frame["uncertain_first"] = [bool(row.get("uncertain_first", False)) for row in rows]
    for name, usual in (("phase", "main"), ("outcome", "ok"), ("error_class", None)):
        frame[name] = pd.Categorical([row.get(name, usual) for row in rows])
    return frame


@dataclass
class HandRun:
    """A `StoredRun` from rows; `arrivals` of a row are its token events' instants.

    `scrapes` are (instant, name, value) of the server; `labelled` are (instant, source, name,
    labels, value) of anything.
    """

    rows: list[dict[str, Any]]
    end: dict[str, Any] | None = None
    journal: list[dict[str, Any]] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)
    scrapes: list[tuple[float, str, float]] = field(default_factory=list)
    labelled: list[tuple[float, str, str, dict[str, str], float]] = field(default_factory=list)
    start_ns: int = 0
    defects: dict[str, int] = field(default_factory=dict)

    @property
    def requests(self) -> pd.DataFrame:
        return frame_of(self.rows)

    @property
    def server(self) -> pd.DataFrame:
        labels = (("engine", "0"),)
        found = [(at, "http://s/metrics", name, labels, value) for at, name, value in self.scrapes]
        found += [
            (at, s, n, tuple(sorted(pairs.items())), v) for at, s, n, pairs, v in self.labelled
        ]
        return pd.DataFrame(found, columns=["at_s", "source", "name", "labels", "value"])

    def token_events(self) -> Iterator[TokenEvents]:
        arrivals = [row.get("arrivals", ()) for row in self.rows]
        tokens = [row.get("tokens", [1] * len(row.get("arrivals", ()))) for row in self.rows]
        yield TokenEvents(
            rows=np.arange(len(self.rows)),
            offsets=np.cumsum([0, *map(len, arrivals)]),
            arrival_s=np.array([at for each in arrivals for at in each], np.float64),
            tokens=np.array([n for each in tokens for n in each], np.int32),
        )


def answered(
    at_s: float, ttft_s: float = 0.1, itl_s: float = 0.02, tokens: int = 5, **more: Any
) -> dict[str, Any]:
    """A request that ended well, sent on time, one token an event."""
    arrivals = [at_s + ttft_s + k * itl_s for k in range(tokens)]
    return {
        "intended_s": at_s,
        "sent_s": at_s,
        "first_s": arrivals[0],
        "last_s": arrivals[-1],
        "done_s": arrivals[-1],
        "output_tokens": tokens,
        "planned_output_tokens": tokens,
        "arrivals": arrivals,
        **more,
    }


def failed(at_s: float, after_s: float = 0.01, error_class: str = "http_503") -> dict[str, Any]:
    return {
        "intended_s": at_s,
        "sent_s": at_s,
        "done_s": at_s + after_s,
        "outcome": "failed",
        "error_class": error_class,
    }


def balanced(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """end.json of rows that all have an end."""
    outcomes = [row.get("outcome", "ok") for row in rows]
    classes = [row["error_class"] for row in rows if row.get("outcome") == "failed"]
    return {
        "planned": len(rows),
        "ok": outcomes.count("ok"),
        "failed": {name: classes.count(name) for name in set(classes)},
        "dropped": outcomes.count("dropped"),
        "aborted": outcomes.count("aborted"),
        "dead_workers": [],
        "client": {
            "cpu_s": 1.0,
            "workers": [
                {
                    "worker": 0,
                    "cpu_s": 1.0,
                    "wall_s": 10.0,
                    "loop_stall_max_s": 0.001,
                    "tokens": 100,
                    "clock_steps": 0,
                }
            ],
        },
    }


@pytest.fixture
def hand_run() -> Callable[..., HandRun]:
    """Makes a run from rows, balanced unless `end` is given."""

    def make(rows: list[dict[str, Any]], **fields: Any) -> HandRun:
        return HandRun(rows, **{"end": balanced(rows), **fields})

    return make


@pytest.fixture
def ok_row() -> Callable[..., dict[str, Any]]:
    return answered


@pytest.fixture
def failed_row() -> Callable[..., dict[str, Any]]:
    return failed


@pytest.fixture
def profile() -> Callable[..., Any]:
    """Makes a profile from limits given as (metric, statistic, bound) and other fields."""
    from bench.judge.profile import Profile

    def make(*limits: tuple[str, str, float], **fields: Any) -> Profile:
        rows = [dict(zip(("metric", "statistic", "bound"), limit, strict=True)) for limit in limits]
        values: dict[str, Any] = {
            "name": "t",
            "title": {"zh": "试", "en": "test"},
            "window": {"rule": "whole"},
            "limits": tuple({**row, "source": "§0"} for row in rows),
        }
        return Profile.model_validate({**values, **fields})

    return make
