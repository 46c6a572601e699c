"""`bench trace`: inspect, convert and synthesise workload traces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bench.workload.fit import Fit
    from bench.workload.readers import TraceReading

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group("trace")
def command() -> None:
    """Inspect, convert and synthesise workload traces.

    Formats are recognised by content: Mooncake, Azure, BurstGPT, Qwen-Bailian, ServeGen, Weka,
    MLPerf agentic, OpenAI chat bodies, ShareGPT and bench's own.  gzip and zstd files are read as
    they are.  docs/traces.md says where to get the originals and what to know of each.
    """


def _reading_options(wrapped: _Command) -> _Command:
    """Which rows of a trace, and how they are fitted: the same for every verb that reads one."""
    options = (
        click.option("--format", "format_name", metavar="NAME", help="Override the format found."),
        click.option(
            "--skip-bad",
            type=click.IntRange(min=0),
            default=0,
            metavar="N",
            help="Allow and count N bad rows.",
        ),
        click.option("--limit", type=int, metavar="N", help="Only the first N rows."),
        click.option("--speed", default=1.0, metavar="X", help="Divide all times by X."),
        click.option("--scale-input", default=1.0, metavar="X", help="Scale input lengths by X."),
        click.option("--scale-output", default=1.0, metavar="X", help="Scale output lengths by X."),
        click.option("--max-input", type=int, metavar="TOKENS", help="Largest input."),
        click.option("--max-output", type=int, metavar="TOKENS", help="Largest output."),
        click.option(
            "--over-max",
            type=click.Choice(["clamp", "drop"]),
            default="clamp",
            show_default=True,
            help="What becomes of requests over the largest.",
        ),
        click.option("--keep-failures", is_flag=True, help="BurstGPT: keep 0-token responses."),
        click.option(
            "--recorded-answers",
            is_flag=True,
            help="ShareGPT: turns carry the recorded answers, not the live ones.",
        ),
        click.option("--duration", type=float, metavar="S", help="ServeGen: seconds to generate."),
        click.option("--rate", type=float, metavar="RPS", help="ServeGen: mean requests a second."),
        click.option("--seed", default=0, metavar="N", help="ServeGen: seed of what is generated."),
    )
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def _fit(options: dict[str, Any]) -> Fit:
    from bench.workload.fit import Fit

    return Fit(
        scale_input=options["scale_input"],
        scale_output=options["scale_output"],
        max_input=options["max_input"],
        max_output=options["max_output"],
        mode=options["over_max"],
        limit=options["limit"],
        speed=options["speed"],
    )


def _open(file: Path, options: dict[str, Any]) -> TraceReading:
    from bench.workload.readers import ReadOptions, read

    chosen = ReadOptions(
        skip_bad=options["skip_bad"],
        keep_failures=options["keep_failures"],
        recorded_answers=options["recorded_answers"],
        duration_s=options["duration"],
        rate_rps=options["rate"],
        seed=options["seed"],
    )
    return read(file, options["format_name"], chosen)


@command.command("inspect", short_help="Say what a trace is.")
@click.argument("file", type=click.Path(path_type=Path))
@_reading_options
@click.option(
    "--server-block",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Cache ceiling as for a server that caches whole blocks of so many tokens.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def inspect_command(file: Path, server_block: int | None, as_json: bool, **options: Any) -> None:
    """Say what FILE is: rows, rate, burstiness, lengths, sessions, cache ceiling.

    The ceiling is the share of blocks and of input tokens that a prefix cache of infinite size
    would hold when a request arrives.  It depends on how much of a trace is replayed, so with
    --limit or another choice of rows both the chosen rows and the whole file are shown.

    \b
    Examples:
      bench trace inspect conversation_trace.jsonl
      bench trace inspect conversation_trace.jsonl --limit 500 --scale-input 0.1
      bench trace inspect BurstGPT_3.csv --skip-bad 10 --json
    """
    from bench.workload.fit import Fit, fit
    from bench.workload.inspect import inspect

    how = _fit(options)
    chosen = inspect(fit(_open(file, options), how), server_block_tokens=server_block)
    whole = None
    if how != Fit():
        whole = inspect(_open(file, options), server_block_tokens=server_block)
    if as_json:
        import orjson

        answer = chosen.as_json() | {"whole": whole and whole.as_json()}
        click.echo(orjson.dumps(answer).decode())
    else:
        from bench.cli.trace_view import show

        show(file.name, chosen, whole)


@command.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@_reading_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def convert_command(file: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Write FILE, fitted as chosen, to OUT in bench's own format.

    OUT is JSON lines with a header (docs/traces.md), compressed where its name ends in .gz.

    \b
    Examples:
      bench trace convert conversation_trace.jsonl out.jsonl.gz \\
                          --scale-input 0.1 --limit 500
      bench trace convert servegen/m-small m-small.jsonl.gz \\
                          --duration 600 --rate 20 --seed 7
    """
    from bench.errors import UsageError
    from bench.workload.fit import fit
    from bench.workload.readers.native import write_native

    if out.exists() and file.exists() and out.samefile(file):
        raise UsageError(f"{out} is the file being read", "write to another name")
    reading = fit(_open(file, options), _fit(options))
    made_by = {"command": "bench trace convert", "format": reading.format, "file": file.name}
    rows = write_native(out, reading, reading.blocks, made_by)
    _written(out, rows, reading.counts, reading.warnings, as_json)


