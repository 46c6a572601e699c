"""Every kind of page in headless Chromium: as a person opens it, from a file, without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.judge.checklist_result import Acceptance
from bench.judge.compare import JudgedRun, compare
from bench.judge.compare_documents import as_json
from bench.judge.judgement import judge
from bench.judge.profile import Good, GoodLimit, Limit, Profile, Words
from bench.judge.sweep import step_of
from bench.nightly.config import Nightly, NightlyTarget
from bench.nightly.nights import Night
from bench.nightly.rounds import night_of_runs
from bench.nightly.series import series_of
from bench.record.frame import open_run
from bench.record.synthetic import SyntheticRun, write_synthetic_run
from bench.report.acceptance_page import write_acceptance
from bench.report.compare_page import write_compare_page
from bench.report.history_page import write_history_page
from bench.report.page import write_report
from bench.report.sweep_page import write_sweep_page
from bench.sweep.documents import as_json as sweep_json
from bench.sweep.order import SweepOrder
from bench.workload.resolve import recipe_of_lengths

DESKTOP, PHONE = (1280, 800), (390, 844)
KINDS = ("run", "compare", "history", "acceptance", "sweep")
HOSTILE = "</script><script>window.hacked=1</script><img src=http://127.0.0.1:9/x.png>"

PROFILE = Profile(
    name="browser",
    title=Words(zh="浏览器", en="Browser"),
    limits=(
        Limit(metric="ttft_s", statistic="p95", bound=0.2, source="§5.3.2"),
        Limit(metric="itl_s", statistic="p99", bound=0.02, source="§1.1.2"),
        Limit(metric="energy_per_token_j", statistic="value", bound=5.0, source="§5.3.3"),
    ),
    good=Good(limits=(GoodLimit(metric="ttft_s", bound=0.08),)),
)


def judged(folder: Path, name: str, **fields: Any) -> JudgedRun:
    """A synthetic run of 600 requests, judged."""
    spec = SyntheticRun(requests=600, tokens_per_request=20, **fields)
    run = open_run(write_synthetic_run(folder / name, spec))
    return JudgedRun(name, run.manifest, judge(run, PROFILE))


def swept(folder: Path) -> dict[str, Any]:
    """sweep.json of four rates, of which the server keeps up with three and serves two well."""
    rates = {5.0: (0.03, 0.2), 10.0: (0.04, 0.2), 20.0: (0.2, 0.2), 40.0: (2.0, 0.2)}
    runs = {
        rate: judged(folder, f"rate-{rate:g}", rate_rps=rate, ttft_s=ttft_s)
        for rate, ttft_s in rates.items()
    }
    order = SweepOrder(recipe_of_lengths(16, 8), PROFILE, rates_rps=tuple(rates))
    steps = [step_of(rate, run.name, run.judgement) for rate, run in runs.items()]
    manifest = runs[5.0].manifest
    manifest["target"]["model"] = HOSTILE
    (folder / runs[5.0].name / "report.html").touch()
    return sweep_json(order, steps, True, manifest)


def nights_of(folder: Path) -> list[Night]:
    """Five nights of two rounds, the last two slower."""
    config = Nightly(name="n", target=NightlyTarget(url="http://h"), workload="chat", rounds=2)
    nights: list[Night] = []
    for day in range(1, 6):
        ttft_s = (0.05 if day < 4 else 0.08, 0.2)
        rounds = [
            judged(folder, f"202601{day:02d}T020{k}00Z-x-000{k}", seed=10 * day + k, ttft_s=ttft_s)
            for k in range(2)
        ]
        nights.append(night_of_runs(rounds, nights, config, PROFILE, f"v{day}"))
    return nights


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory, acceptance_of: Callable[[str], Acceptance]
) -> dict[tuple[str, str], Path]:
    """Each kind of page in both languages; the run has failures and hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    spec = SyntheticRun(
        requests=2500, tokens_per_request=40, rate_rps=100.0, failures={"http_429": 0.02}
    )
    run = open_run(write_synthetic_run(folder / "run", spec))
    run.manifest["target"]["model"] = HOSTILE
    run.requests["error_text"] = HOSTILE
    judgement = judge(run, PROFILE)
    sides = [judged(folder, "base")], [judged(folder, "new", seed=2, itl_s=(0.03, 0.2))]
    found = as_json(compare(*sides, PROFILE))
    nights, checklist, sweep = nights_of(folder / "runs"), acceptance_of(HOSTILE), swept(folder)
    (folder / "runs" / nights[-1].rounds[0].run / "report.html").touch()
    written: dict[tuple[str, str], Path] = {}
    for language in ("zh", "en"):
        at = {kind: folder / f"{kind}-{language}.html" for kind in KINDS}
        write_report(run, judgement, at["run"], language=language)
        write_compare_page(found, at["compare"], language=language)
        write_history_page("n", nights, series_of(nights), at["history"], language=language)
        write_acceptance(checklist, at["acceptance"], language=language)
        write_sweep_page(sweep, at["sweep"], language=language)
        written |= {(kind, language): path for kind, path in at.items()}
    return written


