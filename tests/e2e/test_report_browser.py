"""The report in headless Chromium: as a person opens it, from a file, without a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from bench.judge.judgement import judge
from bench.judge.profile import Good, GoodLimit, Limit, Profile, Words
from bench.record.frame import open_run
from bench.record.synthetic import SyntheticRun, write_synthetic_run
from bench.report.page import write_report

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE_S = 60
DESKTOP, PHONE = (1280, 800), (390, 844)
HOSTILE = "</script><script>window.hacked=1</script><img src=http://127.0.0.1:9/x.png>"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER), reason="chromium and chromedriver are not installed"
)

INK = "[...document.querySelectorAll('.xtick text')].at(-1).style.fill"
WANTED_INK = """(() => { const probe = document.createElement("i");
  probe.style.fill = getComputedStyle(document.documentElement).getPropertyValue("--ink-soft");
  return probe.style.fill; })()"""
"""The colour of the last figure's ticks, and the one that the style sheet asks for."""

PROFILE = Profile(
    name="browser",
    title=Words(zh="浏览器", en="Browser"),
    limits=(
        Limit(metric="ttft_s", statistic="p95", bound=0.2, source="§5.3.2"),
        Limit(metric="itl_s", statistic="p99", bound=0.02, source="§1.1.2"),
    ),
    good=Good(limits=(GoodLimit(metric="ttft_s", bound=0.08),)),
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run with failures and hostile names, reported in both languages."""
    folder = tmp_path_factory.mktemp("reports")
    spec = SyntheticRun(
        requests=2500, tokens_per_request=40, rate_rps=100.0, failures={"http_429": 0.02}
    )
    run = open_run(write_synthetic_run(folder / "run", spec))
    run.manifest["target"]["model"] = HOSTILE
    run.requests["error_text"] = HOSTILE
    judgement = judge(run, PROFILE)
    return {
        language: write_report(run, judgement, folder / f"{language}.html", language=language)
        for language in ("zh", "en")
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A fresh Chromium that logs its console and its requests."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()


class Opened:
    """A report as it stands at one size and in one colour scheme, its figures drawn.

    It is loaded once: a change of size or scheme reaches the page that is open.
    """

    def __init__(
        self, browser: webdriver.Chrome, path: Path, size: tuple[int, int], scheme: str
    ) -> None:
        self.browser = browser
        (width, height), mobile = size, size == PHONE
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        colour = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [colour]})
        if browser.current_url != path.as_uri():
            browser.get(path.as_uri())
        self.until("document.documentElement.dataset.figures === 'drawn'")
        self.until(f"{INK} === {WANTED_INK}")

    def until(self, condition: str) -> None:
        """Wait for something to become true on the page."""
        WebDriverWait(self.browser, PATIENCE_S).until(lambda _: self(f"return {condition}"))

    def __call__(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def errors(self) -> list[str]:
        """What the console complained of."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requested(self) -> list[str]:
        """Addresses that the page asked for."""
        entries = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_opens_without_a_complaint_or_a_request(
    language: str, browser: webdriver.Chrome, reports: dict[str, Path]
) -> None:
    """No console message, no address but its own file, every figure drawn, nothing injected."""
    page = Opened(browser, reports[language], DESKTOP, "light")
    assert page.errors() == []
    asked = [url for url in page.requested() if not url.startswith(("data:", "blob:"))]
    assert {url for url in asked if url.startswith("http")} == set()
    assert asked[-1] == reports[language].as_uri()
    empty = """return [...document.querySelectorAll("[data-figure]")]
        .filter(plot => !plot.querySelector(".cartesianlayer .trace path, .heatmaplayer image"))
        .map(plot => plot.dataset.figure)"""
    assert page(empty) == []
    assert page("return document.querySelectorAll('[data-figure]').length") > 12
    assert page("return window.hacked === undefined && document.images.length === 0")
    assert page("return document.documentElement.lang").startswith(language)


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_verdict_is_seen_at_once(
    size: tuple[int, int], scheme: str, browser: webdriver.Chrome, reports: dict[str, Path]
) -> None:
    """Verdict and numbers stand above the fold, nothing runs out of its box, text is legible."""
    page = Opened(browser, reports["zh"], size, scheme)
    bottom = "return document.querySelector('{}').getBoundingClientRect().bottom"
    assert page(bottom.format("h1")) < size[1]
    assert page(bottom.format(".cards")) < size[1]
    assert page("return document.documentElement.scrollWidth") == size[0]
    outside = """return [...document.querySelectorAll(".card p, h1, h2, h3, .because, .reading")]
        .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.textContent)"""
    assert page(outside) == []
    assert min(page(CONTRASTS).values()) >= 4.5


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
  ".lead", "td", "thead th", "td.fail", "td.pass", ".reading", ".note", "nav a", "summary",
  ".xtick text", ".ytitle"].map((selector) => [selector, contrast(selector)]));
"""
"""WCAG 2.1 contrast of text against what lies behind it, by selector."""


def test_figures_follow_the_colour_scheme(
    browser: webdriver.Chrome, reports: dict[str, Path]
) -> None:
    """A page left open when evening comes is drawn again in the dark palette."""
    light = Opened(browser, reports["zh"], DESKTOP, "light")(f"return {INK}")
    dark = Opened(browser, reports["zh"], DESKTOP, "dark")(f"return {INK}")
    assert light != dark


def test_a_slow_request_links_to_its_timeline(
    browser: webdriver.Chrome, reports: dict[str, Path]
) -> None:
    """A click on a request brings its row of the timeline into view."""
    page = Opened(browser, reports["zh"], DESKTOP, "light")
    index = page("""const link = document.querySelector("#slowest tr:nth-child(3) a[data-focus]");
        link.click(); return link.dataset.focus""")
    shown = """const layout = document.querySelector("#figure-timeline [data-figure]").layout;
        return layout.yaxis.range.map(Number)"""
    page.until("document.querySelector('#figure-timeline [data-figure]').layout.yaxis.range[0] < 5")
    content = page("return JSON.parse(document.getElementById('figures').textContent)")
    row = content["figures"]["timeline"]["rows"][index][0]
    assert min(page(shown)) < row < max(page(shown))


def test_it_prints_on_paper(browser: webdriver.Chrome, reports: dict[str, Path]) -> None:
    """The page prints; figures are redrawn to the width of the paper and put back after."""
    page = Opened(browser, reports["zh"], DESKTOP, "light")
    page("dispatchEvent(new Event('beforeprint'))")
    widths = (
        "return [...document.querySelectorAll('[data-figure] .main-svg')].map(s => s.clientWidth)"
    )
    WebDriverWait(browser, PATIENCE_S).until(lambda _: max(page(widths)) <= 660)
    page("dispatchEvent(new Event('afterprint'))")
    WebDriverWait(browser, PATIENCE_S).until(lambda _: max(page(widths)) > 660)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 10_000
    assert page.errors() == []
