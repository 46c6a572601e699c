"""`bench metrics`: the table of metrics, from the table."""

from __future__ import annotations

import click


@click.command(short_help="Show the table of metrics.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
@click.option("--markdown", is_flag=True, help="Print docs/metrics.md.")
def command(name: str | None, as_json: bool, markdown: bool) -> None:
    """Show what is measured: every metric, or the one called NAME with its formula and source.

    \b
    Examples:
      bench metrics
      bench metrics ttft_s
      bench metrics --json | jq '.metrics[] | select(.direction == "higher").name'
      bench metrics --markdown > docs/metrics.md
    """
    import json

    from bench.judge import metrics

    rows = [metrics.metric_named(name)] if name else list(metrics.METRICS.values())
    if as_json:
        table = [metrics.as_json(row) for row in rows]
        click.echo(json.dumps(table[0] if name else {"metrics": table}, ensure_ascii=False))
    elif markdown:
        click.echo(metrics.markdown(), nl=False)
    elif name:
        for field, text in metrics.as_json(rows[0]).items():
            click.echo(f"{field:<11} {text}")
    else:
        for row in rows:
            click.echo(f"{row.name:<28} {row.unit:<9} {row.title_en}")
