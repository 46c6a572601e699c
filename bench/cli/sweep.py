"""`bench sweep`: one workload at rising load, and the highest load that holds."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.complete import profile_names
from bench.cli.order import client_options, order_of, plan_options, recipe_of, workload_options
from bench.cli.scrapes import scrape_options
from bench.cli.sections import Sectioned
from bench.cli.target import target_options, url_option
from bench.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.conduct.run import Order
    from bench.judge.sweep import Step
    from bench.record.plan_folder import PlanFolder
    from bench.sweep.baseline import Baseline
    from bench.sweep.order import SweepOrder

_SECTIONS = {
    "rates": "The loads",
    "model": "The server",
    "arrivals": "When to send, and how much",
    "speed": "The trace",
    "seed": "The prompts",
    "workers": "The client",
    "family": "What the server says of itself",
    "no_report": "The result",
}
"""The first option under each heading of --help."""


@click.command("sweep", cls=Sectioned, sections=_SECTIONS)
@url_option
@workload_options
@click.option(
    "-p",
    "--profile",
    metavar="NAME|FILE",
    shell_complete=profile_names,
    help="SLO profile; its good set and attainment say what a good request is.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of this sweep. Default: a new one in $BENCH_REPORTS or reports/.",
)
@click.option("--resume", is_flag=True, help="Go on with the sweep in -o, or the newest one.")
@click.option("--rates", metavar="R,R,…", help="Open loop at each of these requests per second.")
@click.option("--concurrencies", metavar="N,N,…", help="Closed loop with each of these slots.")
@click.option(
    "--search",
    "goal",
    type=click.Choice(["max-goodput", "max-rate"]),
    help="Seek the highest rate that holds the profile's attainment, or that the server keeps "
    "up with.",
)
@click.option(
    "--start-rate", type=float, default=1.0, show_default=True, metavar="R",
    help="Where a search begins.",
)  # fmt: skip
@click.option(
    "--tolerance", type=float, default=0.1, show_default=True, metavar="X",
    help="A search ends when the lost rate is at most this share above the one that held.",
)  # fmt: skip
@click.option(
    "--most-runs", type=click.IntRange(2), default=12, show_default=True, metavar="N",
    help="The most rates of a search.",
)  # fmt: skip
@click.option(
    "--require", "require_rps", type=float, metavar="R",
    help="Objective: at this rate the attainment (or, with max-rate, the throughput) holds.",
)  # fmt: skip
@click.option(
    "--cool-down", type=click.FloatRange(0), default=5.0, show_default=True, metavar="S",
    help="Seconds between two runs.",
)  # fmt: skip
@click.option(
    "--replicas", type=click.IntRange(1), metavar="N", help="How many replicas the target has."
)
@click.option(
    "--baseline",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="The sweep of one replica, for the scaling coefficient.",
)
@target_options
@plan_options
@client_options
@scrape_options
@click.option("--no-report", is_flag=True, help="Don't write the report.html of each run.")
@click.option(
    "--lang",
    type=click.Choice(["auto", "zh", "en"]),
    default="auto",
    show_default=True,
    help="Language of the reports.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def command(url: str, as_json: bool, lang: str, **options: Any) -> None:
    """Run one workload at rising load against URL, and say up to where it holds.

    Each load is a run with its own run folder, judged and reported like any other. A run that is
    not valid is made once more, and then counts for nothing. The folder gets sweep.json,
    summary.md and sweep.html. Ctrl-C ends the run at hand; --resume goes on, and makes no valid
    run again.

    \b
    Examples:
      bench sweep -t http://127.0.0.1:8000 -w chat -p realtime-chat \\
                  --rates 1,2,4,8 --duration 60
      bench sweep -t http://127.0.0.1:8000 -w chat --concurrencies 1,8,64
      bench sweep -t http://127.0.0.1:8000 -w chat -p realtime-chat \\
                  --search max-goodput --duration 120 --require 10
      bench sweep -t http://gateway:8000 -w chat -p realtime-chat \\
                  --search max-rate --replicas 4 --baseline reports/one-replica

    Exit codes: 0 what was sought is shown, or nothing was; 2 usage; 3 the lowest load misses the
    attainment, or --require is not met; 4 undecided, or a run not valid; 5 server not usable;
    130 interrupted (go on with --resume).
    """
    from bench.judge.profile import load_profile
    from bench.sweep.baseline import read_baseline

    profile = load_profile(options["profile"]) if options["profile"] else None
    sweep = _sweep(options, profile)
    if options["baseline"] and sweep.replicas is None:
        raise UsageError("--baseline needs --replicas", "say how many replicas the target has")
    baseline = read_baseline(options["baseline"]) if options["baseline"] else None
    order = order_of(url, sweep.recipe, profile, options)
    folder = _folder(sweep, order, options)
    quiet = as_json and not sys.stderr.isatty()
    made = _make(sweep, order, folder, quiet=quiet, lang=lang, report=not options["no_report"])
    if made is None:
        click.echo(f"stopped; go on with: --resume -o {folder.path}", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(_conclude(sweep, folder, *made, baseline=baseline, lang=lang, as_json=as_json))


def _sweep(options: dict[str, Any], profile: Any) -> SweepOrder:
    """What the options order.  Raises UsageError and ConfigError."""
    from bench.sweep.order import Search, SweepOrder

    search = None
    if options["goal"]:
        search = Search(
            options["goal"], options["start_rate"], options["tolerance"], options["most_runs"]
        )
    with_load = ("arrivals", "max_concurrency")
    sweep = SweepOrder(
        recipe=recipe_of({**options, **dict.fromkeys(with_load)}),
        profile=profile,
        rates_rps=tuple(float(load) for load in _numbers("--rates", options["rates"], float)),
        concurrencies=tuple(
            int(load) for load in _numbers("--concurrencies", options["concurrencies"], int)
        ),
        search=search,
        cool_down_s=options["cool_down"],
        replicas=options["replicas"],
        require_rps=options["require_rps"],
        **{name: options[name] for name in with_load},
    )
    sweep.check()
    return sweep


def _numbers(option: str, text: str | None, kind: type[int] | type[float]) -> list[int | float]:
    """`1,2,4` as numbers; raises UsageError."""
    try:
        return [kind(part) for part in text.split(",")] if text else []
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise UsageError(
            f"{option} {text}: expected {what} with commas between", f"{option} 1,2,4"
        ) from None


def _folder(sweep: SweepOrder, order: Order, options: dict[str, Any]) -> PlanFolder:
    from datetime import UTC, datetime

    from bench import __version__
    from bench.record.folder import safe_name
    from bench.record.plan_folder import open_plan_folder

    plan = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "bench_version": __version__,
        "target": {
            "url": order.target.base_url,
            "model": order.target.model,
            "endpoint": order.target.endpoint,
        },
        "workers": order.workers,
        "transport": order.transport,
        **sweep.as_json(),
    }
    return open_plan_folder(
        "sweep",
        f"sweep-{safe_name(sweep.recipe.name)}",
        plan,
        base=Path(os.environ.get("BENCH_REPORTS", "reports")),
        path=options["output"],
        resume=options["resume"],
        secrets=order.target.secrets,
    )


def _make(
    sweep: SweepOrder, order: Order, folder: PlanFolder, *, quiet: bool, lang: str, report: bool
) -> tuple[list[Step], bool] | None:
    """The steps, and whether the sweep came to its end; None where the user stopped it."""
    from bench.cli.console import Console
    from bench.cli.outcome import write_documents
    from bench.cli.sweep_view import load_words
    from bench.sweep.steps import Interrupted, Sweeper

    class Progress(Console):
        def step(self, number: int, load: float) -> None:
            self.note(f"run {number}: {load_words(load, open_loop=sweep.open_loop)}")

        def judged(self, run: Any, judgement: Any, step: Step) -> None:
            self.close()
            write_documents(run, judgement, lang=lang, report=report)
            why = f" ({', '.join(step.reasons)})" if step.reasons else ""
            self.note(f"{folder.link(run.path)}: {step.verdict}{why}")

    console = Progress(quiet=quiet, stop=sweep.recipe.stop)
    try:
        return Sweeper(sweep, replace(order, folder=folder.runs), folder, console).make()
    except Interrupted:
        return None
    finally:
        console.close()


def _conclude(
    sweep: SweepOrder,
    folder: PlanFolder,
    steps: list[Step],
    ended: bool,
    *,
    baseline: Baseline | None,
    lang: str,
    as_json: bool,
) -> ExitCode:
    """Writes what the sweep came to, prints it, gives the exit code."""
    import json

    from bench.cli.sweep_view import show
    from bench.cli.verdict_view import EXIT_CODES
    from bench.record.files import write_whole
    from bench.record.frame import open_run
    from bench.report.sweep_page import write_sweep_page
    from bench.report.sweep_rows import markdown
    from bench.report.words import Words, choose_language
    from bench.sweep.baseline import SWEEP, check_alike
    from bench.sweep.documents import as_json as to_json
    from bench.sweep.documents import conditions_of

    manifest = open_run(folder.path / steps[0].run).manifest
    if baseline is not None:
        check_alike(baseline, conditions_of(sweep, manifest))
    found = to_json(sweep, steps, ended, manifest, baseline)
    code = EXIT_CODES[found["verdict"]]
    language = choose_language(lang)
    folder.write(SWEEP, found)
    write_whole(folder.path / "summary.md", markdown(found, Words(language)).encode())
    page = write_sweep_page(found, folder.path / "sweep.html", language=language)
    if as_json:
        answer = {"sweep": str(folder.path), "exit_code": int(code), **found}
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        show(found, sys.stdout)
        click.echo(f"report: {page}\nsweep:  {folder.path}")
    return code
