"""`bench profiles`: the SLO profiles there are, what is in one, whether a file is one."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.complete import profile_names


@click.group(short_help="List, show and check SLO profiles.")
def command() -> None:
    """SLO profiles: what a run is held against.

    A profile is a YAML file of limits (metric, statistic, bound, level, source). `bench run -p`,
    `bench judge -p` and `bench report -p` take one by name or by path; docs/profiles.md has its
    fields.

    \b
    Examples:
      bench profiles list
      bench profiles show realtime-chat
      bench profiles check my-slo.yaml
      bench profiles alerts cluster-small
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def list_profiles(as_json: bool) -> None:
    """List the shipped profiles.

    \b
    Example:
      bench profiles list
    """
    import json

    from bench.judge.profile import load_profile, shipped_profiles

    profiles = [load_profile(name) for name in shipped_profiles()]
    if as_json:
        rows = [{"name": p.name, "title": p.title.model_dump()} for p in profiles]
        click.echo(json.dumps({"profiles": rows}, ensure_ascii=False))
        return
    for profile in profiles:
        click.echo(f"{profile.name:<34} {profile.title.en} · {profile.title.zh}")


@command.command(short_help="Show the limits of a profile.")
@click.argument("name", shell_complete=profile_names)
@click.option("--json", "as_json", is_flag=True, help="Print the whole profile as JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the limits of the profile NAME (or file), with what it extends merged in.

    \b
    Example:
      bench profiles show cluster-medium
    """
    from bench.cli.verdict_view import quantity
    from bench.judge.metrics import METRICS
    from bench.judge.profile import load_profile

    profile = load_profile(name)
    if as_json:
        click.echo(profile.model_dump_json())
        return
    click.echo(f"{profile.name}: {profile.title.en} · {profile.title.zh}")
    if profile.description:
        click.echo(profile.description.en)
    for limit in profile.limits:
        metric = METRICS[limit.metric]
        sign = "≤" if metric.direction == "lower" else "≥"
        statistic = "" if limit.statistic == "value" else f" {limit.statistic}"
        level = "" if limit.level == "target" else f" ({limit.level})"
        bound = quantity(limit.bound, profile.unit_of(limit.metric))
        click.echo(f"  {limit.metric}{statistic} {sign} {bound}{level}  [{limit.source}]")
    if profile.good:
        met = " and ".join(
            f"{good.metric} {quantity(good.bound, METRICS[good.metric].unit)}"
            for good in profile.good.limits
        )
        click.echo(f"  a request is good that meets {met}")
    for reference in profile.references:
        value = quantity(reference.value, profile.unit_of(reference.metric))
        title = reference.title.en
        click.echo(f"  reference: {title}: {reference.metric} {value}  [{reference.source}]")


@command.command(short_help="Check a profile file.")
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check that FILE is a profile whose limits a run can decide; exit 2 where it is not.

    \b
    Example:
      bench profiles check my-slo.yaml
    """
    from bench.judge.profile import load_profile

    profile = load_profile(file)
    click.echo(f"{file}: profile {profile.name}, {len(profile.limits)} limits: ok")


@command.command(short_help="Write Prometheus alert rules.")
@click.argument("name", shell_complete=profile_names)
@click.option(
    "--family", default="vllm", show_default=True, help="Whose metric names the rules use."
)
@click.option(
    "--for", "lasting", default="5m", show_default=True, help="How long a condition has to hold."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File; default: stdout."
)
def alerts(name: str, family: str, lasting: str, output: Path | None) -> None:
    """Write Prometheus alert rules for the alert levels of the profile NAME (or file).

    The file is valid under `promtool check rules`.  An alert that the family's metrics can't
    express is left out, and said on stderr and in the file.

    \b
    Examples:
      bench profiles alerts cluster-small > alerts.yml
      bench profiles alerts cluster-small --family sglang --for 2m -o alerts.yml
    """
    import re

    from bench.errors import UsageError
    from bench.judge.alerts import alert_rules
    from bench.judge.profile import load_profile
    from bench.record.files import write_whole
    from bench.servers.families import family_named

    if not re.fullmatch(r"(\d+(ms|[smhdwy]))+", lasting):
        raise UsageError(f"--for {lasting}: expected a Prometheus duration", "for example 5m")
    profile = load_profile(name)
    rules = alert_rules(profile, family_named(family), lasting)
    for limit, why in rules.left_out.items():
        click.echo(f"left out: {limit}: {why}", err=True)
    if not rules.count:
        raise UsageError(
            f"profile {profile.name} has no alert level that {family} can express",
            "give a limit `level: alert`, or another --family",
        )
    if output is None:
        click.echo(rules.as_yaml(), nl=False)
    else:
        write_whole(output, rules.as_yaml().encode())
        click.echo(f"{output}: {rules.count} rules")
