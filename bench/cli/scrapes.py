"""Options that say what is scraped beside the server under test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.model import Target
    from bench.servers.prometheus import PrometheusSource
    from bench.servers.scrape import ScrapeTarget

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--family", metavar="NAME", help="Take the server as this family."),
    click.option(
        "--metrics-url", metavar="URL", help="Where /metrics is, when not on the server's port."
    ),
    click.option(
        "--scrape-interval",
        type=float,
        default=1.0,
        show_default=True,
        metavar="S",
        help="Seconds between two scrapes.",
    ),
    click.option(
        "--scrape",
        "scrapes",
        multiple=True,
        metavar="[NAME=]URL",
        help="Scrape this too: a replica, a worker, an exporter. May be repeated.",
    ),
    click.option(
        "--prometheus",
        metavar="URL",
        help="Take the server's and exporters' metrics from this Prometheus server, after the run.",
    ),
    click.option(
        "--prometheus-match",
        metavar="LABELS",
        default="",
        help="Only series with these labels, such as 'job=\"vllm\"'.",
    ),
    click.option(
        "--prometheus-query",
        "prometheus_queries",
        multiple=True,
        metavar="NAME=EXPR",
        help="Instead of every known name: this expression, stored as NAME. May be repeated.",
    ),
)


def scrape_options(command: _Command) -> _Command:
    """Adds the options; the command takes them as keywords."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def scrape_targets(target: Target, texts: Sequence[str]) -> tuple[ScrapeTarget, ...]:
    """Looks once at each `[NAME=]URL` and says how to scrape it.

    Raises UsageError for two of one name, TargetError where nothing known is exposed.
    """
    import asyncio
    from dataclasses import replace

    from bench.servers.discover import discover

    async def look() -> list[ScrapeTarget]:
        found = []
        for text in texts:
            name, url = _named(text)
            scraped = await discover(target, url)
            found.append(replace(scraped, source=name) if name else scraped)
        return found

    found = asyncio.run(look()) if texts else []
    names = [scraped.source for scraped in found]
    twice = {name for name in names if names.count(name) > 1 or name == "server"}
    if twice:
        raise UsageError(
            f"--scrape: the name {min(twice)!r} is taken",
            "give another: --scrape NAME=URL",
        )
    return tuple(found)


def _named(text: str) -> tuple[str | None, str]:
    name, equals, url = text.partition("=")
    return (name.strip(), url) if equals and "/" not in name and ":" not in name else (None, text)


def prometheus_source(
    target: Target, url: str | None, match: str, queries: Sequence[str], step_s: float
) -> PrometheusSource | None:
    """The Prometheus server the options name; None without.  Raises UsageError."""
    from bench.servers.prometheus import PrometheusSource, parse_query

    if url is None:
        if match or queries:
            raise UsageError(
                "--prometheus-match and --prometheus-query need --prometheus URL",
                "give the address of the Prometheus server",
            )
        return None
    return PrometheusSource(
        url=url,
        match=match,
        queries=dict(parse_query(query) for query in queries),
        step_s=step_s,
        tls=target.tls,
    )
