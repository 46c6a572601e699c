"""What a server's counters tell of its prefix cache over a window: in total, by replica, by tier.

Ratios are of sums.  The pairs of counters differ by server (metric system §4).  Tokens of requests
come before lookups: vLLM before 0.27 counts a lookup again each time a request is retried, and its
lookups leave an outer cache out that the responses count in.  Tokens are preferred to blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.judge.server_view import Replica, ServerView

_PAIRS = (
    ("prompt_tokens_cached", ("prompt_tokens",), "tokens"),
    ("prompt_tokens_cached", ("prompt_tokens_cached", "prompt_tokens_computed"), "tokens"),
    ("cache_hit_tokens", ("cache_queried_tokens",), "tokens"),
    ("cache_hit_blocks", ("cache_hit_blocks", "cache_missed_blocks"), "blocks"),
)
_SINCE_START = "cache_hit_rate_since_start_fraction"
_ONCE_OF_BLOCKS = "vllm:gpu_prefix_cache_queries_total"
"""Counted blocks before vLLM 0.9 and tokens since, under the same name."""
_BLOCK_TOKENS_LEAST = 4
_SLACK = 0.05
_TIER_LABELS = ("source", "cache_source", "cache_tier")
"""How vLLM, SGLang and TensorRT-LLM name the label that says where a hit came from."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found of what was looked up, in `unit`; nothing looked up: the cache is off.

    `resets`: how often the counters began anew, whereby some of both was lost.  `approximate`: made
    of a rate since the server's start, not of counts.
    """

    hit: float
    looked_up: float
    unit: str = "tokens"
    resets: int = 0
    approximate: bool = False

    @property
    def fraction(self) -> float | None:
        return self.hit / self.looked_up if self.looked_up > 0 else None


def hits(server: ServerView) -> Hits | None:
    """Over all sources and label sets; None where nothing of it was scraped.

    The first pair that counted a hit.  Where none did, the one that looked up least: a cache that
    is off has no lookups, though its prompts are counted.
    """
    found = [counted for pair in _PAIRS if (counted := _counted(server, *pair)) is not None]
    if not found:
        return _since_start(server)
    return next((each for each in found if each.hit > 0), min(found, key=lambda h: h.looked_up))


def _counted(
    server: ServerView, hit_series: str, all_series: tuple[str, ...], unit: str
) -> Hits | None:
    """What one pair counted; None where it is not whole, or of two kinds of server."""
    if not _of_one_family(server, hit_series, all_series):
        return None
    hit = server.increase(hit_series)
    parts = [server.increase(series) for series in all_series]
    values = [part.value for part in parts if part.value is not None]
    if hit.value is None or len(values) < len(parts):
        return None
    looked_up = sum(values)
    if _in_blocks(server, all_series, looked_up):
        unit = "blocks"
    return Hits(hit.value, looked_up, unit, max(part.resets for part in (hit, *parts)))


def _of_one_family(server: ServerView, hit_series: str, all_series: tuple[str, ...]) -> bool:
    """A gateway's prompts are not what the engines that were scraped have looked up."""
    told = [server.resolved.get(series) for series in (hit_series, *all_series)]
    return len({None if found is None else found.family for found in told}) == 1


def _in_blocks(server: ServerView, all_series: tuple[str, ...], looked_up: float) -> bool:
    found = server.resolved.get(all_series[0])
    if found is None or found.name != _ONCE_OF_BLOCKS:
        return False
    prompt = server.increase("prompt_tokens").value
    return prompt is not None and looked_up * _BLOCK_TOKENS_LEAST < prompt


def hits_by_replica(server: ServerView) -> dict[Replica, Hits]:
    """The same for each source, engine and data-parallel rank that counted both.

    Of the pairs that counted anything the one that tells most replicas apart.
    """
    best: dict[Replica, Hits] = {}
    for hit_series, all_series, unit in _PAIRS:
        if not _of_one_family(server, hit_series, all_series):
            continue
        hit = server.increase_by_replica(hit_series)
        parts = [server.increase_by_replica(series) for series in all_series]
        both = [replica for replica in hit if all(replica in part for part in parts)]
        found = {r: Hits(hit[r], sum(part[r] for part in parts), unit) for r in both}
        if len(found) > len(best) and any(each.looked_up > 0 for each in found.values()):
            best = found
    return best


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
    None where that makes no rate: fewer hits than none, or more than all.
    """
    rates, prompts = server.ends(_SINCE_START), server.ends("prompt_tokens")
    hit = looked_up = 0.0
    for replica in rates.keys() & prompts.keys():
        (rate, rate_after), (prompt, prompt_after) = rates[replica], prompts[replica]
        if prompt_after <= prompt:
            continue
        looked_up += prompt_after - prompt
        hit += rate_after * prompt_after - rate * prompt
    if not looked_up or not -_SLACK * looked_up <= hit <= (1 + _SLACK) * looked_up:
        return None
    return Hits(min(max(hit, 0.0), looked_up), looked_up, approximate=True)
