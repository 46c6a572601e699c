"""What a probe found: the records, and what follows from them.  No network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from bench.model import RequestStyle, Target, TokenMethod
from bench.servers.deep import Closer
from bench.servers.exposition import SampleReader
from bench.servers.families import family_named
from bench.servers.family import ResolvedSeries, allowed_names, rank_labels
from bench.servers.gaps import Gap, MetricsFacts
from bench.servers.identify import Metrics
from bench.servers.scrape import ScrapeTarget
from bench.servers.shape import StreamShape

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Who answers.

    `known_by` says by what the family was recognised; `layers` are other families whose metrics
    stand in the same text.  `parallel`: degrees of tensor (tp), pipeline (pp), data (dp) and expert
    (ep) parallelism where the server tells them; `ep` 1 is on, of unknown degree.
    """

    family: str
    title: str
    known_by: str
    layers: tuple[str, ...]
    version: str | None
    parallel: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What requests the server takes and what its answers tell; None is not known.

    `ignore_eos`: "honoured" (proven by a deep look), "accepted" (taken, and the answer was as long
    as asked), "ignored" (it ended early) or "refused".  `tokenize`: its tokenizer tells the exact
    length of a prompt on this endpoint.  `refused`, `left_out`: see `Trial`.
    """

    token_method: TokenMethod | None
    ignore_eos: str | None
    cached_tokens: bool | None
    token_ids_prompt: bool | None
    tokenize: bool
    refused: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a server is and can do.  Holds no secret.

    `stream` None: the server did not stream.  `style`: how to ask it in a run.  `closer`: the deep
    look, where one was asked for.  `notes`: what is odd and harmless.
    """

    url: str
    endpoint: str
    model: str
    models: tuple[str, ...]
    max_model_len: int | None
    server: ServerFacts
    stream: StreamShape | None
    abilities: Abilities
    metrics: MetricsFacts
    style: RequestStyle
    gaps: tuple[Gap, ...]
    closer: Closer | None
    notes: tuple[str, ...]
    schema: int = SCHEMA

    def as_json(self) -> dict[str, Any]:
        """Dicts, lists and scalars, for `--json` and for the run's manifest."""
        return asdict(self)


def scrape_target(
    result: ProbeResult,
    target: Target,
    source: str = "server",
    beside: Sequence[ScrapeTarget] = (),
) -> ScrapeTarget | None:
    """How to scrape the server that was probed; None without metrics.

    `beside` is what else is scraped: a router's copies of an engine's names are left out where an
    engine tells them itself.
    """
    url = result.metrics.url
    if url is None:
        return None
    families = [family_named(name) for name in (result.server.family, *result.server.layers)]
    drop_labels, own_names = families[0].drop_labels, allowed_names(families[:1])
    if any(own_names & other.names for other in beside):
        drop_labels += families[0].copy_labels
    same_host = urlsplit(url).hostname == urlsplit(result.url).hostname
    return ScrapeTarget(
        source=source,
        url=url,
        names=allowed_names(families),
        drop_labels=drop_labels,
        rank_labels=rank_labels(families),
        headers=target.headers if same_host else {},
        tls=target.tls,
    )


def metrics_facts(
    metrics: Metrics, series: Mapping[str, ResolvedSeries], missing: tuple[str, ...]
) -> MetricsFacts:
    """Reads the settings that stand in the metrics beside the counters."""
    wanted = ("running", "cache_config", "block_tokens")
    names = {series[name].name for name in wanted if name in series}
    readings, _ = SampleReader(names).read(metrics.text)
    config: dict[str, str] = {}
    ranks: set[str] = set()
    blocks: list[float] = []
    for name, labels, value in readings:
        if "cache_config" in series and name == series["cache_config"].name:
            config = labels
        elif "block_tokens" in series and name == series["block_tokens"].name:
            blocks.append(value)
        elif rank := labels.get("engine") or labels.get("dp_rank"):
            ranks.add(rank)
    size = config.get("block_size") or config.get("page_size") or ""
    caching = config.get("enable_prefix_caching")
    return MetricsFacts(
        url=metrics.url,
        reason=metrics.reason,
        series=series,
        missing=missing,
        engines=len(ranks) or None,
        block_tokens=int(size) if size.isdecimal() else next((int(b) for b in blocks), None),
        prefix_caching=None if caching is None else caching == "True",
    )
