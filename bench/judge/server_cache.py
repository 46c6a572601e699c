"""What a server's counters tell of its prefix cache over a window: in total, by replica, by tier.

Ratios are of sums.  The pairs of counters differ by server (metric system §4); the first pair that
counted anything is taken, and tokens are preferred to blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.judge.server_view import Replica, ServerView

_PAIRS = (
    ("cache_hit_tokens", ("cache_queried_tokens",), "tokens"),
    ("prompt_tokens_cached", ("prompt_tokens",), "tokens"),
    ("prompt_tokens_cached", ("prompt_tokens_cached", "prompt_tokens_computed"), "tokens"),
    ("cache_hit_blocks", ("cache_hit_blocks", "cache_missed_blocks"), "blocks"),
)
_SINCE_START = "cache_hit_rate_since_start_fraction"
_TIER_LABELS = ("source", "cache_source", "cache_tier")
"""How vLLM, SGLang and TensorRT-LLM name the label that says where a hit came from."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found of what was looked up, in `unit`; nothing looked up: the cache is off.

    `approximate`: made of a rate since the server's start, not of counts.
    """

    hit: float
    looked_up: float
    unit: str = "tokens"
    approximate: bool = False

    @property
    def fraction(self) -> float | None:
        return self.hit / self.looked_up if self.looked_up > 0 else None


def hits(server: ServerView) -> Hits | None:
    """Over all sources and label sets; None where nothing of it was scraped."""
    scraped = None
    for hit_series, all_series, unit in _PAIRS:
        hit = server.increase(hit_series).value
        parts = [server.increase(series).value for series in all_series]
        known = [part for part in parts if part is not None]
        if hit is None or len(known) < len(parts):
            continue
        found = Hits(hit, sum(known), unit)
        if found.looked_up > 0:
            return found
        scraped = scraped or found
    return scraped or _since_start(server)


def hits_by_replica(server: ServerView) -> dict[Replica, Hits]:
    """The same for each source, engine and data-parallel rank that counted both."""
    for hit_series, all_series, unit in _PAIRS:
        hit = server.increase_by_replica(hit_series)
        parts = [server.increase_by_replica(series) for series in all_series]
        both = [replica for replica in hit if all(replica in part for part in parts)]
        found = {r: Hits(hit[r], sum(part[r] for part in parts), unit) for r in both}
        if any(each.looked_up > 0 for each in found.values()):
            return found
    return {}


def cached_by_tier(server: ServerView) -> Mapping[str, float]:
    """Cached prompt tokens by where they were; empty where the server does not tell."""
    for label in _TIER_LABELS:
        if tiers := server.increase_by("cached_tokens_by_tier", label):
            return tiers
    return {}


def _since_start(server: ServerView) -> Hits | None:
    """From a rate since the start and the prompt tokens at both ends of the window.

    With rates r and prompt tokens P at the ends: hits = r2 P2 - r1 P1 of P2 - P1.  Approximate:
    the prompt tokens are counted at another moment than the lookups.  Older MindIE tells no more.
    """
    rates, prompts = server.ends(_SINCE_START), server.ends("prompt_tokens")
    hit = looked_up = 0.0
    for replica in rates.keys() & prompts.keys():
        (rate, rate_after), (prompt, prompt_after) = rates[replica], prompts[replica]
        if prompt_after <= prompt:
            continue
        looked_up += prompt_after - prompt
        hit += max(0.0, rate_after * prompt_after - rate * prompt)
    return Hits(min(hit, looked_up), looked_up, approximate=True) if looked_up else None
