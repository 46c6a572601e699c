"""`bench run`: replay a workload against a server, measure, judge, write a report."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import click

from bench.cli.complete import profile_names
from bench.cli.order import client_options, order_of, plan_options, recipe_of, workload_options
from bench.cli.scrapes import scrape_options
from bench.cli.sections import Sectioned
from bench.cli.target import target_options, url_option
from bench.cli.watching import live_options, watching
from bench.errors import ExitCode

_SECTIONS = {
    "model": "The server",
    "concurrency": "When to send, and how much",
    "speed": "The trace",
    "seed": "The prompts",
    "workers": "The client",
    "family": "What the server says of itself",
    "pushgateway": "The run while it is made",
    "no_report": "The result",
}
"""The first option under each heading of --help."""


@click.command("run", cls=Sectioned, sections=_SECTIONS)
@url_option
@workload_options
@click.option(
    "-p",
    "--profile",
    metavar="NAME|FILE",
    shell_complete=profile_names,
    help="SLO profile to judge by; `bench profiles list` names those that are shipped.",
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Where run folders go. Default: $BENCH_REPORTS or reports/.",
)
@target_options
@click.option("--concurrency", type=int, metavar="N", help="Closed loop with N slots.")
@click.option("--rate", type=float, metavar="R", help="Open loop, R requests per second.")
@plan_options
@client_options
@click.option("--pin-cpus", is_flag=True, help="Bind each worker to a core.")
@click.option(
    "--selftest", is_flag=True, help="First measure how exact this machine is at the run's load."
)
@scrape_options
@live_options
@click.option("--no-report", is_flag=True, help="Don't write report.html.")
@click.option(
    "--lang",
    type=click.Choice(["auto", "zh", "en"]),
    default="auto",
    show_default=True,
    help="Language of the report.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def command(url: str, as_json: bool, **options: Any) -> None:
    """Replay a workload against the server at URL.

    Looks at the server first, plans the whole run, then sends; what was measured is judged and
    reported, and can be judged and reported again with `bench judge` and `bench report`.

    \b
    Examples:
      bench run -t http://127.0.0.1:8000 -w chat
      bench run -t http://127.0.0.1:8000 -w conversation_trace.jsonl \\
                --speed 4 --limit 500 -p realtime-chat
      bench run -t http://127.0.0.1:8000 --input-tokens 512 --output-tokens 128 \\
                --rate 5 --duration 60
      bench run -t http://gateway:8000 -w chat --scrape a=http://10.0.0.1:8000 \\
                --scrape b=http://10.0.0.2:8000 --scrape http://10.0.0.1:9400

    Exit codes: 0 pass or nothing judged, 2 usage, 3 an objective failed, 4 not valid or undecided,
    5 server not usable, 130 interrupted (what was measured is kept).
    """
    from bench.cli.console import Console
    from bench.cli.outcome import conclude
    from bench.conduct.run import conduct
    from bench.judge.profile import load_profile
    from bench.selftest.selftest import before_run

    recipe = recipe_of(options)
    profile = load_profile(options["profile"]) if options["profile"] else None
    console = Console(quiet=as_json and not sys.stderr.isatty(), stop=recipe.stop_conditions)
    order = order_of(url, recipe, profile, options)
    selftest = before_run(order.workers, console.note) if options["selftest"] else None
    order = replace(order, pin_cpus=options["pin_cpus"], selftest=selftest)
    live = {name: options[name] for name in ("metrics_port", "pushgateway")}
    with watching(console, recipe.name, **live) as (watch, concluded):
        done = conduct(order, watch)
        console.close()
        code = conclude(
            done.path,
            profile,
            lang=options["lang"],
            report=not options["no_report"],
            as_json=as_json,
        )
        concluded(done.path)
    sys.exit(ExitCode.INTERRUPTED if done.interrupted else code)
