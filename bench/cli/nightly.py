"""`bench nightly`: the same workload every night, and which night changed what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.watching import gateway_of, pushgateway_option
from bench.errors import BenchError, ExitCode

if TYPE_CHECKING:
    from bench.conduct.run import Order
    from bench.judge.profile import Profile
    from bench.nightly.config import Nightly
    from bench.nightly.nights import Night


@click.group("nightly", invoke_without_command=True)
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("nightly.yaml"),
    show_default=True,
    metavar="FILE",
    help="What to measure, against what.",
)
@click.option(
    "--label", default="", metavar="TEXT", help="What is new tonight: a version, a commit."
)
@pushgateway_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
@click.pass_context
def command(
    context: click.Context, config_path: Path, label: str, pushgateway: str | None, as_json: bool
) -> None:
    """Measure a night: rounds of one workload, held against earlier nights.

    Makes the warm-up rounds and the rounds of FILE, compares them with the last accepted nights (or
    a pinned baseline), and keeps the night as a small JSON file. The noise floor of each metric is
    learnt from how accepted nights differed from the nights before them, so the first nights are
    judged with caution. Nights that are not worse are accepted and join the baseline. Change points
    are sought in the whole series.

    In the folder of FILE: nights/<id>.json, runs/, index.html with trends, latest/ with night.json,
    junit.xml and summary.md for CI.

    \b
    Examples:
      bench nightly -c nightly.yaml --label "$CI_COMMIT_SHORT_SHA"
      bench nightly -c nightly.yaml --pushgateway http://10.0.0.9:9091
      bench nightly -c nightly.yaml baseline pin release-1.2
      bench nightly -c nightly.yaml accept 20260101T020000Z

    Exit codes: 0 same, better, or the first night; 2 usage, 3 worse (or an objective failed, where
    the configuration says so), 4 undecided, 5 server not usable, 130 interrupted.
    """
    from bench.nightly.config import load_nightly

    context.obj = config_path
    if context.invoked_subcommand is None:
        gateway = gateway_of(pushgateway) if pushgateway else None
        sys.exit(_measure(load_nightly(config_path), label, gateway, as_json))


@command.group("baseline")
def baseline() -> None:
    """Pin and list baselines: files that can be committed."""


@baseline.command("pin")
@click.argument("name")
@click.option("--night", "nights", multiple=True, metavar="ID", help="Only these nights.")
@click.pass_obj
def pin_command(config_path: Path, name: str, nights: tuple[str, ...]) -> None:
    """Keep the present rolling baseline, or the nights given, as NAME.

    A configuration with `baseline: {pinned: NAME}` is held against it from then on.
    """
    from bench.nightly.baselines import pin
    from bench.nightly.config import load_nightly

    click.echo(f"wrote {pin(load_nightly(config_path), name, nights)}")


@baseline.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
@click.pass_obj
def list_command(config_path: Path, as_json: bool) -> None:
    """List the pinned baselines."""
    import orjson

    from bench.nightly.baselines import pinned_baselines
    from bench.nightly.config import load_nightly

    config = load_nightly(config_path)
    found = pinned_baselines(config)
    if as_json:
        rows = [
            {
                "name": each.name,
                "pinned_utc": each.pinned_utc,
                "nights": [night.id for night in each.nights],
                "used": each.name == config.baseline.pinned,
            }
            for each in found
        ]
        click.echo(orjson.dumps({"baselines": rows}).decode())
        return
    for each in found:
        used = "  (in use)" if each.name == config.baseline.pinned else ""
        click.echo(f"{each.name}  {len(each.nights)} nights, {each.pinned_utc}{used}")
    if not found:
        click.echo(f"no baseline in {config.baselines_path}", err=True)


@command.command("accept", short_help="Take a night as the new level.")
@click.argument("night")
@click.pass_obj
def accept_command(config_path: Path, night: str) -> None:
    """Take NIGHT as the new level: a change that is wanted, or that has to be lived with.

    Later nights are held against it and those after it, no longer against those before.
    """
    from bench.nightly.config import load_nightly
    from bench.nightly.nights import accept
    from bench.nightly.publish import publish_index

    config = load_nightly(config_path)
    accepted = accept(config.path, night)
    publish_index(config)
    click.echo(f"accepted {accepted.id} as the new level")


def _measure(config: Nightly, label: str, gateway: str | None, as_json: bool) -> ExitCode:
    import orjson

    from bench.cli.compare_view import EXIT_CODES, show
    from bench.cli.console import Console
    from bench.judge.profile import load_profile
    from bench.nightly.nights import read_nights, write_night
    from bench.nightly.publish import publish
    from bench.nightly.rounds import conduct_rounds, failed_objectives, night_of_runs

    profile = load_profile(config.named_file(config.profile)) if config.profile else None
    earlier = read_nights(config.path)
    _check_pinned(config)
    console = Console(quiet=as_json and not sys.stderr.isatty())
    try:
        measured = conduct_rounds(_order(config, profile), config, profile, console)
    finally:
        console.close()
    if measured.interrupted:
        click.echo("interrupted: no night was kept; the runs made so far are", err=True)
        return ExitCode.INTERRUPTED
    night = night_of_runs(measured.runs, earlier, config, profile, label)
    write_night(config.path, night)
    index = publish(config, night)
    if gateway is not None:
        _push(config, night, gateway)
    code = EXIT_CODES[night.verdict]
    if config.objectives and failed_objectives(night):
        code = ExitCode.OBJECTIVE_FAILED
    if as_json:
        answer = {
            "night": night.id,
            "exit_code": int(code),
            "accepted": night.accepted,
            "index": str(index),
            **night.change,
        }
        click.echo(orjson.dumps(answer).decode())
    else:
        show(night.change, sys.stdout)
        _tell_objectives(config, night)
        click.echo(f"night:  {night.id}\nreport: {index}")
    return code


def _push(config: Nightly, night: Night, gateway: str) -> None:
    """A push that fails is told and undoes nothing."""
    from bench.live.metrics import push
    from bench.live.night import NightMetrics

    valid = sum(each.valid for each in night.rounds)
    told = NightMetrics(
        night.change,
        night.values,
        accepted=night.accepted,
        rounds=len(night.rounds),
        valid_rounds=valid,
    )
    try:
        push(told, gateway, night=config.name)
    except BenchError as error:
        click.echo(f"bench: not pushed: {error.message}", err=True)


def _check_pinned(config: Nightly) -> None:
    """A baseline that is not there is found before the night is measured."""
    from bench.nightly.baselines import read_pinned

    if config.baseline.pinned is not None:
        read_pinned(config, config.baseline.pinned)


def _tell_objectives(config: Nightly, night: Night) -> None:
    from bench.nightly.rounds import failed_objectives

    failed = failed_objectives(night)
    if failed:
        gate = "" if config.objectives else " (not a gate here)"
        click.echo(f"! {len(failed)} of {len(night.rounds)} rounds failed their profile{gate}")


def _order(config: Nightly, profile: Profile | None) -> Order:
    """The run that every round repeats."""
    import os

    from bench.cli.order import transport_of
    from bench.cli.target import make_target
    from bench.conduct.run import Order
    from bench.workload.recipe import request_fields, with_recipe
    from bench.workload.resolve import resolve_recipe
    from bench.yamlfile import expand_env

    recipe, target = resolve_recipe(config.named_file(config.workload)), config.target
    headers: dict[str, Any] = expand_env(dict(target.headers), os.environ, "target.headers")
    made = make_target(
        target.url,
        model=target.model,
        endpoint=recipe.endpoint,
        api_key_env=target.api_key_env,
        api_key_file=None,
        headers=tuple(f"{name}:{value}" for name, value in headers.items()),
        ca=target.ca,
        cert=None,
        key=None,
        insecure=target.insecure,
    )
    return Order(
        recipe=recipe,
        target=with_recipe(made, recipe, os.environ),
        folder=config.path / "runs",
        command=tuple(sys.argv[1:]),
        sampling=request_fields(recipe, os.environ),
        profile=profile.model_dump(mode="json") if profile else None,
        workers=config.workers,
        transport=transport_of(config.transport),
    )
