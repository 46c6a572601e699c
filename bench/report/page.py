"""Assembles the page: one HTML file that needs nothing else.

A content security policy in the page forbids every request and every script but its own, which are
named by their hashes: an offline report stays offline, and text from a server stays text.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench import __version__
from bench.judge.judgement import Judgement
from bench.record.files import disk_error, write_whole
from bench.record.frame import Run
from bench.report import figures
from bench.report.blocks import Figure, Section
from bench.report.contents import SECTIONS, render_section
from bench.report.evidence import Evidence
from bench.report.sections.band import Band, band
from bench.report.words import Words, entries

_TEMPLATES = Path(__file__).parent / "templates"
_PLOTLYJS_FILE = "plotly.min.js"
_PLOTLYJS_PLACES = {"directory": "", "parent": "../"}
"""Where the library is from the page's folder, when it is in a file of its own."""


def write_report(
    run: Run, judgement: Judgement, path: Path, *, language: str, plotlyjs: str = "inline"
) -> Path:
    """Write the report of a judged run to `path` and return it.

    `language` is `zh` or `en`.  `plotlyjs`: `inline` embeds the library (one file, offline), `cdn`
    refers to its publisher's server, `directory` puts it beside the report once, `parent` into the
    folder above, for reports of many runs.  Raises NotValidError where the disk refuses them.
    """
    return write_page(render(Evidence(run, judgement, Words(language)), plotlyjs), path, plotlyjs)


def render(evidence: Evidence, plotlyjs: str = "inline") -> str:
    """The page as text."""
    sections = [render_section(section, evidence) for section in SECTIONS]
    return assemble(evidence.words, band(evidence), sections, plotlyjs)


def write_page(page: str, path: Path, plotlyjs: str = "inline") -> Path:
    """Write an assembled page to `path`, with the library beside it where that was asked for.

    Raises NotValidError where the disk refuses it; a page that was there before stays whole.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error
    write_whole(path, page.encode())
    if plotlyjs in _PLOTLYJS_PLACES:
        folder = path.parent / _PLOTLYJS_PLACES[plotlyjs]
        write_whole(folder / _PLOTLYJS_FILE, figures.plotlyjs().encode())
    return path


def assemble(words: Words, top: Band, sections: list[Section], plotlyjs: str = "inline") -> str:
    """Any page of the harness as text: its top band, its sections."""
    scripts, policy = _scripts(sections, words.language, plotlyjs)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        words=words,
        band=top,
        sections=sections,
        scripts=scripts,
        policy=policy,
        style=Markup(_text("style.css")),
        version=__version__,
    )


def figures_json(sections: list[Section], language: str) -> str:
    """What page.js draws: `{"base", "figures": {key: spec}, "plotly": dictionary}`."""
    prefix = "plotly."
    content: dict[str, Any] = {
        "base": figures.base_layout(),
        "figures": {
            block.key: block.spec
            for section in sections
            for block in section.blocks
            if isinstance(block, Figure)
        },
        "plotly": {
            key.removeprefix(prefix): text
            for key, text in entries(language).items()
            if key.startswith(prefix)
        },
    }
    # Inside <script> nothing is unescaped; only "<" could end the element.
    return orjson.dumps(content).decode().replace("<", "\\u003c")


def _scripts(sections: list[Section], language: str, plotlyjs: str) -> tuple[list[Markup], str]:
    """The page's script elements, and the policy that allows exactly these.

    A page without figures has none.
    """
    if not any(isinstance(block, Figure) for section in sections for block in section.blocks):
        return [], _policy("")
    own = _text("page.js")
    library = figures.plotlyjs()
    sources = [_hash(own)]
    if plotlyjs == "inline":
        element = f"<script>{library}</script>"
        sources.append(_hash(library))
    elif plotlyjs == "cdn":
        url = f"{figures.CDN}/plotly-{figures.plotlyjs_version()}.min.js"
        element = (
            f'<script src="{url}" integrity="{_hash(library)}" crossorigin="anonymous"></script>'
        )
        sources.append(figures.CDN)
    else:
        element = f'<script src="{_PLOTLYJS_PLACES[plotlyjs]}{_PLOTLYJS_FILE}"></script>'
        sources.append("'self' file:")
    quoted = " ".join(s if not s.startswith("sha") else f"'{s}'" for s in sources)
    content = figures_json(sections, language)
    return [
        Markup(f'<script type="application/json" id="figures">{content}</script>'),
        Markup(element),
        Markup(f"<script>{own}</script>"),
    ], _policy(f"script-src {quoted}; ")


def _policy(scripts: str) -> str:
    """The content security policy; `scripts` is its part on scripts, empty where there are none."""
    return (
        f"default-src 'none'; {scripts}style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
