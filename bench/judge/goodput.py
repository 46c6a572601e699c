"""Which requests are good: they ended well and met every limit of the profile's good set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.judge.latency import LATENCY
from bench.judge.metric import Column
from bench.judge.stats import Flags

if TYPE_CHECKING:
    from bench.judge.profile import Good, GoodLimit

_DIRECTIONS = {metric.name: metric.direction for metric in LATENCY}


def within(found: Column, limit: GoodLimit) -> tuple[Flags, Flags]:
    """Which requests meet a limit, and for which that is unknown.

    A request that the metric does not apply to meets it: one token has no TPOT to be too slow.
    """
    values = found.values
    skipped = np.zeros(len(values), np.bool_)
    if found.not_applicable is not None:
        skipped = found.not_applicable
    lower = _DIRECTIONS[limit.metric] == "lower"
    inside = values <= limit.bound if lower else values >= limit.bound
    return inside | skipped, np.isnan(values) & ~skipped


def good_requests(
    good: Good, columns: Mapping[str, Column], ok: Flags, aborted: Flags
) -> tuple[Flags, Flags]:
    """Which requests are good, and which are undecided.

    A request with an unknown value, or that the run's end cut off, is undecided and never good,
    unless a limit it has failed decides it.
    """
    all_met, missed = ok.copy(), ~ok & ~aborted
    for limit in good.limits:
        met, unknown = within(columns[limit.metric], limit)
        all_met &= met
        missed |= ~met & ~unknown
    return all_met, ~all_met & ~missed
