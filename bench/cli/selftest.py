"""`bench selftest`: how exact this machine is as a client."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import click

from bench.cli.order import worker_count

DEFAULT_STREAMS = 200


@click.command("selftest")
@click.option("--streams", type=click.IntRange(1), metavar="N", help="Closed loop with N streams.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="R",
    help="Open loop, R requests per second, Poisson arrivals.",
)
@click.option(
    "--input-tokens",
    type=click.IntRange(4),
    default=128,
    show_default=True,
    metavar="N",
    help="Tokens of each prompt.",
)
@click.option(
    "--output-tokens",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="N",
    help="Tokens of each answer.",
)
@click.option(
    "--duration",
    type=click.FloatRange(1),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds of the first load; each step of the ramp takes 3.",
)
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Load processes; auto: one per two cores.",
)
@click.option("--no-ramp", is_flag=True, help="Only the load asked for.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def command(as_json: bool, no_ramp: bool, **options: Any) -> None:
    """Hold the load engine against a server that knows when it sent what.

    Starts the simulated server in a process of its own, runs the engine against it as `bench run`
    would (worker processes, kernel receive times, recording), and says by how much the measured
    times were off: the error bars of this machine at this load.  Then doubles the number of
    streams until the engine no longer knows when first tokens came, or the machine is full.

    Without --streams and --rate the load is 200 streams.  The simulator sends each stream 50
    tokens per second, to all at the same instants, which is harder to read than traffic that is
    spread.  It runs on this machine too: an engine that has the machine for itself reaches more.

    \b
    Examples:
      bench selftest
      bench selftest --rate 50 --output-tokens 200 --workers 2
      bench selftest --streams 1000 --no-ramp --json

    `bench run --selftest` does this before a run, at its load, and attaches it to the run.
    """
    import asyncio

    import orjson

    from bench.selftest.load import Load
    from bench.selftest.selftest import selftest

    if options["streams"] is not None and options["rate"] is not None:
        raise click.UsageError("--streams is a closed loop, --rate an open one: give one of them")
    streams = options["streams"]
    if streams is None and options["rate"] is None:
        streams = DEFAULT_STREAMS
    load = Load(
        streams=streams,
        rate_rps=options["rate"],
        input_tokens=options["input_tokens"],
        output_tokens=options["output_tokens"],
        duration_s=options["duration"],
        workers=worker_count(options["workers"]),
    )
    quiet = as_json and not sys.stderr.isatty()

    def announce(text: str) -> None:
        if not quiet:
            click.echo(f"· {text}", err=True)

    found = asyncio.run(selftest(load, with_ramp=not no_ramp, announce=announce))
    if as_json:
        click.echo(orjson.dumps(found))
    else:
        click.echo("\n".join(lines(json.loads(orjson.dumps(found)))))


def lines(found: dict[str, Any]) -> list[str]:
    """The result of a self-test for a terminal."""
    shown = [
        f"{'error, ms':<22}{'n':>9}{'P50':>9}{'P99':>9}{'max':>9}{'bias':>9}",
        _errors("first token (TTFT)", found["ttft_s"]),
        _errors("between tokens (ITL)", found["itl_s"]),
        _errors("schedule lag", found["lag_s"]),
        f"{found['tokens_per_s']:,.0f} tokens/s, CPU {_number(found['cpu_us_per_token'])} µs/token "
        f"({_percent(found['cpu_fraction'])} of a core in the busiest worker), uncertain first "
        f"tokens {_percent(found['uncertain_first_fraction'])}, lost {found['lost']} of "
        f"{found['requests'] + found['lost']}",
    ]
    if found["ramp"] is not None:
        shown += ["", *_ramp(found["ramp"])]
    shown.append("The simulator ran on this machine too and took its share of it.")
    return shown


def _errors(name: str, spread: dict[str, Any]) -> str:
    values = (spread[key] for key in ("p50", "p99", "max", "bias"))
    cells = (_number(None if value is None else value * 1e3) for value in values)
    return f"{name:<22}{spread['n']:>9,}" + "".join(f"{cell:>9}" for cell in cells)


_STOPPED = {
    "uncertain": "first tokens are uncertain from {uncertain} tokens/s on",
    "late": "the machine is full at {certain} tokens/s, simulator included",
    "most_streams": "no limit found up to the most streams tried",
}


def _ramp(ramp: dict[str, Any]) -> list[str]:
    shown = [f"{'streams':>9}{'tokens/s':>12}{'uncertain':>12}{'TTFT P99':>12}{'µs/token':>12}"]
    for step in ramp["steps"]:
        late_s = step["ttft_s"]["p99"]
        shown.append(
            f"{step['load']['streams']:>9,}{step['tokens_per_s']:>12,.0f}"
            f"{_percent(step['uncertain_first_fraction']):>12}"
            f"{_number(None if late_s is None else late_s * 1e3) + ' ms':>12}"
            f"{_number(step['cpu_us_per_token']):>12}"
        )
    certain, uncertain = ramp["certain_tokens_per_s"], ramp["uncertain_tokens_per_s"]
    shown.append(
        _STOPPED[ramp["stopped"]].format(certain=_whole(certain), uncertain=_whole(uncertain))
    )
    return shown


def _number(value: float | None) -> str:
    return "—" if value is None or math.isnan(value) else f"{value:.3g}"


def _whole(value: float | None) -> str:
    return "—" if value is None else f"{value:,.0f}"


def _percent(fraction: float | None) -> str:
    return "—" if fraction is None else f"{100 * fraction:.3g} %"
