"""Rows of a synthetic run: drawn as columns, a block of requests at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.model import Outcome, Phase, TokenMethod
from bench.record.columns import REQUESTS

START_NS = 9_100_000_000_000_123
"""The run's start on the monotonic clock: an uptime at which float64 would lose nanoseconds."""

NEVER = -1
"""The instant of what did not happen."""

Ints = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[Any]]

_NS_PER_S = 1_000_000_000
_EVENTS_AT_A_TIME = 4_000_000
_TAIL_NS = 40_000  # last token to the end of the body
_CACHE_BLOCK_TOKENS = 16
_BYTES_PER_TOKEN = 250


@dataclass(frozen=True, slots=True)
class SyntheticRun:
    """An open loop with Poisson arrivals at `rate_rps`.

    `ttft_s` (from the send) and `itl_s` are (median, sigma of the logarithm) of log-normal draws,
    `lag_s` the mean of exponential schedule lags.  Output lengths are Gamma with mean
    `tokens_per_request` and coefficient of variation `tokens_cv`, 1 at least.  `failures` maps an
    error class to the fraction of requests that end so, without a token; `http_<status>` classes
    carry the status.  `cached_fraction` is the mean share of cached prompt tokens, None for a
    server that does not tell.  `server_interval_s` is the time between scrapes, None for none.  A
    `killed` run has no end.json.
    """

    requests: int = 1_000
    tokens_per_request: int = 100
    tokens_cv: float = 0.0
    seed: int = 1
    rate_rps: float = 50.0
    ttft_s: tuple[float, float] = (0.05, 0.3)
    itl_s: tuple[float, float] = (0.02, 0.2)
    lag_s: float = 0.000_1
    prompt_tokens: int = 512
    cached_fraction: float | None = 0.5
    failures: Mapping[str, float] = field(default_factory=dict)
    dropped_fraction: float = 0.0
    aborted_fraction: float = 0.0
    warmup_requests: int = 0
    workers: int = 1
    server_interval_s: float | None = 1.0
    killed: bool = False


