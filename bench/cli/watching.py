"""Who looks on while `bench run` and its like make a run: the console, and Prometheus if asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from bench.cli.console import Console
    from bench.conduct.run import Watch

    Concluded = Callable[[Path], None]

_Command = TypeVar("_Command", bound=Callable[..., Any])

LOCAL = "127.0.0.1"


pushgateway_option = click.option(
    "--pushgateway",
    metavar="URL",
    help="Once judged, push the outcome to this Prometheus Pushgateway.",
)


def live_options(command: _Command) -> _Command:
    """Adds --metrics-port and --pushgateway."""
    for option in (
        pushgateway_option,
        click.option(
            "--metrics-port",
            metavar="[HOST:]PORT",
            help="Show the run to Prometheus here while it is made (docs/live.md). "
            f"Default host: {LOCAL}; 0 takes a free port.",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def watching(
    console: Console, recipe: str, *, metrics_port: str | None, pushgateway: str | None
) -> Iterator[tuple[Watch, Concluded]]:
    """Gives the watch for a run, and what to call with its folder once it is judged.

    A push that fails is told and undoes nothing.  Raises UsageError for an address that can't be
    used.
    """
    if metrics_port is None and pushgateway is None:
        try:
            yield console, lambda folder: None
        finally:
            console.close()
        return
    from contextlib import ExitStack

    from bench.live.metrics import Endpoint, LiveMetrics, push
    from bench.live.watches import Watches

    metrics = LiveMetrics()
    gateway = gateway_of(pushgateway) if pushgateway is not None else None

    def concluded(folder: Path) -> None:
        metrics.conclude(_document(folder / "summary.json"), _document(folder / "verdict.json"))
        if gateway is not None:
            try:
                push(metrics, gateway, recipe=recipe)
            except BenchError as error:
                click.echo(f"bench: not pushed: {error.message}", err=True)

    with ExitStack() as stack:
        stack.callback(console.close)
        if metrics_port is not None:
            endpoint = stack.enter_context(Endpoint(metrics, *listen_address(metrics_port)))
            console.note(f"metrics of this run: {endpoint.url}")
        yield Watches(console, metrics), concluded


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of `[HOST:]PORT`; raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdecimal() or int(port) > 65535 or (colon and not host):
        raise UsageError(
            f"--metrics-port {text}: expected PORT or HOST:PORT", "for example 9464 or 0.0.0.0:9464"
        )
    return host or LOCAL, int(port)


def gateway_of(url: str) -> str:
    """The Pushgateway's address; raises UsageError."""
    from bench.address import parse_origin

    try:
        return parse_origin(url).url
    except BenchError as error:
        what = error.message.removeprefix("target URL")
        raise UsageError(f"--pushgateway{what}", error.hint) from None


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document
