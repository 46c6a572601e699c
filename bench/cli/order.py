"""Options from which runs are ordered: what is sent, when, and by which client."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.cli.complete import recipe_names
from bench.cli.scrapes import prometheus_source, scrape_targets
from bench.cli.target import make_target
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.conduct.run import Order
    from bench.judge.profile import Profile
    from bench.workload.recipe import Recipe

_Command = TypeVar("_Command", bound=Callable[..., Any])

_WORKLOAD = (
    "rate", "arrivals", "concurrency", "max_concurrency", "requests", "duration", "warmup",
    "speed", "dequantize", "limit", "scale_input", "scale_output", "max_input", "max_output",
    "skip_bad", "format", "seed", "salt", "prompt_length", "tokenizer_file", "temperature",
    "keep_going",
)  # fmt: skip
_RENAMED = {
    "rate": "rate_rps",
    "duration": "duration_s",
    "warmup": "warmup_requests",
    "dequantize": "dequantize_s",
}

_WORKLOAD_OPTIONS = (
    click.option(
        "-w",
        "--workload",
        metavar="NAME|FILE",
        shell_complete=recipe_names,
        help="A shipped recipe, a recipe file or a trace.",
    ),
    click.option(
        "--input-tokens", type=int, metavar="N", help="Instead of -w: equal requests, N tokens in."
    ),
    click.option("--output-tokens", type=int, metavar="N", help="Instead of -w: N tokens out."),
)
_PLAN_OPTIONS = (
    click.option(
        "--arrivals", metavar="KIND", help="poisson, constant, gamma:CV, weibull:CV or recorded."
    ),
    click.option(
        "--max-concurrency",
        type=int,
        metavar="N",
        help="Open loop: drop and count what finds no room.",
    ),
    click.option("--requests", type=int, metavar="N", help="Send N requests."),
    click.option("--duration", type=float, metavar="S", help="Send for S seconds."),
    click.option(
        "--warmup", type=int, metavar="N", help="First N requests are recorded but not judged."
    ),
    click.option(
        "--keep-going", is_flag=True, help="Closed loop: don't stop at 20 errors in a row per slot."
    ),
    click.option("--speed", type=float, metavar="X", help="Replay recorded times X times as fast."),
    click.option(
        "--dequantize",
        type=float,
        metavar="S",
        help="Spread recorded times evenly within S seconds.",
    ),
    click.option("--limit", type=int, metavar="N", help="Only the first N rows of the trace."),
    click.option(
        "--scale-input",
        type=float,
        metavar="X",
        help="Multiply input lengths; shared prefixes are kept.",
    ),
    click.option("--scale-output", type=float, metavar="X", help="Multiply output lengths."),
    click.option("--max-input", type=int, metavar="N", help="Cut longer inputs to N tokens."),
    click.option("--max-output", type=int, metavar="N", help="Cut longer outputs to N tokens."),
    click.option(
        "--skip-bad", type=int, metavar="N", help="Allow N bad trace rows; they are counted."
    ),
    click.option("--format", metavar="NAME", help="Trace format, when it is not to be detected."),
    click.option("--seed", type=int, metavar="N", help="Seed of everything drawn."),
    click.option(
        "--salt", metavar="TEXT", help="auto (default): new prompts in each run; none: the same."
    ),
    click.option(
        "--prompt-length",
        metavar="HOW",
        help="auto, token_ids, server_tokenize, local_tokenizer, estimate.",
    ),
    click.option("--tokenizer-file", metavar="FILE", help="tokenizer.json of the model."),
    click.option("--temperature", type=float, metavar="X", help="Sampling temperature to ask for."),
)
_CLIENT_OPTIONS = (
    click.option(
        "--workers",
        default="auto",
        show_default=True,
        metavar="N|auto",
        help="Load processes; auto: one per two cores.",
    ),
    click.option(
        "--transport",
        type=click.Choice(["auto", "wire", "portable"]),
        default="auto",
        show_default=True,
        help="wire: kernel receive times (Linux); portable: aiohttp, honours proxies.",
    ),
)


def workload_options(command: _Command) -> _Command:
    """Adds what is sent: a recipe or trace, or equal lengths."""
    return _with(command, _WORKLOAD_OPTIONS)


def plan_options(command: _Command) -> _Command:
    """Adds what replaces parts of the recipe, but for its rate and its concurrency."""
    return _with(command, _PLAN_OPTIONS)


def client_options(command: _Command) -> _Command:
    """Adds --workers and --transport."""
    return _with(command, _CLIENT_OPTIONS)


def _with(command: _Command, options: tuple[Callable[..., Any], ...]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command


def recipe_of(options: dict[str, Any]) -> Recipe:
    """The recipe that the options name, with what they replace of it; raises UsageError.

    An option that a verb does not have, such as --rate, replaces nothing.
    """
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
    given = {_RENAMED.get(name, name): options.get(name) for name in _WORKLOAD}
    context = click.get_current_context()
    chosen = context.get_parameter_source("endpoint") is not click.core.ParameterSource.DEFAULT
    endpoint = options["endpoint"] if chosen else None
    return override(recipe, Overrides(**given, endpoint=endpoint))


def order_of(url: str, recipe: Recipe, profile: Profile | None, options: dict[str, Any]) -> Order:
    """The order of a run at URL by the options of `target_options`, `client_options` and
    `scrape_options`; asks each --scrape once what it is.  Raises UsageError, TargetError."""
    from bench.conduct.run import Order
    from bench.workload.recipe import request_fields, with_recipe

    target = make_target(
        url,
        **{
            name: options[name]
            for name in ("model", "api_key_env", "api_key_file", "headers",
                         "ca", "cert", "key", "insecure")
        },
        endpoint=recipe.endpoint,
    )  # fmt: skip
    return Order(
        recipe=recipe,
        target=with_recipe(target, recipe, os.environ),
        folder=Path(options["output"] or os.environ.get("BENCH_REPORTS", "reports")),
        command=tuple(sys.argv[1:]),
        sampling=request_fields(recipe, os.environ),
        profile=profile.model_dump(mode="json") if profile else None,
        workers=worker_count(options["workers"]),
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
