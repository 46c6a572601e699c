"""The page as a whole: what it says, what it refuses to say, what it lets in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.errors import NotValidError
from bench.judge.judgement import judge
from bench.judge.profile import Profile, ValidityLimits
from bench.record.files import TEMPORARY
from bench.record.frame import open_run
from bench.report import figures
from bench.report.contents import SECTIONS
from bench.report.evidence import Evidence
from bench.report.page import render, write_page, write_report
from bench.report.words import Words, entries

CHINESE = re.compile(r"[\u4e00-\u9fff]")
HOSTILE = "</script><script>window.hacked=1</script>\"'<img src=x onerror=hacked()>&%{x}"


class Page(HTMLParser):
    """What a browser would make of the page: elements with their attributes, and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._silent = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._silent = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._silent = ""

    def handle_data(self, data: str) -> None:
        if not self._silent and data.strip():
            self.text.append(" ".join(data.replace("\u00a0", " ").split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page_of(evidence_of: Callable[..., Evidence]) -> Callable[..., Page]:
    """The page of a synthetic run, without the library."""
    return lambda *given, **fields: Page(render(evidence_of(*given, **fields), "directory"))


def test_a_failed_run_says_so_first(page_of: Callable[..., Page]) -> None:
    """The verdict stands in words and as a symbol, with the limit that failed and its numbers."""
    page = page_of()
    assert "Fail" in page.text
    assert "✗" in page.text
    because = next(text for text in page.text if "limits are not met" in text)
    assert because.startswith("1 of 5 limits are not met. First: P99 ITL is ")
    assert because.endswith("ms, limit ≤ 20 ms.")


def test_four_numbers_stand_in_the_band(page_of: Callable[..., Page]) -> None:
    """One number of each kind is shown, with its limit, whatever the profile's length."""
    page = page_of()
    cards = [a for a in page.all("li") if (a.get("class") or "").startswith("card")]
    assert len(cards) == 4


def test_a_run_without_a_profile_has_no_verdict(page_of: Callable[..., Page]) -> None:
    """Values are shown and nothing is called a pass."""
    page = page_of("en", None)
    assert "No verdict" in page.text
    assert "no limit set" in page.text
    assert "— No profile was given, so there are no limits." in page.text
    assert "— The profile names no limits for a good request." in page.text
    assert not any("pass" in text.lower().split() for text in page.text[:40])


def test_a_killed_run_is_not_valid(page_of: Callable[..., Page]) -> None:
    """Without an end there is no balance, and no pass."""
    page = page_of(killed=True)
    assert "Not valid" in page.text
    assert any("Run without an end" in text for text in page.text)
    assert "✓ pass" not in page.text


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"url": "https://host", "tls_verify": False}, True),
        ({"url": "https://host", "tls_verify": True}, False),
        ({"url": "http://host", "tls_verify": False}, False),
    ],
)
def test_a_server_that_nobody_vouched_for_is_told_at_the_top(
    page_of: Callable[..., Page], target: dict[str, Any], said: bool
) -> None:
    """--insecure stands beside the verdict, and only where there was a certificate to check."""
    text = page_of("en", change=lambda run: run.manifest["target"].update(target)).text
    assert any("TLS certificate was not verified" in each for each in text) is said


def test_a_profile_that_lets_more_through_is_told_at_the_top(
    page_of: Callable[..., Page], profile: Profile
) -> None:
    """Its rules of validity are named with the metric system's limits; tighter ones are not."""
    limits = ValidityLimits(sent_fraction=0.5, loop_stall_s=0.9, uncertain_first_fraction=0.001)
    wider = profile.model_copy(update={"validity": limits})
    (told,) = (each for each in page_of("en", wider).text if "wider than" in each)
    assert "50 % (99 %)" in told
    assert "900 ms (100 ms)" in told
    assert "ncertain" not in told
    assert not any("宽松" in each for each in page_of("zh").text)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("finished", []),
        ("interrupted", ["Interrupted by hand"]),
        ("stopped: 5 errors", ["Stopped early by the recipe's stop condition"]),
    ],
)
def test_a_run_that_was_ended_early_says_so(
    page_of: Callable[..., Page], reason: str, says: list[str]
) -> None:
    """A verdict on a part of the plan stands beside the word that it is a part."""

    def ended(run: Any) -> None:
        run.end["reason"] = reason

    text = page_of("en", change=ended).text
    found = [line.partition(":")[0] for line in text if "not sent or not finished" in line]
    assert found == says


