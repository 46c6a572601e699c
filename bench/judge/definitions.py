"""The same raw instants under the definitions of other tools, side by side.

For telling why two tools disagree; never judged.  Read from the tools' sources in 2026: vLLM
`lib/endpoint_request_func.py`, guidellm `backends/openai/http.py`, AIPerf
`transports/aiohttp_client.py`, SGLang `benchmark/serving.py`.  Their clocks start when they hand
the request on, which is `sent` here; over requests of the window that ended well, as they count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.judge.metric import Measured, column
from bench.judge.stats import Floats, finite_or_none, nearest_rank_of_two
from bench.judge.tokens import Gaps


def definitions(measured: Measured, per_token: Gaps, per_event: Gaps) -> dict[str, Any]:
    """For each tool TTFT, TPOT and ITL with its formula: mean, p50, p99 in seconds, n.

    `per_token` and `per_event` are the window's gaps, sorted: per token, and between events.
    """
    frame = measured.requests[measured.ok]
    sent, first, last, done, role, tokens = (
        column(frame, name)
        for name in ("sent_s", "first_s", "last_s", "done_s", "role_s", "output_tokens")
    )
    from_send = first - sent
    shown = np.fmin(first, role)
    gaps = np.where(tokens >= 2, tokens - 1, np.nan)
    counted = np.where(tokens >= 1, tokens, np.nan)
    mean_gap = (last - first) / gaps
    role_gap = np.sort((first - role)[~np.isnan(first - role)]).astype(np.float32)
    return {
        "bench": {
            "ttft": _row("first token − intended", first - column(frame, "intended_s")),
            "tpot": _row("(last − first) / (n − 1)", mean_gap),
            "itl": _merged("gap / tokens of the later event", per_token),
        },
        "vllm": {
            "ttft": _row("first chunk, the role frame included − sent", shown - sent),
            "tpot": _row("(last − first chunk) / (n − 1)", (last - shown) / gaps),
            "itl": _merged(
                "gap between chunks, that after the role frame too", per_event, role_gap
            ),
        },
        "guidellm": {
            "ttft": _row("first token − sent", from_send),
            "tpot": _row("(end − sent) / n, TTFT included", (done - sent) / counted),
            "itl": _row("(last − first) / (n − 1) of each request", mean_gap),
        },
        "aiperf": {
            "ttft": _row("first token − sent", from_send),
            "tpot": _row("(last − first) / (n − 1)", mean_gap),
            "itl": _row("(last − first) / (n − 1) of each request", mean_gap),
        },
        "sglang": {
            "ttft": _row("first token − sent", from_send),
            "tpot": _row("(last − first) / (n − 1), 0 for one token", _or_zero(mean_gap, tokens)),
            "itl": _merged("gap between chunks", per_event),
        },
    }


def _or_zero(mean_gap: Floats, tokens: Floats) -> Floats:
    zeroed: Floats = np.where(tokens == 1, 0.0, mean_gap)
    return zeroed


def _row(formula: str, values: Floats) -> dict[str, Any]:
    return _merged(formula, np.sort(values[~np.isnan(values)]))


def _merged(
    formula: str, first: np.ndarray[Any, Any], second: np.ndarray[Any, Any] | None = None
) -> dict[str, Any]:
    """Statistics of one or two sorted arrays taken together, without joining them."""
    other = first[:0] if second is None else second
    n = len(first) + len(other)
    total = float(first.sum(dtype=np.float64)) + float(other.sum(dtype=np.float64))
    return {
        "formula": formula,
        "n": n,
        "mean": total / n if n else None,
        "p50": finite_or_none(nearest_rank_of_two(first, other, 0.5)),
        "p99": finite_or_none(nearest_rank_of_two(first, other, 0.99)),
    }
