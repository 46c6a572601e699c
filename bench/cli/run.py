"""`bench run`: replay a workload against a server, measure, judge, write a report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.complete import profile_names, recipe_names
from bench.cli.scrapes import prometheus_source, scrape_options, scrape_targets
from bench.cli.sections import Sectioned
from bench.cli.target import make_target, target_options
from bench.cli.watching import live_options, watching
from bench.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.workload.recipe import Recipe

_WORKLOAD = (
    "rate", "arrivals", "concurrency", "max_concurrency", "requests", "duration", "warmup",
    "speed", "dequantize", "limit", "scale_input", "scale_output", "max_input", "max_output",
    "skip_bad", "format", "seed", "salt", "prompt_length", "tokenizer_file", "temperature",
)  # fmt: skip
_RENAMED = {
    "rate": "rate_rps",
    "duration": "duration_s",
    "warmup": "warmup_requests",
    "dequantize": "dequantize_s",
}


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


@click.command(
    "run",
    cls=Sectioned,
    sections=_SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-t", "--target", "url", required=True, metavar="URL", help="Server, with or without /v1."
)
@click.option(
    "-w",
    "--workload",
    metavar="NAME|FILE",
    shell_complete=recipe_names,
    help="A shipped recipe, a recipe file or a trace.",
)
@click.option(
    "--input-tokens", type=int, metavar="N", help="Instead of -w: equal requests, N tokens in."
)
@click.option("--output-tokens", type=int, metavar="N", help="Instead of -w: N tokens out.")
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
@click.option(
    "--arrivals", metavar="KIND", help="poisson, constant, gamma:CV, weibull:CV or recorded."
)
@click.option(
    "--max-concurrency", type=int, metavar="N", help="Open loop: drop and count what finds no room."
)
@click.option("--requests", type=int, metavar="N", help="Send N requests.")
@click.option("--duration", type=float, metavar="S", help="Send for S seconds.")
@click.option(
    "--warmup", type=int, metavar="N", help="First N requests are recorded but not judged."
)
@click.option("--speed", type=float, metavar="X", help="Replay recorded times X times as fast.")
@click.option(
    "--dequantize", type=float, metavar="S", help="Spread recorded times evenly within S seconds."
)
@click.option("--limit", type=int, metavar="N", help="Only the first N rows of the trace.")
@click.option(
    "--scale-input",
    type=float,
    metavar="X",
    help="Multiply input lengths; shared prefixes are kept.",
)
@click.option("--scale-output", type=float, metavar="X", help="Multiply output lengths.")
@click.option("--max-input", type=int, metavar="N", help="Cut longer inputs to N tokens.")
@click.option("--max-output", type=int, metavar="N", help="Cut longer outputs to N tokens.")
@click.option("--skip-bad", type=int, metavar="N", help="Allow N bad trace rows; they are counted.")
@click.option("--format", metavar="NAME", help="Trace format, when it is not to be detected.")
@click.option("--seed", type=int, metavar="N", help="Seed of everything drawn.")
@click.option(
    "--salt", metavar="TEXT", help="auto (default): new prompts in each run; none: the same."
)
@click.option(
    "--prompt-length",
    metavar="HOW",
    help="auto, token_ids, server_tokenize, local_tokenizer, estimate.",
)
@click.option("--tokenizer-file", metavar="FILE", help="tokenizer.json of the model.")
@click.option("--temperature", type=float, metavar="X", help="Sampling temperature to ask for.")
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Load processes; auto: one per two cores.",
)
@click.option("--pin-cpus", is_flag=True, help="Bind each worker to a core.")
@click.option(
    "--selftest", is_flag=True, help="First measure how exact this machine is at the run's load."
)
@click.option(
    "--transport",
    type=click.Choice(["auto", "wire", "portable"]),
    default="auto",
    show_default=True,
    help="wire: kernel receive times (Linux); portable: aiohttp, honours proxies.",
)
@click.option("--family", metavar="NAME", help="Take the server as this family.")
@click.option(
    "--metrics-url", metavar="URL", help="Where /metrics is, when not on the server's port."
)
@click.option(
    "--scrape-interval",
    type=float,
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds between two scrapes.",
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
    from bench.conduct.run import Order, conduct
    from bench.judge.profile import load_profile
    from bench.selftest.selftest import before_run
    from bench.workload.recipe import request_fields, request_headers

    recipe = _recipe(options)
    profile = load_profile(options["profile"]) if options["profile"] else None
    target = make_target(
        url,
        **{
            name: options[name]
            for name in ("model", "api_key_env", "api_key_file", "headers",
                         "ca", "cert", "key", "insecure")
        },
        endpoint=recipe.endpoint,
    )  # fmt: skip
    console = Console(quiet=as_json and not sys.stderr.isatty(), stop=recipe.stop)
    workers = worker_count(options["workers"])
    order = Order(
        recipe=recipe,
        target=with_recipe(target, recipe, request_headers(recipe, os.environ)),
        folder=Path(options["output"] or os.environ.get("BENCH_REPORTS", "reports")),
        command=tuple(sys.argv[1:]),
        sampling=request_fields(recipe, os.environ),
        profile=profile.model_dump(mode="json") if profile else None,
        workers=workers,
        transport=transport_of(options["transport"]),
        family=options["family"],
        metrics_url=options["metrics_url"],
        scrapes=scrape_targets(target, options["scrapes"]),
        prometheus=prometheus_source(
            target,
            options["prometheus"],
            options["prometheus_match"],
            options["prometheus_queries"],
            options["scrape_interval"],
        ),
        scrape_interval_s=options["scrape_interval"],
        pin_cpus=options["pin_cpus"],
        selftest=before_run(workers, console.note) if options["selftest"] else None,
    )
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


def _recipe(options: dict[str, Any]) -> Recipe:
    from bench.workload.resolve import Overrides, override, recipe_of_lengths, resolve_recipe

    lengths = (options["input_tokens"], options["output_tokens"])
    if options["workload"] is None and None in lengths:
        raise UsageError(
            "no workload: expected -w NAME|FILE, or --input-tokens and --output-tokens",
            "for example -w chat",
        )
    if options["workload"] is not None:
        if lengths != (None, None):
            raise UsageError("-w and --input-tokens/--output-tokens exclude each other")
        recipe = resolve_recipe(options["workload"])
    else:
        recipe = recipe_of_lengths(*lengths)
    given = {_RENAMED.get(name, name): options[name] for name in _WORKLOAD}
    context = click.get_current_context()
    chosen = context.get_parameter_source("endpoint") is not click.core.ParameterSource.DEFAULT
    endpoint = options["endpoint"] if chosen else None
    return override(recipe, Overrides(**given, endpoint=endpoint))


def with_recipe(target: Any, recipe: Recipe, headers: dict[str, str]) -> Any:
    """The target with the recipe's timeouts and headers; the target's own headers win."""
    from dataclasses import replace

    from bench.model import Timeouts

    return replace(
        target,
        headers={**headers, **target.headers},
        timeouts=Timeouts(**recipe.timeouts.model_dump()),
    )


def worker_count(wanted: str) -> int:
    """The number of load processes `--workers` asks for; raises UsageError."""
    if wanted == "auto":
        return max(1, (os.cpu_count() or 1) // 2)
    if not wanted.isdecimal() or int(wanted) < 1:
        raise UsageError(f"--workers {wanted}: expected a number from 1 on, or auto")
    return int(wanted)


def transport_of(wanted: str) -> str:
    """The transport that `--transport` asks for; raises UsageError where it needs Linux."""
    linux = sys.platform == "linux"
    if wanted == "wire" and not linux:
        raise UsageError("--transport wire needs Linux", "use --transport portable")
    return ("wire" if linux else "portable") if wanted == "auto" else wanted
