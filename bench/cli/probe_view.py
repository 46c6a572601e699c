"""How `bench probe` shows what it found, in 80 columns."""

from __future__ import annotations

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.cli.plain import visible
from bench.cli.screen import Screen
from bench.servers.findings import ProbeResult

UNKNOWN = "—"


def show(result: ProbeResult, console: Screen | None = None) -> None:
    """Prints the findings, what is missing, and what is odd."""
    console = console or Screen(highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(result):
        table.add_row(name, Text(visible(value)))
    console.print(table)
    if result.gaps:
        console.print("\nMissing for a full measurement", style="bold")
        for gap in result.gaps:
            console.print(_hanging(f"{gap.missing}: {gap.effect}", 2))
            if gap.remedy:
                console.print(_hanging(f"→ {gap.remedy}", 4))
    if result.notes:
        console.print("\nNotes", style="bold")
        for note in result.notes:
            console.print(_hanging(note, 2))


def _hanging(text: str, indent: int) -> Padding:
    return Padding(Text(visible(text)), (0, 0, 0, indent))


def _rows(result: ProbeResult) -> list[tuple[str, str]]:
    server, can, metrics = result.server, result.abilities, result.metrics
    version = server.version or f"version {UNKNOWN}"
    layers = f" with {', '.join(server.layers)}" if server.layers else ""
    degrees = ", ".join(f"{name} {size}" for name, size in server.parallel.items())
    engines = None if metrics.engines is None else f"{metrics.engines} in the metrics"
    length = result.max_model_len
    return [
        ("server", f"{server.title}, {version}{layers} (known by {server.known_by})"),
        ("parallelism", "; ".join(part for part in (degrees, engines) if part) or UNKNOWN),
        ("model", result.model),
        ("context", UNKNOWN if length is None else f"{length} tokens"),
        *_stream_rows(result),
        ("ignore_eos", can.ignore_eos or UNKNOWN),
        ("cached tokens", _cached(result)),
        ("token-id prompts", _yes(can.token_ids_prompt)),
        ("tokenizer", _yes(can.tokenize)),
        ("metrics", metrics.url or f"none: {metrics.reason}"),
        ("series", f"{len(metrics.series)} known by name" if metrics.series else UNKNOWN),
        ("prefix cache", _prefix_cache(result)),
    ]


def _stream_rows(result: ProbeResult) -> list[tuple[str, str]]:
    shape = result.stream
    if shape is None:
        return [("stream", "no: the answer was not a stream")]
    frames = {"once": "role frame first", "every": "a role in each frame", None: "no role frame"}
    usage = {
        "own_event": "usage in its own event",
        "finish_event": "usage beside the finish reason",
        "text_event": "usage beside the text",
        None: "no usage",
    }
    parts = [frames[shape.role_frame], usage[shape.usage_place]]
    if shape.reasoning_field:
        parts.append(f"reasoning in {shape.reasoning_field}")
    parts.append("[DONE]" if shape.done else "no [DONE]")
    accounts = [
        name
        for name, there in (
            ("continuous usage", shape.continuous_usage),
            ("token ids", shape.token_ids),
        )
        if there
    ]
    return [
        (result.endpoint, ", ".join(parts)),
        ("tokens per event", ", ".join(accounts) or "not told: spread from the final usage"),
    ]


def _cached(result: ProbeResult) -> str:
    closer = result.closer
    if closer is not None and closer.repeat_cached_tokens is not None:
        of = closer.repeat_prompt_tokens
        salt = {True: ", cache_salt isolates", False: ", cache_salt does not isolate", None: ""}
        repeat = f"{closer.repeat_cached_tokens} of {of} tokens on a repeat"
        return f"reported; {repeat}{salt[closer.salt_isolates]}"
    told = {True: "reported", False: "not reported", None: f"{UNKNOWN} (absent once; try --deep)"}
    return told[result.abilities.cached_tokens]


def _prefix_cache(result: ProbeResult) -> str:
    metrics = result.metrics
    state = {True: "on", False: "off", None: UNKNOWN}[metrics.prefix_caching]
    blocks = metrics.block_tokens
    return state if blocks is None else f"{state}, blocks of {blocks} tokens"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: f"{UNKNOWN} (asked with --deep)"}[value]
