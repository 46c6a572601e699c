"""The same raw instants under the definitions of other tools, side by side.

For telling why two tools disagree; never judged.  Read from the tools' sources in 2026: vLLM
`lib/endpoint_request_func.py`, guidellm `backends/openai/http.py`, AIPerf
`transports/aiohttp_client.py`, SGLang `benchmark/serving.py`.  Their clocks start when they hand
the request on, which is `sent` here; over requests of the window that ended well, as they count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.judge.metric import Measured, column
from bench.judge.ranked import Ranked
from bench.judge.stats import Floats, finite_or_none, nearest_rank_of_two


def definitions(measured: Measured, per_token: Ranked, per_event: Ranked) -> dict[str, Any]:
    """For each tool TTFT, TPOT and ITL with its formula: mean, p50, p99 in seconds, n.

    `per_token` and `per_event` are the window's gaps: per token, and between events.
    """
    frame = measured.requests[measured.ok]
    sent, first, last, done, role, tokens = (
        column(frame, name)
        for name in ("sent_s", "first_s", "last_s", "done_s", "role_s", "output_tokens")
    )

    shown = np.fmin(first, role)
    gaps = np.where(tokens >= 2, tokens - 1, np.nan)
    counted = np.where(tokens >= 1, tokens, np.nan)
    mean_gap = (last - first) / gaps
    role_gap = Ranked((first - role)[~np.isnan(first - role)].astype(np.float32))
    sent_first, mean_gaps = _row(first - sent), _row(mean_gap)
    events = _merged(per_event)
    tokens_apart = events if per_token is per_event else _merged(per_token)
    return {
        "bench": {
            "ttft": _as("first token − intended", _row(first - column(frame, "intended_s"))),
            "tpot": _as("(last − first) / (n − 1)", mean_gaps),
            "itl": _as("gap / tokens of the later event", tokens_apart),
        },
        "vllm": {
            "ttft": _as("first chunk, the role frame included − sent", _row(shown - sent)),
            "tpot": _as("(last − first chunk) / (n − 1)", _row((last - shown) / gaps)),
            "itl": _as(
                "gap between chunks, that after the role frame too",
                _merged(per_event, role_gap) if len(role_gap) else events,
            ),
        },
        "guidellm": {
            "ttft": _as("first token − sent", sent_first),
            "tpot": _as("(end − sent) / n, TTFT included", _row((done - sent) / counted)),
            "itl": _as("(last − first) / (n − 1) of each request", mean_gaps),
        },
        "aiperf": {
            "ttft": _as("first token − sent", sent_first),
            "tpot": _as("(last − first) / (n − 1)", mean_gaps),
            "itl": _as("(last − first) / (n − 1) of each request", mean_gaps),
        },
        "sglang": {
            "ttft": _as("first token − sent", sent_first),
            "tpot": _as(
                "(last − first) / (n − 1), 0 for one token", _row(_or_zero(mean_gap, tokens))
            ),
            "itl": _as("gap between chunks", events),
        },
    }


def _or_zero(mean_gap: Floats, tokens: Floats) -> Floats:
    zeroed: Floats = np.where(tokens == 1, 0.0, mean_gap)
    return zeroed


def _as(formula: str, statistics: Mapping[str, Any]) -> dict[str, Any]:
    return {"formula": formula, **statistics}


def _row(values: Floats) -> dict[str, Any]:
    return _merged(Ranked(values[~np.isnan(values)]))


def _merged(first: Ranked, second: Ranked | None = None) -> dict[str, Any]:
    """Statistics of one or two parts taken together, without joining them."""
    other = second or Ranked(first.values[:0])
    n = len(first) + len(other)
    total = sum(float(part.values.sum(dtype=np.float64)) for part in (first, other))
    return {
        "n": n,
        "mean": total / n if n else None,
        "p50": finite_or_none(nearest_rank_of_two(first, other, 0.5)),
        "p99": finite_or_none(nearest_rank_of_two(first, other, 0.99)),
    }
