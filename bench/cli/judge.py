"""`bench judge`: a stored run, under the same or another profile."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.complete import profile_names


@click.command(short_help="Judge a stored run, under the same or another profile.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--profile",
    metavar="NAME|FILE",
    shell_complete=profile_names,
    help="SLO profile. Default: the one of the run; without any there are values and no limits.",
)
@click.option(
    "--lang",
    type=click.Choice(["auto", "zh", "en"]),
    default="auto",
    show_default=True,
    help="Language of summary.md; auto reads LC_ALL, LC_MESSAGES, LANG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def command(run: Path, profile: str | None, lang: str, as_json: bool) -> None:
    """Judge the run folder RUN and write summary.json, verdict.json, junit.xml and summary.md.

    Nothing is measured again: an old run can be held against another profile. Percentiles are
    exact; each limit is decided with an interval that allows for correlated requests, so a limit
    is met, not met, or undecided (then it says how many more requests would decide it). A run
    whose client can't be trusted is not valid and gets no verdict.

    \b
    Examples:
      bench judge reports/20260101T120000Z-chat-1f3a -p realtime-chat
      bench judge reports/20260101T120000Z-chat-1f3a -p my-slo.yaml --json |
        jq .verdict

    Exit codes: 0 pass or nothing judged, 2 usage, 3 an objective failed, 4 not valid or undecided.
    """
    import json

    from bench.cli.verdict_view import EXIT_CODES, show
    from bench.judge.judgement import judge
    from bench.judge.profile import load_profile, profile_of
    from bench.record.frame import open_run
    from bench.report.merge_request import write_summary
    from bench.report.words import choose_language

    stored = open_run(run)
    found = load_profile(profile) if profile else profile_of(stored.manifest)
    judgement = judge(stored, found)
    judgement.write(run)
    write_summary(stored, judgement, run, choose_language(lang))
    code = EXIT_CODES[judgement.verdict["verdict"]]
    if as_json:
        answer = {"run": str(run), "exit_code": int(code), **judgement.verdict}
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        show(judgement.verdict, judgement.summary, sys.stdout)
        click.echo(f"wrote {run / 'verdict.json'}")
    sys.exit(code)
