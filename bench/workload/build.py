"""From a recipe, its rows and a vocabulary to the plan of a run.

The order of work: rows are read into columns (content into the spool), grouped by session, given
starts by the recipe's arrivals, cut by its extent, and marked as warm-up.  Everything drawn comes
from the recipe's named seeds; the salt alone is new in every run.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from bench.errors import ConfigError
from bench.model import MESSAGE_ENDPOINTS
from bench.workload.arrivals import Closed, Recorded, Stages, dequantize, open_offsets
from bench.workload.collect import MOST_REQUESTS, Rows, collect, too_many
from bench.workload.plan import Columns, Floats, Ints, Plan
from bench.workload.prompts import PromptMaker
from bench.workload.readers import TraceReading
from bench.workload.recipe import Recipe, named_seeds, recipe_hash
from bench.workload.spool import SpoolWriter
from bench.workload.tokens import LengthMethod, Vocabulary


def build_plan(recipe: Recipe, reading: TraceReading, vocabulary: Vocabulary) -> Plan:
    """The plan of one run of `recipe` over the rows of `reading` (bench.workload.source).

    Reads as many rows as the run can need: all of them where nothing else bounds it.  `salt: auto`
    is drawn here; every other choice follows from the recipe.  Raises ConfigError where the recipe
    and the rows don't go together, TraceError from the reader.
    """
    chat = recipe.endpoint in MESSAGE_ENDPOINTS
    if chat and vocabulary.method is LengthMethod.TOKEN_IDS:
        raise ConfigError("token-id prompts need endpoint completions")
    spool = SpoolWriter()
    try:
        rows = collect(recipe, reading, spool)
        columns, starts_s = _arranged(recipe, rows)
        sessions, last_index, starts_s = _extent(recipe, columns, starts_s)
        warmup_sessions = _warmup_sessions(recipe, columns, starts_s)
        if sessions is not None and warmup_sessions >= sessions:
            raise ConfigError(
                f"recipe {recipe.name}: the warm-up takes all {sessions} sessions",
                "a longer run, or --warmup 0 to take it away, --warmup N to make it N requests",
            )
    except BaseException:
        spool.discard()
        raise
    salt = _salt(recipe)
    blocks = reading.blocks
    return Plan(
        columns=columns,
        starts_s=starts_s,
        planned_sessions=sessions,
        last_index=last_index,
        warmup_sessions=warmup_sessions,
        prompts=PromptMaker(
            vocabulary,
            seed=named_seeds(recipe)["content"],
            salt=salt,
            namespace=reading.path.name,
            block_tokens=blocks.tokens if blocks else None,
            ceil=blocks is None or blocks.rule == "ceil",
        ),
        spool=spool.finish(),
        chat=chat,
        described={
            **_described(recipe, reading),
            "offered_rps": _offered_rps(recipe, columns, sessions, starts_s),
            "salt": salt or None,
        },
    )


def _described(recipe: Recipe, reading: TraceReading) -> dict[str, Any]:
    """What the recipe and its rows are, for the manifest."""
    return {
        "recipe": recipe.name,
        "recipe_hash": recipe_hash(recipe),
        "format": reading.format,
        "block_tokens": reading.block_tokens,
        "counts": {name: count for name, count in sorted(reading.counts.items()) if count},
        "warnings": list(reading.warnings),
        "arrivals": recipe.arrivals.model_dump(mode="json"),
        "seeds": named_seeds(recipe),
    }


def _arranged(recipe: Recipe, rows: Rows) -> tuple[Columns, Floats | None]:
    """Rows side by side by session, and the recorded starts where the recipe replays them."""
    session = np.frombuffer(rows.session, dtype=np.int64)
    first = np.unique(session, return_index=True)[1]
    at_s = np.frombuffer(rows.at_s, dtype=np.float64)
    think_s = np.frombuffer(rows.think_s, dtype=np.float64)
    rank = np.arange(len(first))
    kept = np.ones(len(session), dtype=np.bool_)
    recorded = isinstance(recipe.arrivals, Recorded)
    if isinstance(recipe.arrivals, Recorded):
        at_s = _recorded_times(recipe, recipe.arrivals, at_s, first)
        think_s = think_s / recipe.arrivals.speed
        rank[np.argsort(at_s[first], kind="stable")] = np.arange(len(first))
        if recipe.duration_s is not None:
            kept = ~((at_s >= recipe.duration_s) | (at_s[first][session] >= recipe.duration_s))
    order = np.argsort(rank[session], kind="stable")
    order = order[kept[order]]
    begins = np.flatnonzero(np.diff(session[order], prepend=-1))
    start_s = at_s[first][session[order]]
    after_s = np.maximum(at_s[order] - start_s, 0.0)
    after_s[begins] = 0.0
    columns = Columns(
        input_tokens=np.frombuffer(rows.input_tokens, dtype=np.int64)[order],
        output_tokens=np.frombuffer(rows.output_tokens, dtype=np.int64)[order],
        after_s=after_s,
        think_s=think_s[order],
        content=np.frombuffer(rows.content, dtype=np.int8)[order],
        offset=np.frombuffer(rows.offset, dtype=np.int64)[order],
        size=np.frombuffer(rows.size, dtype=np.int64)[order],
        first=np.append(begins, len(order)),
    )
    return columns, start_s[begins] if recorded else None


def _recorded_times(recipe: Recipe, arrivals: Recorded, at_s: Floats, first: Ints) -> Floats:
    """The trace's times as the run replays them: zero-based, spread over the quantum, hastened."""
    if np.isnan(at_s[first]).any():
        raise ConfigError(
            f"recipe {recipe.name}: the trace has no recorded times to replay",
            "give --rate R or --concurrency N (or arrivals of another kind in the recipe)",
        )
    if arrivals.dequantize_s is not None:
        at_s = dequantize(_rng(recipe), at_s, arrivals.dequantize_s)
    hastened: Floats = (at_s - at_s[first].min()) / arrivals.speed
    return hastened