def test_what_was_not_measured_is_a_dash_with_its_reason(page_of: Callable[..., Page]) -> None:
    """No scrape, no cache counts: a dash whose title says why; never 0."""
    page = page_of(server_interval_s=None, cached_fraction=None)
    assert any(text.startswith("— Nothing was scraped") for text in page.text)
    titles = [a["title"] for a in page.all("td") if a.get("class", "").endswith("absent")]
    assert titles
    assert all(titles)
    assert any("not a hit rate of 0" in text for text in page.text)


def test_an_empty_run_still_has_a_page(page_of: Callable[..., Page]) -> None:
    """A run in which nothing was answered shows its errors and says what is missing."""
    page = page_of(failures={"connect": 1.0})
    assert "— No request was answered inside the judged part of the run." in page.text
    assert "connect" in page.text


def test_every_section_is_there_once(page_of: Callable[..., Page]) -> None:
    """Each section has its anchor, its heading, and a link in the contents."""
    page = page_of()
    ids = [a["id"] for a in page.all("section")]
    assert ids == [section.key for section in SECTIONS]
    links = {a["href"] for a in page.all("a")}
    assert {f"#{key}" for key in ids} <= links


def test_links_lead_somewhere(page_of: Callable[..., Page]) -> None:
    """Every link of the page is to a place on the page."""
    page = page_of()
    ids = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    assert {a["href"] for a in page.all("a")} <= {f"#{place}" for place in ids}


def test_tables_tell_heads_from_cells(page_of: Callable[..., Page]) -> None:
    """Every head has its scope, and every table its caption."""
    page = page_of()
    assert all(a.get("scope") in ("col", "row") for a in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_every_figure_has_words_and_a_label(page_of: Callable[..., Page]) -> None:
    """Who can't see a figure hears its title and its reading."""
    plots = [a for a in page_of().all("div") if "data-figure" in a]
    assert len(plots) > 12
    for plot in plots:
        assert plot["role"] == "img"
        title, _, reading = (plot["aria-label"] or "").partition(". ")
        assert title
        assert any(mark.isdigit() for mark in reading)


@pytest.mark.parametrize("other", ["zh", "en"])
def test_a_page_is_in_one_language(other: str, page_of: Callable[..., Page]) -> None:
    """No sentence of the other language is on the page."""
    language = "en" if other == "zh" else "zh"
    page = page_of(language, failures={"http_429": 0.2}, dropped_fraction=0.1)
    text = "\n".join(page.text)
    foreign = set(entries(other).values()) - set(entries(language).values())
    sentences = [w for w in foreign if "{" not in w and len(w) > (2 if other == "zh" else 12)]
    if other == "zh":
        sentences = [word for word in sentences if CHINESE.search(word)]
    assert [sentence for sentence in sentences if sentence in text] == []
    assert bool(CHINESE.search(text)) is (language == "zh")
    notes = {a[name] for _, a in page.elements for name in ("title", "aria-label") if a.get(name)}
    sentences = {note for note in notes if len(re.findall("[a-z]+ ", note or "")) > 1}
    wrong = [note for note in sentences if bool(CHINESE.search(note or "")) is (language == "en")]
    assert wrong == []


def test_text_from_outside_stays_text(evidence_of: Callable[..., Evidence]) -> None:
    """A model's name, an error's text and class can't add an element, script or attribute."""

    def poison(run: Any) -> None:
        run.manifest["target"]["model"] = HOSTILE
        run.manifest["workload"]["recipe"] = HOSTILE
        run.manifest["load"][HOSTILE] = HOSTILE
        frame = run.requests
        frame["error_text"] = HOSTILE
        frame["error_class"] = frame["error_class"].cat.rename_categories([HOSTILE])

    evidence = evidence_of(change=poison, failures={"reset": 0.2})
    clean, poisoned = evidence_of("zh", failures={"reset": 0.2}), evidence
    html = render(poisoned, "directory")
    page = Page(html)
    assert HOSTILE not in html
    assert html.count("<script") == render(clean, "directory").count("<script") == 3
    assert page.all("img") == []
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert any("window.hacked=1" in text for text in page.text)


def test_the_figures_json_can_not_end_its_element(evidence_of: Callable[..., Evidence]) -> None:
    """What page.js reads holds no `<`, and is JSON without NaN."""
    html = render(evidence_of(), "directory")
    content = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.S)
    assert content
    assert "<" not in content[1]
    specs = json.loads(content[1], parse_constant=pytest.fail)
    drawn = {a["data-figure"] for a in Page(html).all("div") if "data-figure" in a}
    assert specs["figures"].keys() == drawn


