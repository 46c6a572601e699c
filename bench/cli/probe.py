"""`bench probe`: find out what an endpoint is and can do."""

from __future__ import annotations

from typing import Any

import click

from bench.cli.target import make_target, target_options


@click.command("probe")
@click.argument("url")
@target_options
@click.option(
    "--metrics-url",
    metavar="URL",
    help="Where /metrics is, when it is not on the server's port (MindIE: management IP, 1027).",
)
@click.option("--family", metavar="NAME", help="Take the server as this family, e.g. mindie.")
@click.option("--deep", is_flag=True, help="Ask for up to 6 more short generations; see below.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/servers.md).")
def command(
    url: str,
    metrics_url: str | None,
    family: str | None,
    deep: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find out what the server at URL is and can do.

    URL is its address with or without /v1, e.g. http://host:8000.

    Reads /v1/models, the version and /metrics, asks the tokenizer for the length of one sentence,
    then sends ONE short streamed request and looks at
    the stream: who counts the tokens, where usage stands, which request fields are refused. Says
    what a full measurement would still need, and the server's setting that enables it. Health
    endpoints are not asked: on some servers they run a generation.

    --deep also sends the same long prompt twice (is the prefix cache on and reported?), once more
    under another cache salt, a prompt of token ids, and a question with and without ignore_eos.

    \b
    Examples:
      bench probe http://127.0.0.1:8000
      bench probe https://host:1025 --ca ca.pem --cert me.pem --key me.key \\
                  --metrics-url https://host:1027/metrics
      bench probe http://host:8000 -m qwen --deep --json | jq .gaps

    Exit codes: 0 the server can be measured, 2 wrong usage, 5 it can't be reached or used.
    """
    import asyncio

    from bench.servers.probe import probe

    result = asyncio.run(
        probe(
            make_target(url, **options),
            family=family,
            metrics_url=metrics_url,
            deep=deep,
            announce=lambda line: click.echo(f"bench: {line}", err=True),
        )
    )
    if as_json:
        import orjson

        click.echo(orjson.dumps(result.as_json()).decode())
        return
    from bench.cli.probe_view import show

    show(result)
