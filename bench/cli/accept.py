"""`bench accept`: a deployment held against a checklist."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.plain import visible
from bench.cli.target import make_target, target_options, url_option
from bench.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.accept.acceptance import Described
    from bench.accept.settings import Settings
    from bench.judge.checklist_result import Acceptance
    from bench.record.plan_folder import PlanFolder

PAGE = "acceptance.html"

_TARGET = ("model", "api_key_env", "api_key_file", "headers", "ca", "cert", "key", "insecure",
           "endpoint")  # fmt: skip
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_evidence = click.option(
    "--evidence", type=_FOLDER, metavar="DIR", help="Statements and imported result files."
)
_lang = click.option(
    "--lang",
    type=click.Choice(["auto", "zh", "en"]),
    default="auto",
    show_default=True,
    help="Language of the report.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")


class _Accept(click.Group):
    """Takes a checklist's name in the place of a subcommand: `run` may be left out."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_Accept, short_help="Accept a deployment by a checklist.")
def command() -> None:
    """Hold a deployment against an implementation checklist, item by item.

    `bench accept CHECKLIST -t URL` plans what has to be measured (one run serves every item that
    can use it), makes it, reads the evidence given, and writes one acceptance report.  An item
    without evidence is undecided, never passed; statements are never counted as measured.

    \b
    Examples:
      bench accept list
      bench accept show small
      bench accept small -t http://127.0.0.1:8000 --evidence evidence/
      bench accept small -t http://127.0.0.1:8000 --scale 0.05
      bench accept judge reports/20261122T160000Z-accept-small-1a2b \\
                         --evidence evidence/
    """


@command.command("list")
@_json
def list_checklists(as_json: bool) -> None:
    """List the shipped checklists and test plans.

    \b
    Example:
      bench accept list
    """
    import json

    from bench.judge.checklist import load_checklist, shipped_checklists

    found = [load_checklist(name) for name in shipped_checklists()]
    if as_json:
        rows = [
            {"name": c.name, "title": c.title.model_dump(), "items": len(c.items)} for c in found
        ]
        click.echo(json.dumps({"checklists": rows}, ensure_ascii=False))
        return
    for checklist in found:
        title = f"{checklist.title.en} · {checklist.title.zh}"
        click.echo(f"{checklist.name:<18}{len(checklist.items):>3} items  {title}")


@command.command(short_help="Show the items of a checklist.")
@click.argument("checklist")
@_json
def show(checklist: str, as_json: bool) -> None:
    """Show every item of CHECKLIST (a name or file), and how each part is decided.

    M measured, S scraped, I imported, A attested.

    \b
    Example:
      bench accept show small
    """
    from bench.accept.plan import plan_of
    from bench.accept.settings import Settings
    from bench.judge.checklist import load_checklist

    found = load_checklist(checklist)
    plan = plan_of(found, Settings())
    if as_json:
        click.echo(found.model_dump_json(by_alias=True))
        return
    click.echo(f"{found.name}: {found.title.en} · {found.title.zh}  [{found.source}]")
    for item in found.items:
        click.echo(f"\n{item.id}  {item.title.en} · {item.title.zh}: {item.criterion.en}")
        for part in item.how:
            ways = ", ".join(f"{way.basis} {way.check}" for way in part.by)
            click.echo(f"    {part.name:<13} {part.criterion.en}  [{ways}]")
    click.echo("\nmade once each, in this order:")
    for key, ids in plan.activities.items():
        click.echo(f"    {key:<24} for {', '.join(ids)}")


@command.command(short_help="Make, judge and report an acceptance.")
@click.argument("checklist")
@url_option
@click.option(
    "-c", "--config", type=_FILE, metavar="FILE",
    help="acceptance.yaml: items chosen, hooks, pairs, exporters (docs/checklists.md).",
)  # fmt: skip
@_evidence
@click.option("-p", "--profile", metavar="NAME|FILE", help="SLO profile, in place of the plan's.")
@click.option(
    "--scale", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
    help="Share of the time; below 1 it is a rehearsal, and marked as one.",
)  # fmt: skip
@click.option("--choose", multiple=True, metavar="ITEM", help="Only this item; may be repeated.")
@click.option(
    "--skip", multiple=True, metavar="ITEM=REASON", help="Not applicable, and why; may be repeated."
)
@click.option(
    "--scrape", "scrapes", multiple=True, metavar="URL",
    help="Exporter or replica to scrape beside the server; may be repeated.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Folder of this acceptance. Default: a new one in $BENCH_REPORTS or reports/.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the acceptance in -o, or the newest one.")
