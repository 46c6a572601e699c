"""Cached and prompt tokens as the responses' usage states them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.judge.metric import column, outcome_is
from bench.judge.stats import Flags, Floats


@dataclass(frozen=True, slots=True, eq=False)
class PromptUsage:
    """`cached` and `prompt` tokens of the rows of a frame at `rows`, in their order.

    `silent`: answers that ended well and state no cached tokens; `silent_is_zero`: they are among
    `rows`, with 0.
    """

    rows: Flags
    cached: Floats
    prompt: Floats
    silent: int
    silent_is_zero: bool


def prompt_usage(frame: pd.DataFrame) -> PromptUsage:
    """Of the requests that ended well and whose prompt is stated.

    Older vLLM (to 0.24) and SGLang leave `cached_tokens` out of an answer that hit nothing.  That
    is what a run shows where some answers state it and none of them states 0: then the others are
    misses, without which the rate would be that of the hits alone.  Where an answer states 0,
    silence has another reason, and those answers are left out.
    """
    cached, prompt = column(frame, "cached_tokens"), column(frame, "prompt_tokens")
    answered = outcome_is(frame, "ok") & (prompt > 0)
    silent = answered & np.isnan(cached)
    told = cached[answered & ~silent]
    zero = bool(silent.any() and len(told) and told.min() > 0)
    rows = answered if zero else answered & ~silent
    return PromptUsage(
        rows, np.nan_to_num(cached[rows]), prompt[rows], int(silent.sum()), silent_is_zero=zero
    )
