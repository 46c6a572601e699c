"""Were there hits that this run can't have made itself?  (metric system §4)

The first turn of a session can only hit what earlier sessions of the plan share with it.  More than
that was in the cache before the run, or was put there by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.usage import prompt_usage

WARN_FRACTION = 0.01
"""Above this the hits are remarked on; the profile says from where on the run is not valid."""


def contamination(frame: pd.DataFrame, workload: Mapping[str, Any]) -> dict[str, Any]:
    """First turns' hits against the most they can be, as fractions of their prompt tokens.

    `excess_fraction` is what lies above the ceiling and the slack; `result`: "ok", "warning",
    "unsalted" where the run was told to find a warm cache, or "unknown".  The slack is what the
    server puts in front of every prompt (its chat template): it hits from the second request on.
    """
    hit, prompt = _first_turns(frame)
    ceiling = first_turn_ceiling(workload)
    slack = _template_share(workload, prompt)
    observed = hit.sum() / prompt.sum() if prompt.sum() else None
    excess = None
    if observed is not None and ceiling is not None:
        excess = max(0.0, float(observed) - ceiling - slack)
    return {
        "first_turn_hit_fraction": None if observed is None else float(observed),
        "first_turn_ceiling_fraction": ceiling,
        "template_fraction": slack,
        "n": len(prompt),
        "excess_fraction": excess,
        "result": _result(excess, workload),
    }


def first_turn_ceiling(workload: Mapping[str, Any]) -> float | None:
    """What an infinite cache would hold of the first turns; None where the plan can't know."""
    stated = workload.get("ceiling") or {}
    hit, total = stated.get("first_turn_hit_tokens"), stated.get("first_turn_input_tokens")
    return hit / total if hit is not None and total else None


def _first_turns(frame: pd.DataFrame) -> tuple[Any, Any]:
    """Cached and prompt tokens of the main phase's first turns that state both."""
    usage = prompt_usage(frame)
    main = (frame["phase"] == "main").to_numpy(np.bool_)
    first = (frame["turn"] == 0).to_numpy(np.bool_)
    wanted = (main & first)[usage.rows]
    return usage.cached[wanted], usage.prompt[wanted]


def template_tokens(workload: Mapping[str, Any]) -> float:
    """What the server puts around every prompt, as the plan measured it; 0 where it is unknown."""
    return float((workload.get("prompts") or {}).get("overhead_tokens") or 0)


def _template_share(workload: Mapping[str, Any], prompt: Any) -> float:
    overhead = template_tokens(workload)
    return float(overhead * len(prompt) / prompt.sum()) if len(prompt) and prompt.sum() else 0.0


def _result(excess: float | None, workload: Mapping[str, Any]) -> str:
    if excess is None:
        return "unknown"
    if workload.get("salt") is None:
        return "unsalted"
    return "warning" if excess > WARN_FRACTION else "ok"
