"""`bench export`: a run's requests for other tools."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from bench.errors import UsageError


@click.command(short_help="Write a run's requests as CSV, JSON lines or Parquet.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--csv", "form", flag_value="csv", default=True, help="Comma-separated (default).")
@click.option("--jsonl", "form", flag_value="jsonl", help="One JSON object a line.")
@click.option("--parquet", "form", flag_value="parquet", help="Apache Parquet, zstd.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write; replaced in one step. Default: standard output.",
)
def command(run: Path, form: str, output: Path | None) -> None:
    """Write the requests of the run folder RUN as one flat table.

    One row for each planned request, sorted by index. Instants and durations are seconds (names
    end in _s), instants counted from the run's start. What is unknown is an empty field (CSV) or
    null. Token arrivals are not in the table: they are in RUN/requests/*.parquet, described in
    docs/run-folder.md.

    \b
    Examples:
      bench export reports/20260101T120000Z-chat-1f3a --csv -o requests.csv
      bench export reports/20260101T120000Z-chat-1f3a --jsonl |
        jq 'select(.outcome != "ok")'
    """
    from bench.record.export import WRITERS, flat_table
    from bench.record.files import whole_file
    from bench.record.frame import open_run

    write = WRITERS[form]
    if output is None and form == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is not text for a terminal", "add -o FILE, or use --csv")
    table = flat_table(open_run(run))
    if output is None:
        try:
            write(table, sys.stdout.buffer)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as head, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    try:
        with whole_file(output) as temporary, temporary.open("wb") as file:
            write(table, file)
    except OSError as error:
        raise UsageError(
            f"can't write {output}: {error.strerror or error}", "choose another file with -o"
        ) from error
    click.echo(f"{table.num_rows:,} requests → {output}", err=True)