@target_options
@click.option(
    "--workers", default="auto", show_default=True, metavar="N|auto",
    help="Load processes; auto: one per two cores.",
)  # fmt: skip
@click.option(
    "--transport", type=click.Choice(["auto", "wire", "portable"]), default="auto",
    show_default=True, help="See `bench run --help`.",
)  # fmt: skip
@click.option("--family", metavar="NAME", help="Take the server as this family.")
@click.option("--metrics-url", metavar="URL", help="Where /metrics is, when not on that port.")
@_lang
@_json
def run(checklist: str, url: str, as_json: bool, lang: str, **options: Any) -> None:
    """Make what CHECKLIST has to measure at URL, judge every item, write the report.

    Every run has its own run folder.  Ctrl-C ends the run at hand; --resume goes on after what is
    done.  What was not given (hooks, pairs, exporters, evidence) leaves its items undecided, with
    a note on what to give.

    \b
    Examples:
      bench accept small -t http://127.0.0.1:8000 -c acceptance.yaml \\
                         --evidence evidence/
      bench accept small -t http://127.0.0.1:8000 --scale 0.05 \\
                         --scrape http://10.0.0.5:9400
      bench accept deepseek-v3-h20 -t http://10.0.0.5:8000 --resume

    Exit codes: 0 every item that applies is met, 2 usage, 3 an item failed, 4 an item is
    undecided, 5 server not usable, 130 interrupted (go on with --resume).
    """
    from datetime import UTC, datetime

    from bench.accept.acceptance import conclude, describe
    from bench.accept.campaign import Means, conduct_plan
    from bench.accept.evidence import read_evidence
    from bench.cli.order import transport_of, worker_count

    settings = _settings(options)
    described = describe(checklist, settings, options["scale"])
    today = datetime.now(UTC).date()
    target = make_target(url, **{name: options[name] for name in _TARGET})
    read_evidence(options["evidence"], described.checklist, today, target.base_url)
    folder = _folder(options, described, target)
    means = Means(
        target=target,
        workers=worker_count(options["workers"]),
        transport=transport_of(options["transport"]),
        family=options["family"],
        metrics_url=options["metrics_url"],
        scrape_urls=settings.scrapes,
        command=tuple(sys.argv[1:]),
    )
    console = _console(as_json)
    try:
        whole = conduct_plan(described.plan, settings, folder, means, options["scale"], console)
    finally:
        console.close()
    if not whole:
        click.echo(f"stopped; go on with: --resume -o {folder.path}", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    acceptance = conclude(folder, described, options["evidence"], today)
    sys.exit(_finish(folder, acceptance, lang, as_json))


@command.command(short_help="Judge an acceptance again.")
@click.argument("folder", type=_FOLDER)
@_evidence
@_lang
@_json
def judge(folder: Path, evidence: Path | None, lang: str, as_json: bool) -> None:
    """Judge the acceptance in FOLDER again, with the evidence there is now; nothing is run.

    \b
    Example:
      bench accept judge reports/20261122T160000Z-accept-small-1a2b \\
                         --evidence evidence/
    """
    from datetime import UTC, datetime

    from bench.accept.acceptance import conclude, described_in
    from bench.record.plan_folder import PlanFolder

    stored = PlanFolder(folder, kind="acceptance")
    acceptance = conclude(stored, described_in(stored), evidence, datetime.now(UTC).date())
    sys.exit(_finish(stored, acceptance, lang, as_json))


def _settings(options: dict[str, Any]) -> Settings:
    """The settings file with the options over it."""
    from bench.accept.settings import load_settings

    settings = load_settings(options["config"])
    skip = dict(settings.skip)
    for pair in options["skip"]:
        item, equals, reason = pair.partition("=")
        if not equals or not reason.strip():
            raise UsageError(f"--skip {pair}: expected ITEM=REASON", '--skip S2.1="not quantised"')
        skip[item] = reason.strip()
    return settings.model_copy(
        update={
            "skip": skip,
            "choose": (*settings.choose, *options["choose"]),
            "scrapes": (*settings.scrapes, *options["scrapes"]),
            "profile": options["profile"] or settings.profile,
        }
    )


def _folder(options: dict[str, Any], described: Described, target: Any) -> PlanFolder:
    """The folder, begun or taken up again."""
    from bench.record.plan_folder import open_plan_folder

    return open_plan_folder(
        "acceptance",
        f"accept-{described.checklist.name}",
        described.as_json(target),
        base=Path(os.environ.get("BENCH_REPORTS", "reports")),
        path=options["output"],
        resume=options["resume"],
        secrets=target.secrets,
    )


def _console(as_json: bool) -> Any:
    from bench.cli.console import Console

    class Progress(Console):
        def activity(self, position: int, total: int, key: str, serves: Any) -> None:
            self.note(f"[{position}/{total}] {key} for {', '.join(serves) or 'others'}")

    return Progress(quiet=as_json and not sys.stderr.isatty())


def _finish(folder: PlanFolder, acceptance: Acceptance, lang: str, as_json: bool) -> ExitCode:
    """Writes the page, prints the answer, gives the exit code."""
    import json

    from bench.cli.verdict_view import EXIT_CODES
    from bench.report.acceptance_page import write_acceptance
    from bench.report.words import choose_language

    page = write_acceptance(acceptance, folder.path / PAGE, language=choose_language(lang))
    code = EXIT_CODES[acceptance.verdict.value]
    if as_json:
        answer = {
            "acceptance": str(folder.path),
            "checklist": acceptance.name,
            "verdict": acceptance.verdict.value,
            "rehearsal": acceptance.conditions["rehearsal"],
            "counts": acceptance.counts,
            "decided_by": acceptance.decided_by,
            "measured_or_scraped": acceptance.measured_items,
            "exit_code": int(code),
        }
        click.echo(json.dumps(answer, ensure_ascii=False))
        return code
    _print(acceptance)
    click.echo(f"report: {page}")
    click.echo(f"folder: {folder.path}")
    return code


def _print(acceptance: Acceptance) -> None:
    """One line for each item, the open parts under it, then the counts."""
    from bench.accept.documents import SIGNS, said
    from bench.judge.verdict import Result

    for item in acceptance.items:
        bases = ", ".join(basis.value for basis in item.bases)
        click.echo(f"{SIGNS[item.result]:<13}{item.item.id:<6}{item.item.title.en:<29}{bases}")
        for part in item.parts:
            if part.result in (Result.FAIL, Result.UNDECIDED):
                click.echo(visible(f"{'':<19}{part.part.criterion.en}: {said(part)}"))
    counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in acceptance.counts.items())
    if acceptance.conditions["rehearsal"]:
        click.echo(f"rehearsal at scale {acceptance.conditions['scale']:g}: not an acceptance")
    click.echo(
        f"{acceptance.verdict.value.upper()}: {counts}; "
        f"{acceptance.measured_items} items by measurement or scrape"
    )