def _extent(
    recipe: Recipe, columns: Columns, starts_s: Floats | None
) -> tuple[int | None, int | None, Floats | None]:
    """Planned sessions, the index after the last request, and session starts."""
    arrivals, wanted = recipe.arrivals, recipe.requests
    if isinstance(arrivals, Recorded):
        return columns.sessions, None, starts_s
    if wanted is None and recipe.duration_s is None and arrivals.kind != "stages":
        wanted = columns.rows
    if wanted is not None and wanted > MOST_REQUESTS:
        raise too_many(recipe, f"{wanted:,}", "cut the trace (--limit N)")
    sessions = None if wanted is None else _sessions_of(columns, wanted)
    if isinstance(arrivals, Closed):
        return sessions, wanted, None
    starts_s = open_offsets(
        arrivals,
        _rng(recipe),
        requests_per_session=columns.rows / columns.sessions,
        sessions=sessions,
        duration_s=recipe.duration_s,
    )
    if not starts_s.size:
        raise ConfigError(
            f"recipe {recipe.name}: no request falls into the run",
            "raise the rate or the duration",
        )
    return len(starts_s), wanted, starts_s


def _sessions_of(columns: Columns, requests: int) -> int:
    """The least number of sessions, in order and in cycles, that hold `requests` turns."""
    cycles, rest = divmod(requests, columns.rows)
    return cycles * columns.sessions + int(np.searchsorted(columns.first, rest))


def _warmup_sessions(recipe: Recipe, columns: Columns, starts_s: Floats | None) -> int:
    warmup = recipe.warmup
    if warmup is None:
        return 0
    if warmup.requests is not None:
        return _sessions_of(columns, warmup.requests)
    assert starts_s is not None and warmup.duration_s is not None
    return int(np.searchsorted(starts_s, warmup.duration_s))


def _offered_rps(
    recipe: Recipe, columns: Columns, sessions: int | None, starts_s: Floats | None
) -> float | None:
    """Planned requests per second of an open loop; None for a closed one.

    Over the duration where there is one, else from the first start to the last.
    """
    if starts_s is None or sessions is None:
        return None
    requests = sessions * columns.rows / columns.sessions
    arrivals = recipe.arrivals
    if isinstance(arrivals, Stages) and recipe.duration_s is None and recipe.requests is None:
        return requests / sum(stage.duration_s for stage in arrivals.stages)
    if recipe.duration_s is not None and recipe.requests is None:
        return requests / recipe.duration_s
    span_s = float(starts_s[-1] - starts_s[0])
    return requests * (1 - 1 / sessions) / span_s if span_s > 0 else None


def _rng(recipe: Recipe) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(named_seeds(recipe)["arrivals"]))


def _salt(recipe: Recipe) -> str:
    if recipe.salt == "none":
        return ""
    return secrets.token_hex(8) if recipe.salt == "auto" else recipe.salt