def test_inline_is_one_file_that_asks_for_nothing(
    evidence_of: Callable[..., Evidence], tmp_path: Path
) -> None:
    """The default page holds the library, is under 6 MB, and refers to no address."""
    evidence = evidence_of()
    path = write_report(evidence.run, evidence.judgement, tmp_path / "r.html", language="en")
    html = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 6_000_000
    assert html.count(figures.plotlyjs()) == 1
    page = Page(html)
    assert not any(a.get("src") for _, a in page.elements)
    assert not any(a.get("href", "#")[0] != "#" for a in page.all("a"))
    (policy,) = (a["content"] for a in page.all("meta") if a.get("http-equiv"))
    assert policy
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_directory_writes_the_library_beside(
    evidence_of: Callable[..., Evidence], tmp_path: Path
) -> None:
    """`directory` keeps pages small and the library next to them."""
    evidence = evidence_of()
    path = write_report(
        evidence.run, evidence.judgement, tmp_path / "r.html", language="en", plotlyjs="directory"
    )
    assert path.stat().st_size < 1_000_000
    assert (tmp_path / "plotly.min.js").read_text(encoding="utf-8") == figures.plotlyjs()


def test_cdn_names_the_version_and_its_hash(evidence_of: Callable[..., Evidence]) -> None:
    """`cdn` loads exactly the library that was tested, or nothing."""
    page = Page(render(evidence_of(), "cdn"))
    (script,) = (a for a in page.all("script") if a.get("src"))
    assert script["src"] == f"{figures.CDN}/plotly-{figures.plotlyjs_version()}.min.js"
    assert (script["integrity"] or "").startswith("sha256-")


def test_the_same_run_gives_the_same_page(
    synthetic_run: Callable[..., Path], profile: Profile
) -> None:
    """Nothing in a page depends on when or where it was made."""
    path = synthetic_run(requests=60, tokens_per_request=8)
    pages = []
    for _ in range(2):
        run = open_run(path)
        pages.append(render(Evidence(run, judge(run, profile), Words("zh")), "directory"))
    assert pages[0] == pages[1]


def test_a_page_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    """A disk that refuses a page is an error of one line, and the page from before stays whole."""
    kept = tmp_path / "report.html"
    write_page("<html>before</html>", kept)
    (tmp_path / f".{kept.name}{TEMPORARY}").mkdir()
    for path in (kept, kept / "inside" / "report.html"):
        with pytest.raises(NotValidError, match=re.escape(f"can't write {path}")):
            write_page("<html>after</html>", path)
    assert kept.read_text() == "<html>before</html>"
