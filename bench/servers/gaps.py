"""What a server does not tell, what that costs the measurement, and how to enable it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.model import TokenMethod
from bench.servers.family import Family, ResolvedSeries
from bench.servers.shape import StreamShape

WANTED_SERIES = (
    "running",
    "waiting",
    "kv_usage_fraction",
    "prompt_tokens",
    "generation_tokens",
    "requests_finished",
    "preemptions",
    "ttft_s",
    "e2e_s",
    "queue_s",
)
"""Series a full measurement shows; the cache counters have a row of their own."""

_CACHE_PAIRS = (
    ("cache_hit_tokens", "cache_queried_tokens"),
    ("prompt_tokens_cached", "prompt_tokens"),
    ("prompt_tokens_cached", "prompt_tokens_computed"),
    ("cache_hit_blocks", "cache_missed_blocks"),
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Something a full measurement needs and this server does not give."""

    missing: str
    effect: str
    remedy: str


@dataclass(frozen=True, slots=True)
class MetricsFacts:
    """What the metrics endpoint exposes.

    `url` None: there is none, for the `reason` given.  `series`: neutral name to what it is called
    here; `missing`: wanted ones that are not there.  `engines`: engines or DP ranks seen.
    """

    url: str | None
    reason: str
    series: Mapping[str, ResolvedSeries]
    missing: tuple[str, ...]
    engines: int | None
    block_tokens: int | None
    prefix_caching: bool | None


def missing_series(series: Mapping[str, ResolvedSeries]) -> tuple[str, ...]:
    """Wanted series that resolved to no name."""
    return tuple(name for name in WANTED_SERIES if name not in series)


def tells_cache(series: Mapping[str, ResolvedSeries]) -> bool:
    """Whether a hit rate over a window can be had from counters."""
    return any(hit in series and all_ in series for hit, all_ in _CACHE_PAIRS)


def stream_gaps(shape: StreamShape | None, family: Family) -> list[Gap]:
    """What the one streamed answer lacks."""
    if shape is None:
        return [Gap("stream", "TTFT and ITL can't be measured", "the server did not stream")]
    gaps = []
    if shape.token_method is TokenMethod.EVENTS:
        effect = "token counts are counts of events, which may hold several tokens"
        gaps.append(Gap("usage", effect, "the server sends no usage in a stream"))
    if not (shape.token_ids or shape.continuous_usage):
        effect = "tokens of an event are a spread of the final usage, not the server's account"
        remedy = family.remedies.get("token_account", "")
        gaps.append(Gap("token_account", effect, remedy))
    if shape.cached_tokens is None:
        effect = "the client's view of the cache hit rate stays unknown"
        gaps.append(Gap("cached_tokens", effect, family.remedies.get("cached_tokens", "")))
    return gaps


def metrics_gaps(metrics: MetricsFacts, family: Family) -> list[Gap]:
    """What the server's metrics lack."""
    series, remedies = metrics.series, family.remedies
    if metrics.url is None or not series:
        why = metrics.reason or f"{metrics.url} exposes none of the names known"
        effect = f"the server's view (queue, KV usage, cache) stays unknown: {why}"
        return [Gap("metrics", effect, remedies.get("metrics", ""))]
    gaps = []
    if not tells_cache(series):
        effect = "the server's view of the cache hit rate stays unknown"
        if "cache_hit_rate_since_start_fraction" in series:
            effect = "the server's view of the cache hit rate is approximate"
        gaps.append(Gap("cache_hit_tokens", effect, remedies.get("cache_hit_tokens", "")))
    if metrics.prefix_caching is False:
        effect = "prefix caching is off: a hit rate is not applicable"
        gaps.append(Gap("prefix_caching", effect, remedies.get("prefix_caching", "")))
    if metrics.missing:
        names = ", ".join(metrics.missing)
        gaps.append(Gap("series", f"not exposed: {names}", remedies.get("series", "")))
    if "process_start_s" not in series:
        effect = "a restart shows only where a counter falls"
        gaps.append(Gap("process_start_s", effect, remedies.get("process_start_s", "")))
    return gaps
