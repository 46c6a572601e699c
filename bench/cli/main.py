"""The `bench` command: a table of verbs, each imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from bench import __version__
from bench.cli.plain import visible
from bench.errors import BenchError, ExitCode

VERBS: dict[str, str] = {
    "demo": "Replay the sample trace against the simulated server, judge it, write a report.",
    "run": "Replay a workload against a server, measure, judge, write a report.",
    "sweep": "Run a workload at rising load, and say up to where it holds.",
    "judge": "Judge a stored run, under the same or another profile.",
    "report": "Write the HTML report of a stored run.",
    "compare": "Compare runs: better, worse, the same, or undecided.",
    "nightly": "Repeat a workload every night and say which night changed what.",
    "export": "Write a run's requests as CSV, JSON lines or Parquet.",
    "accept": "Accept a deployment by a checklist: measured, scraped, imported, attested.",
    "probe": "Find out what an endpoint is and can do.",
    "selftest": "Measure how exact this machine is as a client.",
    "trace": "Inspect, convert and synthesise workload traces.",
    "sim": "Serve the simulated inference server.",
    "metrics": "Show the table of metrics.",
    "profiles": "List, show and check SLO profiles.",
}


class _Verbs(click.Group):
    """Imports `bench.cli.<verb>` on use and takes its `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"bench.cli.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb; one whose reader has gone ends without a word, as `| head` wants it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere, stream.fileno())
            sys.exit(ExitCode.UNREAD)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench")
def cli() -> None:
    """Measure LLM inference servers, and judge them."""


def main() -> None:
    """Entry point: turns errors into one or two lines on stderr and an exit code."""
    try:
        cli.main(prog_name="bench", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except BenchError as error:
        click.echo(f"bench: {visible(error.message)}", err=True)
        if error.hint:
            click.echo(f"  → {visible(error.hint)}", err=True)
        sys.exit(error.exit_code)
