"""`bench demo`: the whole way from a trace to a verdict and a report, with nothing to set up."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from bench.errors import ExitCode


@click.command("demo")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Where the run folder goes. Default: $BENCH_REPORTS or reports/.",
)
@click.option(
    "--lang",
    type=click.Choice(["auto", "zh", "en"]),
    default="auto",
    show_default=True,
    help="Language of the report; auto reads LC_ALL, LC_MESSAGES, LANG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def command(output: str | None, lang: str, as_json: bool) -> None:
    """Replay the sample trace against the simulated server, judge it, write a report.

    Starts a simulated inference server on a free port of this machine, replays the bundled
    synthetic chat trace against it four times as fast as recorded, judges the run by the profile
    `demo`, and writes the run folder with report.html. It takes about 20 seconds. The figures are
    those of the simulation and say nothing about a real server; the path to them is the one that
    `bench run` takes.

    \b
    Examples:
      bench demo
      bench demo --lang zh -o runs

    Exit codes: 0 pass, 3 an objective failed, 4 not valid or undecided (was the machine busy?),
    130 interrupted.
    """
    from bench.cli.console import Console
    from bench.cli.outcome import conclude
    from bench.conduct.run import Order, conduct
    from bench.judge.profile import load_profile
    from bench.model import Target
    from bench.sim.config import SimConfig
    from bench.sim.process import running_sim
    from bench.workload.resolve import resolve_recipe

    profile = load_profile("demo")
    console = Console(quiet=as_json and not sys.stderr.isatty())
    try:
        with running_sim(SimConfig(port=0, noise_fraction=0.1)) as server:
            order = Order(
                recipe=resolve_recipe("demo"),
                target=Target(base_url=server.url, model=server.config.model),
                folder=Path(output or os.environ.get("BENCH_REPORTS", "reports")),
                command=tuple(sys.argv[1:]),
                profile=profile.model_dump(mode="json"),
            )
            done = conduct(order, console)
    finally:
        console.close()
    code = conclude(done.path, profile, lang=lang, report=True, as_json=as_json)
    sys.exit(ExitCode.INTERRUPTED if done.interrupted else code)
