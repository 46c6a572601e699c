"""What follows a run: verdict, report, summary on stdout, exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import BenchError, ExitCode

if TYPE_CHECKING:
    from bench.judge.judgement import Judgement
    from bench.judge.profile import Profile
    from bench.record.frame import Run


def conclude(
    folder: Path, profile: Profile | None, *, lang: str, report: bool, as_json: bool
) -> ExitCode:
    """Judges the run folder, writes its report, prints, and returns the exit code.

    With `as_json` stdout is one JSON object (design, "Contracts") and nothing else.
    """
    from bench.cli.verdict_view import EXIT_CODES, show
    from bench.judge.judgement import judge
    from bench.record.frame import open_run

    run = open_run(folder)
    judgement = judge(run, profile)
    judgement.write(folder)
    verdict = judgement.verdict
    code = EXIT_CODES[verdict["verdict"]]
    if not as_json:
        show(verdict, judgement.summary, sys.stdout)
    page = write_documents(run, judgement, lang=lang, report=report)
    if page is not None and not as_json:
        click.echo(f"report: {page}")
    if as_json:
        answer = {
            "run": str(folder),
            "valid": verdict["valid"],
            "verdict": verdict["verdict"],
            "exit_code": int(code),
        }
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        click.echo(f"run:    {folder}")
    return code


def write_documents(run: Run, judgement: Judgement, *, lang: str, report: bool) -> Path | None:
    """Writes summary.md and, with `report`, report.html into the run folder; the report's path.

    A report that can't be written does not undo the run.
    """
    from bench.report.merge_request import write_summary
    from bench.report.page import write_report
    from bench.report.words import choose_language

    language = choose_language(lang)
    write_summary(run, judgement, run.path, language)
    if not report:
        return None
    try:
        return write_report(run, judgement, run.path / "report.html", language=language)
    except BenchError as error:
        click.echo(f"bench: report not written: {error.message}", err=True)
        return None