def _parameter(
    name: str, default: float, text: str, metavar: str, *, flag: str | None = None
) -> Callable[[_Command], _Command]:
    """An option of `synthesize`: a field of Synthesis, with its default."""
    flag = flag or "--" + name.replace("_", "-")
    return click.option(flag, name, default=default, show_default=True, help=text, metavar=metavar)


@command.command("synthesize")
@click.argument("out", type=click.Path(path_type=Path))
@_parameter("requests", 300, "How many.", "N")
@_parameter("rate_rps", 5.0, "Requests a second, on average.", "RPS", flag="--rate")
@_parameter("cv", 1.0, "CV of the gaps between session starts; 1 is Poisson.", "X")
@_parameter("seed", 0, "Of all that is drawn.", "N")
@_parameter("block_tokens", 32, "Block size.", "TOKENS")
@_parameter("root_tokens", 32, "Shared by all requests.", "TOKENS")
@_parameter("groups", 4, "System prompts under the root.", "N")
@_parameter("group_tokens", 256, "Mean length of a system prompt; from 0 to twice it.", "TOKENS")
@_parameter("turns_mean", 2.0, "Mean turns of a session.", "X")
@_parameter("think_p50_s", 3.0, "Median think time between turns.", "S", flag="--think-p50")
@_parameter("new_tokens_p50", 120.0, "Median of a turn's new text.", "TOKENS")
@_parameter("new_tokens_sigma", 1.0, "Deviation of its logarithm.", "X")
@_parameter("output_tokens_p50", 60.0, "Median output.", "TOKENS")
@_parameter("output_tokens_sigma", 0.6, "Deviation of its logarithm.", "X")
@_parameter("min_output", 10, "Smallest output.", "TOKENS")
@_parameter("max_input", 3000, "Largest input; a session ends before it.", "TOKENS")
@_parameter("max_output", 200, "Largest output.", "TOKENS")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def synthesize_command(out: Path, as_json: bool, **parameters: Any) -> None:
    """Write a made-up trace with shared prefixes and sessions to OUT.

    All requests share a root, each session one of a few system prompts, each turn all turns before
    it.  Lengths and think times are log-normal (median and sigma), turns geometric, session starts
    a renewal process with Gamma gaps.  Equal options write equal bytes.

    \b
    Examples:
      bench trace synthesize burst.jsonl --requests 2000 --rate 20 --cv 3
      bench trace synthesize rag.jsonl.gz --groups 1 --group-tokens 2048 \\
                             --max-input 8000
    """
    from dataclasses import asdict

    from bench.workload.readers.native import write_native
    from bench.workload.synthesize import Synthesis, synthesize

    how = Synthesis(**parameters)
    made_by = {"command": "bench trace synthesize", **asdict(how)}
    _written(out, write_native(out, synthesize(how), how.blocks, made_by), {}, [], as_json)


def _written(
    out: Path, rows: int, counts: dict[str, int], warnings: list[str], as_json: bool
) -> None:
    from bench.workload.readers import COUNTS

    if as_json:
        import orjson

        answer = {"out": str(out), "rows": rows, "counts": dict(counts), "warnings": warnings}
        click.echo(orjson.dumps(answer).decode())
        return
    click.echo(f"{rows:,} rows written to {out}", err=True)
    for name, number in counts.items():
        click.echo(f"  {number:,} {COUNTS[name]}", err=True)
    for warning in warnings:
        click.echo(f"  ! {warning}", err=True)