OPENED = [(kind, language) for kind in KINDS for language in ("zh", "en")]


@pytest.mark.parametrize(("kind", "language"), OPENED)
def test_it_opens_without_a_complaint_or_a_request(
    kind: str, language: str, opened: Callable[..., Any], pages: dict[tuple[str, str], Path]
) -> None:
    """No console message, no other address, every figure drawn, nothing injected, no table cut."""
    page = opened(pages[kind, language])
    assert page.errors() == []
    asked = [url for url in page.requested() if not url.startswith(("data:", "blob:"))]
    assert {url for url in asked if url.startswith("http")} == set()
    assert asked[-1] == pages[kind, language].as_uri()
    empty = """return [...document.querySelectorAll("[data-figure]")]
        .filter(plot => !plot.querySelector(".cartesianlayer .trace path, .heatmaplayer image"))
        .map(plot => plot.dataset.figure)"""
    assert page(empty) == []
    figures = page("return document.querySelectorAll('[data-figure]').length")
    assert figures >= {"run": 13, "compare": 1, "history": 6, "acceptance": 0, "sweep": 5}[kind]
    wide = """return [...document.querySelectorAll(".scroll")]
        .filter(box => box.scrollWidth > box.clientWidth && !box.closest("details:not([open])"))
        .map(box => box.ariaLabel)"""
    assert page(wide) == []
    assert page("return window.hacked === undefined && document.images.length === 0")
    assert page("return document.documentElement.lang").startswith(language)


# One of each, because a page that is open is only drawn again, and another has to be read.
LANGUAGE = {"run": "en", "compare": "zh", "history": "en", "acceptance": "zh", "sweep": "en"}
LOOKS = [(kind, size, scheme) for kind in KINDS for size in (DESKTOP, PHONE)
         for scheme in ("light", "dark")]  # fmt: skip


@pytest.mark.parametrize(("kind", "size", "scheme"), LOOKS)
def test_it_can_be_read_at_once(
    kind: str,
    size: tuple[int, int],
    scheme: str,
    opened: Callable[..., Any],
    pages: dict[tuple[str, str], Path],
) -> None:
    """The verdict stands above the fold, no text is cut or lies on another, all is legible."""
    page = opened(pages[kind, LANGUAGE[kind]], size, scheme)
    bottom = "return document.querySelector('{}').getBoundingClientRect().bottom"
    assert page(bottom.format("h1")) < size[1]
    assert page(bottom.format(".cards")) < size[1]
    assert page("return document.documentElement.scrollWidth") == size[0]
    assert page(CUT) == []
    assert page(OVERLAPPING) == []
    contrasts = page(CONTRASTS)
    assert len(contrasts) >= 9
    assert {selector: ratio for selector, ratio in contrasts.items() if ratio < 4.5} == {}


CUT = """return [...document.querySelectorAll(
    ".card p, h1, h2, h3, .because, .reading, .note, .remark, .lead, .facts dd, .prose td")]
  .filter(box => box.clientWidth && box.scrollWidth > box.clientWidth + 1)
  .map(box => box.textContent)"""
"""Texts that are wider than the box they stand in."""

