"""A stored run as pandas DataFrames: the door for notebooks and scripts.

    import bench

    run = bench.open_run("reports/20260101T120000Z-chat-1f3a")
    run.requests["ttft_s"].quantile(0.9)
    run.judge("realtime-chat").verdict["verdict"]

Instants are float64 seconds after the run's start.  Unknown is NaN.  docs/analysis.md has examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.evidence import read_values
from bench.judge.judgement import NO_PROFILE, Judgement, judge
from bench.judge.profile import Profile, load_profile, profile_of
from bench.record import frame

__all__ = ["Judgement", "Profile", "Run", "open_run"]


class Run:
    """A run folder, opened for reading.  Tables are read when first asked for, and kept."""

    def __init__(self, path: str | Path) -> None:
        self._stored = frame.Run(Path(path))

    def __repr__(self) -> str:
        return f"<bench.Run {self.path}>"

    @property
    def path(self) -> Path:
        return self._stored.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the run was: recipe, server, load, host, versions (docs/run-folder.md)."""
        return self._stored.manifest

    @property
    def end(self) -> Mapping[str, Any] | None:
        """How the run ended and its balance of requests; None when it was killed."""
        return self._stored.end

    @property
    def defects(self) -> Mapping[str, int]:
        """What is torn, doubled or missing in the folder, by kind; empty when nothing is."""
        return self._stored.defects

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row for each planned request, sorted by `index`, warm-up included (`phase`).

        What was recorded (docs/run-folder.md; instants as `*_s`), and every request metric by its
        name (`ttft_s`, `tpot_s`, `e2e_s`, …; `bench metrics`): NaN where it is unknown or does not
        apply, +inf in a latency of a request that failed or was dropped.
        """
        return read_values(self._stored, self._own_profile or NO_PROFILE).frame

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """One row for each token event: `index` of its request, `arrival_s`, `tokens` in it.

        20 bytes a row: a run of 1,000,000 requests with 200 events each takes 4 GB.  Then read
        `bench.record.frame.Run.token_events`, which gives about a million events at a time.
        """
        index = self._stored.requests["index"].to_numpy()
        parts = [
            (np.repeat(index[events.rows], np.diff(events.offsets)), events)
            for events in self._stored.token_events()
        ]
        return pd.DataFrame(
            {
                "index": _joined([of for of, _ in parts], np.int64),
                "arrival_s": _joined([events.arrival_s for _, events in parts], np.float64),
                "tokens": _joined([events.tokens for _, events in parts], np.int32),
            }
        )

    @property
    def server(self) -> pd.DataFrame:
        """What servers and exporters said of themselves: `at_s`, `source`, `name`, `labels`,
        `value`; `labels` are sorted tuples of (label, value).
        """
        return self._stored.server

    def judge(self, profile: str | Path | Profile | None = None) -> Judgement:
        """Values, limits and verdict, under a profile by name, by file, or as made.

        Without one: the profile that the run was made with; if it had none there are values and no
        limits.  Nothing is written.  Raises ConfigError for a profile that is wrong.
        """
        if profile is None:
            return judge(self._stored, self._own_profile)
        return judge(
            self._stored, profile if isinstance(profile, Profile) else load_profile(profile)
        )

    @cached_property
    def _own_profile(self) -> Profile | None:
        return profile_of(self._stored.manifest)


def open_run(path: str | Path) -> Run:
    """Open a run folder, finished or killed.

    Raises RunFolderError where it is missing, is no run folder, or was written by a newer release.
    """
    return Run(path)


def _joined(parts: list[Any], dtype: type[np.generic]) -> np.ndarray[Any, Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