def blocks(spec: SyntheticRun) -> Iterator[Columns]:
    """Columns of consecutive requests, few enough at a time to keep their tokens in memory."""
    rng = np.random.default_rng(spec.seed)
    share = -(-spec.requests // spec.workers)
    rows = max(1, min(share, _EVENTS_AT_A_TIME // spec.tokens_per_request))
    after_ns = START_NS
    for first in range(0, spec.requests, rows):
        index = np.arange(first, min(first + rows, spec.requests))
        gaps = rng.exponential(_NS_PER_S / spec.rate_rps, index.size)
        intended = after_ns + np.cumsum(gaps).astype(np.int64)
        after_ns = int(intended[-1])
        yield _draw(spec, rng, index, intended)


def _draw(spec: SyntheticRun, rng: np.random.Generator, index: Ints, intended: Ints) -> Columns:
    """Columns of some requests; an instant that never came is `NEVER`."""
    n = index.size
    outcome, error = _outcomes(spec, rng, n)
    ok, failed = outcome == Outcome.OK, outcome == Outcome.FAILED
    sent = intended + rng.exponential(spec.lag_s * _NS_PER_S, n).astype(np.int64)
    ttft = _log_normal_ns(rng, spec.ttft_s, n)
    lengths = np.where(ok, _lengths(spec, rng, n), 0)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    deltas = _log_normal_ns(rng, spec.itl_s, int(offsets[-1]))
    deltas[offsets[:-1][ok]] = ttft[ok]
    total = np.concatenate(([0], np.cumsum(deltas)))
    last = sent + total[offsets[1:]] - total[offsets[:-1]]
    return {
        "index": index,
        "intended_ns": intended,
        "sent_ns": np.where(outcome == Outcome.DROPPED, NEVER, sent),
        "first_ns": np.where(ok, sent + ttft, NEVER),
        "last_ns": np.where(ok, last, NEVER),
        "done_ns": np.where(ok, last + _TAIL_NS, np.where(failed, sent + ttft, NEVER)),
        "outcome": outcome,
        "error_class": error,
        "cached_tokens": _cached(spec, rng, n),
        "output_tokens": lengths,
        "offsets": offsets,
        "deltas": deltas,
    }


def _outcomes(
    spec: SyntheticRun, rng: np.random.Generator, n: int
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Outcome and error class of each request."""
    kinds: list[tuple[Outcome, str | None, float]] = [
        (Outcome.FAILED, name, share) for name, share in spec.failures.items()
    ]
    kinds.append((Outcome.DROPPED, None, spec.dropped_fraction))
    kinds.append((Outcome.ABORTED, None, spec.aborted_fraction))
    edges = np.cumsum([share for _, _, share in kinds])
    drawn = np.searchsorted(edges, rng.random(n), side="right")
    outcomes = np.array([str(kind) for kind, _, _ in kinds] + [str(Outcome.OK)], object)
    errors = np.array([name for _, name, _ in kinds] + [None], object)
    return outcomes[drawn], errors[drawn]


def _lengths(spec: SyntheticRun, rng: np.random.Generator, n: int) -> Ints:
    if spec.tokens_cv == 0:
        return np.full(n, spec.tokens_per_request)
    shape = spec.tokens_cv**-2
    drawn = rng.gamma(shape, spec.tokens_per_request / shape, n)
    return np.maximum(1, np.rint(drawn)).astype(np.int64)


def _cached(spec: SyntheticRun, rng: np.random.Generator, n: int) -> Ints:
    """Cached prompt tokens in whole blocks; the mean share is lower by half a block."""
    mean = min(max(spec.cached_fraction or 0.0, 1e-9), 1 - 1e-9)
    tokens = rng.beta(4 * mean, 4 * (1 - mean), n) * spec.prompt_tokens
    return (tokens // _CACHE_BLOCK_TOKENS).astype(np.int64) * _CACHE_BLOCK_TOKENS


def _log_normal_ns(rng: np.random.Generator, law: tuple[float, float], n: int) -> Ints:
    median_s, sigma = law
    logarithm = rng.standard_normal(n, np.float32) * np.float32(sigma)
    drawn: Ints = (np.exp(logarithm) * np.float32(median_s * _NS_PER_S)).astype(np.int64)
    return drawn


def table(spec: SyntheticRun, block: Columns, worker: int) -> pa.Table:
    """The block as rows of a requests part."""
    n = block["index"].size
    ok = block["outcome"] == Outcome.OK
    was_sent = block["sent_ns"] != NEVER
    columns: dict[str, Any] = {name: block[name] for name in ("index", "outcome", "error_class")}
    for name in ("intended_ns", "sent_ns", "first_ns", "last_ns", "done_ns"):
        columns[name] = pa.array(block[name], mask=block[name] == NEVER)
    columns |= {
        "session": block["index"],
        "worker": np.full(n, worker),
        "phase": np.where(block["index"] < spec.warmup_requests, Phase.WARMUP, Phase.MAIN),
        "headers_ns": columns["first_ns"],
        "connect_s": pa.array(np.zeros(n), mask=~was_sent),
        "connection_requests": pa.array(block["index"], mask=~was_sent),
        "status": _status(block["error_class"], ok),
        "finish_reason": _word_where(ok, "length"),
        "error_text": block["error_class"],
        "planned_input_tokens": np.full(n, spec.prompt_tokens),
        "planned_output_tokens": np.where(ok, block["output_tokens"], spec.tokens_per_request),
        "prompt_tokens": pa.array(np.full(n, spec.prompt_tokens), mask=~ok),
        "cached_tokens": pa.array(
            block["cached_tokens"], mask=~ok | (spec.cached_fraction is None)
        ),
        "completion_tokens": pa.array(block["output_tokens"], mask=~ok),
        "output_tokens": pa.array(block["output_tokens"], mask=~ok),
        "token_method": _word_where(ok, TokenMethod.CONTINUOUS_USAGE),
        "first_token_rule": _word_where(ok, "account"),
        "uncertain_first": np.zeros(n, bool),
        "events": block["output_tokens"],
        "reads": block["output_tokens"],
        "body_bytes": block["output_tokens"] * _BYTES_PER_TOKEN,
        "request_bytes": np.where(was_sent, spec.prompt_tokens * 4, 0),
        "arrival_delta_ns": _lists(block["offsets"], block["deltas"]),
        "tokens": _lists(block["offsets"], np.ones(block["deltas"].size, np.int32)),
    }
    zero = np.zeros(n, np.int64)
    arrays = []
    for column in REQUESTS:
        values = columns.get(column.name, zero if not column.nullable else [None] * n)
        array = values if isinstance(values, pa.Array) else pa.array(values)
        arrays.append(array.cast(column.type))
    return pa.Table.from_arrays(arrays, schema=REQUESTS)


def _status(error: npt.NDArray[np.object_], ok: npt.NDArray[np.bool_]) -> list[int | None]:
    of_class = {
        name: int(name.removeprefix("http_"))
        for name in set(error)
        if str(name).startswith("http_")
    }
    return [200 if fine else of_class.get(name) for fine, name in zip(ok, error, strict=True)]


def _word_where(mask: npt.NDArray[np.bool_], word: str) -> npt.NDArray[np.object_]:
    return np.array([None, str(word)], object)[mask.astype(np.int64)]


def _lists(offsets: Ints, values: npt.NDArray[Any]) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