OVERLAPPING = """
const upright = (text) => [0, 90, -90].includes(
  Math.round(Math.atan2(text.getScreenCTM().b, text.getScreenCTM().a) * 180 / Math.PI));
const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 3
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
const found = [];
for (const plot of document.querySelectorAll("[data-figure]")) {
  const texts = [...plot.querySelectorAll(".main-svg text")]
    .filter((text) => text.textContent.trim() && text.getBBox().width && upright(text))
    .map((text) => [text.textContent, text.getBoundingClientRect()]);
  texts.forEach(([one, a], k) => texts.slice(k + 1).forEach(([other, b]) => {
    if (meet(a, b)) found.push(`${plot.dataset.figure}: ${one} / ${other}`);
  }));
}
return found;
"""
"""Pairs of words in a figure whose boxes meet; slanted ticks, whose boxes say little, aside."""

CONTRASTS = """
const channels = (text) => text.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => channels(colour).slice(0, 3)
  .map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (channels(colour)[3] !== 0) return colour;
  }
  return "rgb(255, 255, 255)";
};
const contrast = (selector) => {
  const element = document.querySelector(selector);
  const ink = getComputedStyle(element);
  const colour = element instanceof SVGElement ? ink.fill : ink.color;
  const [a, b] = [luminance(colour), luminance(ground(element))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
};
return Object.fromEntries(["h1", ".because", ".card .name", ".card .limit", ".card .interval",
  ".facts dt", ".lead", "td", "thead th", "td.fail", "td.pass", "td.undecided", "td.absent", "td a",
  ".reading", ".note", "nav a", "summary", "footer", ".xtick text", ".ytitle", ".annotation-text"]
  .filter((selector) => document.querySelector(selector))
  .map((selector) => [selector, contrast(selector)]));
"""
"""WCAG 2.1 contrast of text against what lies behind it, by selector."""


@pytest.mark.parametrize("kind", ["history", "sweep"])
def test_reports_that_are_there_are_linked(
    kind: str, opened: Callable[..., Any], pages: dict[tuple[str, str], Path]
) -> None:
    """One run of many has a report beside the page: its link leads to it, and no other is one."""
    page = opened(pages[kind, LANGUAGE[kind]])
    links = page("return [...document.querySelectorAll('tbody a')].map(link => link.href)")
    found = pages[kind, "en"].parent.glob(
        {"history": "runs/*/", "sweep": "rate-*/"}[kind] + "report.html"
    )
    assert [link for link in links if link.endswith("report.html")] == [p.as_uri() for p in found]
    assert len(links) >= 1


def test_figures_follow_the_colour_scheme(
    opened: Callable[..., Any], pages: dict[tuple[str, str], Path]
) -> None:
    """A page left open when evening comes is drawn again in the dark palette."""
    ink = "return [...document.querySelectorAll('.xtick text')].at(-1).style.fill"
    light = opened(pages["run", "zh"], DESKTOP, "light")(ink)
    assert opened(pages["run", "zh"], DESKTOP, "dark")(ink) != light


def test_a_slow_request_links_to_its_timeline(
    opened: Callable[..., Any], pages: dict[tuple[str, str], Path]
) -> None:
    """A click on a request brings its row of the timeline into view."""
    page = opened(pages["run", "zh"])
    index = page("""const link = document.querySelector("#slowest tr:nth-child(3) a[data-focus]");
        link.click(); return link.dataset.focus""")
    shown = """const layout = document.querySelector("#figure-timeline [data-figure]").layout;
        return layout.yaxis.range.map(Number)"""
    page.until("document.querySelector('#figure-timeline [data-figure]').layout.yaxis.range[0] < 5")
    content = page("return JSON.parse(document.getElementById('figures').textContent)")
    row = content["figures"]["timeline"]["rows"][index][0]
    assert min(page(shown)) < row < max(page(shown))


def test_it_prints_on_paper(
    browser: Any, opened: Callable[..., Any], pages: dict[tuple[str, str], Path]
) -> None:
    """The page prints; figures are redrawn to the width of the paper and put back after."""
    page = opened(pages["run", "zh"])
    widest = """Math.max(...[...document.querySelectorAll('[data-figure] .main-svg')]
        .map(drawn => drawn.clientWidth))"""
    page("dispatchEvent(new Event('beforeprint'))")
    page.until(f"{widest} <= 660")
    page("dispatchEvent(new Event('afterprint'))")
    page.until(f"{widest} > 660")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 10_000
    assert page.errors() == []
