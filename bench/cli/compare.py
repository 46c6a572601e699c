"""`bench compare`: what changed between two sets of runs, and whether it is chance."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.judge.compare import JudgedRun
    from bench.judge.profile import Profile

_FOLDER = click.Path(path_type=Path)


@click.command("compare")
@click.argument("runs", nargs=-1, type=_FOLDER, metavar="[BASE NEW]")
@click.option("--base", multiple=True, type=_FOLDER, metavar="RUN", help="A run of the base side.")
@click.option("--new", multiple=True, type=_FOLDER, metavar="RUN", help="A run of the new side.")
@click.option(
    "-p",
    "--profile",
    metavar="NAME|FILE",
    help="Judge both sides by this profile. Default: the one the runs were made with.",
)
@click.option("--force", is_flag=True, help="Compare runs that were not made alike.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write compare.json, junit.xml, summary.md and compare.html here.",
)
@click.option(
    "--lang",
    type=click.Choice(["auto", "zh", "en"]),
    default="auto",
    show_default=True,
    help="Language of the page.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def command(
    runs: tuple[Path, ...],
    base: tuple[Path, ...],
    new: tuple[Path, ...],
    profile: str | None,
    force: bool,
    output: Path | None,
    lang: str,
    as_json: bool,
) -> None:
    """Compare run folders: BASE NEW, or several on each side with --base and --new.

    Each metric gets its difference with an interval from resampled stretches of time and from how
    the runs of a side differ. It is worse or better when that is not chance (5 % over all metrics,
    by Holm) and at least the minimum effect; the same when it is less, and surely less than twice
    that; else undecided. The minimum effects are 3 % for medians and throughput and 5 % for P99, or
    the profile's `compare`.

    Runs that differ in recipe, profile, model, endpoint, transport or workers are refused. Two runs
    of one plan (same recipe and seed) are compared at the same stretches of it and request by
    request.

    \b
    Examples:
      bench compare reports/20260101T120000Z-chat-1f3a \\
                    reports/20260102T120000Z-chat-77b0
      bench compare --base reports/a1 --base reports/a2 --base reports/a3 \\
                    --new reports/b1 --new reports/b2 --new reports/b3 -o diff

    Exit codes: 0 same or better, 2 usage or unlike runs, 3 worse, 4 undecided or a run not valid.
    """
    import orjson

    from bench.cli.compare_view import EXIT_CODES, show
    from bench.judge.compare import compare, differing
    from bench.judge.compare_documents import as_json as to_json

    bases, news = _sides(runs, base, new)
    rules = _profile(profile, bases[0])
    sides = [_read(side, rules) for side in (bases, news)]
    unlike = differing(sides[0], sides[1], same_profile=profile is not None)
    if unlike and not force:
        what = "; ".join(f"{each.title.en} ({' / '.join(each.values)})" for each in unlike)
        raise UsageError(
            f"these runs were not made alike: {what}",
            "compare runs of one recipe, profile and target, or say --force",
        )
    found = to_json(compare(sides[0], sides[1], rules, unlike))
    code = EXIT_CODES[found["verdict"]]
    if output is not None:
        _write(output, found, lang)
    if as_json:
        click.echo(orjson.dumps({"exit_code": int(code), **found}).decode())
    else:
        show(found, sys.stdout)
        if output is not None:
            click.echo(f"report: {output / 'compare.html'}")
    sys.exit(code)


def _sides(
    runs: Sequence[Path], base: Sequence[Path], new: Sequence[Path]
) -> tuple[list[Path], list[Path]]:
    """The folders of either side."""
    if runs and (base or new):
        raise UsageError("give either BASE NEW, or --base and --new, not both")
    if runs:
        if len(runs) != 2:
            raise UsageError(
                f"expected BASE and NEW, got {len(runs)} folders",
                "for several runs on a side repeat --base RUN and --new RUN",
            )
        base, new = runs[:1], runs[1:]
    if not base or not new:
        raise UsageError("nothing to compare: expected BASE NEW, or --base RUN and --new RUN")
    doubled = {path.resolve() for path in base} & {path.resolve() for path in new}
    if doubled or len(set(base)) < len(base) or len(set(new)) < len(new):
        raise UsageError("a run is named twice: it can't be compared with itself")
    return list(base), list(new)


def _profile(name: str | None, first: Path) -> Profile | None:
    from bench.judge.profile import load_profile, profile_of
    from bench.record.frame import open_run

    return load_profile(name) if name else profile_of(open_run(first).manifest)


def _read(paths: Sequence[Path], profile: Profile | None) -> list[JudgedRun]:
    from bench.judge.compare import JudgedRun
    from bench.judge.judgement import judge
    from bench.record.frame import open_run

    runs = [open_run(path) for path in paths]
    return [JudgedRun(run.path.name, run.manifest, judge(run, profile)) for run in runs]


def _write(folder: Path, found: dict[str, object], lang: str) -> None:
    import orjson

    from bench.judge.compare_documents import junit, markdown
    from bench.record.files import write_whole
    from bench.report.compare_page import write_compare_page
    from bench.report.words import choose_language

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"can't write into {folder}: {error.strerror}", "choose another -o"
        ) from None
    write_whole(folder / "compare.json", orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    write_whole(folder / "junit.xml", junit("compare", found))
    write_whole(folder / "summary.md", markdown(found, "Performance").encode())
    write_compare_page(found, folder / "compare.html", language=choose_language(lang))
