"""Scrape targets beside the server under test: replicas, workers, exporters."""

from __future__ import annotations

from urllib.parse import urlsplit

from bench.errors import TargetError
from bench.model import Target
from bench.servers.client import ControlClient
from bench.servers.families import OPENAI, families_by_metrics
from bench.servers.family import allowed_names, rank_labels
from bench.servers.identify import find_metrics
from bench.servers.scrape import ScrapeTarget
from bench.servers.telemetry import exporters_by_metrics


async def discover(target: Target, url: str) -> ScrapeTarget:
    """Looks once at the metrics at `url` and says how to scrape them.

    `url` is a whole metrics URL, or an address without a path, which means `/metrics` of it.  The
    source is named after host and port.  TLS settings are those of `target`; its headers are sent
    to its own host only.  Raises TargetError when nothing known is exposed there.
    """
    parts = urlsplit(url)
    if not parts.path.strip("/"):
        url = f"{url.rstrip('/')}/metrics"
    async with ControlClient(target) as client:
        found = await find_metrics(client, OPENAI, url)
        same_host = parts.hostname == urlsplit(client.root).hostname
    if found.url is None:
        raise TargetError(f"no metrics to scrape: {found.reason}", "give the whole URL of them")
    families = (*families_by_metrics(found.names), *exporters_by_metrics(found.names))
    if not families:
        raise TargetError(
            f"GET {found.url}: none of its {len(found.names)} names is known",
            "docs/servers.md lists the servers and exporters that are",
        )
    return ScrapeTarget(
        source=parts.netloc,
        url=found.url,
        names=allowed_names(families),
        drop_labels=families[0].drop_labels,
        rank_labels=rank_labels(families),
        headers=target.headers if same_host else {},
        tls=target.tls,
    )
