"""`bench report`: the HTML report of a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.cli.complete import profile_names


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--profile",
    metavar="NAME|FILE",
    shell_complete=profile_names,
    help="SLO profile to judge by. Default: the one the run was made with.",
)
@click.option(
    "--lang",
    type=click.Choice(["auto", "zh", "en"]),
    default="auto",
    show_default=True,
    help="Language of the page; auto reads LC_ALL, LC_MESSAGES, LANG.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write. Default: report.html in the run folder.",
)
@click.option(
    "--plotlyjs",
    type=click.Choice(["inline", "cdn", "directory"]),
    default="inline",
    show_default=True,
    help="inline: one file that works offline; cdn: loaded from cdn.plot.ly; "
    "directory: plotly.min.js beside the page.",
)
@click.option(
    "--open",
    "show",
    type=click.Choice(["never", "browser"]),
    default="never",
    show_default=True,
    help="Open the page when it is written.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def command(
    run: Path,
    profile: str | None,
    lang: str,
    output: Path | None,
    plotlyjs: str,
    show: str,
    as_json: bool,
) -> None:
    """Write the HTML report of the run folder RUN.

    The run is judged anew from what was measured, so an old run can be reported under another
    profile or in another language. The page needs no network and loads nothing. The exit code is 0
    when the page is written, whatever its verdict: `bench judge` is the gate.

    \b
    Examples:
      bench report reports/20260101T120000Z-chat-1f3a
      bench report reports/20260101T120000Z-chat-1f3a -p realtime-chat \\
                   --lang zh -o chat.html

    With --json: {"report": FILE, "language": "zh|en", "bytes": N, "valid": BOOL,
    "verdict": "pass|fail|undecided|invalid|none"}.
    """
    from bench.judge.judgement import judge
    from bench.judge.profile import load_profile, profile_of
    from bench.record.frame import open_run
    from bench.report.page import write_report
    from bench.report.words import choose_language

    stored = open_run(run)
    judged_by = load_profile(profile) if profile else profile_of(stored.manifest)
    judgement = judge(stored, judged_by)
    language = choose_language(lang)
    path = write_report(
        stored, judgement, output or run / "report.html", language=language, plotlyjs=plotlyjs
    )
    if as_json:
        _print_json(path, language, judgement.verdict)
    click.echo(f"report → {path}", err=True)
    if show == "browser":
        click.launch(str(path))


def _print_json(path: Path, language: str, verdict: dict[str, Any]) -> None:
    import orjson

    answer = {
        "report": str(path),
        "language": language,
        "bytes": path.stat().st_size,
        "valid": verdict["valid"],
        "verdict": verdict["verdict"],
    }
    click.echo(orjson.dumps(answer).decode())
