"""Every word in two languages, and none of them idle or missing."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import bench.report
from bench.judge.metrics import METRICS
from bench.report.contents import SECTIONS
from bench.report.sections.comparability import TOOLS
from bench.report.words import LANGUAGES, Words, choose_language, entries
from bench.servers.family import SERIES

ROOM = Path(bench.report.__file__).parent
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Terms of the field, symbols and units that are the same in both languages.
SHARED = {
    "section.tokens",
    "page.html_lang",
    "page.sentence_break",
    "page.list_break",
    "unit.1/s",
    "unit.tokens/s",
    "short.ttft_s",
    "short.tpot_s",
    "short.itl_s",
    "short.e2e_s",
    "statistic.value",
    "statistic.name",
    "statistic.title",
    "column.n",
    "outliers.sigma",
    "limits.of_level",
    "cache.group",
    "band.interval",
    "compare.basis_none",
    "compare.first",
    "compare.p",
    "diagnosis.condition",
    "acceptance.attested_by",
    "sweep.because",
    "sweep.step_none",
    "acceptance.verdict",
}
# Groups whose names come from tables of other rooms, or from plotly.
OUTSIDE = (
    "acceptance.state_",
    "basis.",
    "band.window_",
    "because.",
    "comparability.",
    "compare.basis_",
    "limits.level_",
    "plotly.",
    "result.",
    "series.",
    "short.",
    "statistic.",
    "sweep.attained_",
    "sweep.figure_",
    "sweep.load_",
    "sweep.saturation_",
    "sweep.short_",
    "sweep.step_",
    "sweep.unit_",
    "unit.",
    "verdict.",
)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys() -> None:
    """No key stands in one language only."""
    assert entries("zh").keys() == entries("en").keys()


def test_both_languages_say_the_same() -> None:
    """A translation has the placeholders of its original."""
    chinese, english = entries("zh"), entries("en")
    differ = [k for k in english if placeholders(chinese[k]) != placeholders(english[k])]
    assert differ == []


def test_nothing_is_half_translated() -> None:
    """Chinese words are Chinese and English ones are not."""
    chinese, english = entries("zh"), entries("en")
    assert [k for k in chinese if not CHINESE.search(chinese[k]) and k not in SHARED] == []
    assert [k for k in english if CHINESE.search(english[k])] == []
    assert chinese.keys() >= SHARED


def test_every_word_is_used_and_every_used_word_exists() -> None:
    """The keys are those that the code and the templates ask for, neither more nor fewer.

    A key that is put together from a name counts as used where that name stands in the code.
    """
    sources = [p for p in ROOM.rglob("*") if p.suffix in (".py", ".j2")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    top = "|".join({key.split(".")[0] for key in entries("en")} - {"plotly"})
    literal = set(re.findall(rf"[\"']((?:{top})\.[\w/.]+)[\"']", text))
    literal -= {path.name for path in (ROOM / "templates").iterdir()}
    assert literal - entries("en").keys() == set()
    parts = re.findall(rf"f[\"']((?:{top})\.\w*)\{{[^}}]*\}}(\w*)[\"']", text)
    names = set(re.findall(r"[\"'](\w+)[\"']", text))
    made = {before + name + after for before, after in parts for name in names}
    idle = {key for key in entries("en").keys() - literal - made if not key.startswith(OUTSIDE)}
    assert idle == set()


def test_every_metric_has_a_title_in_both_languages() -> None:
    """Titles of metrics come from their table."""
    for metric in METRICS.values():
        assert CHINESE.search(metric.title_zh)
        assert metric.title_en
        assert not CHINESE.search(metric.title_en)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_row_of_a_table_elsewhere_has_its_words(language: str) -> None:
    """Sections, server series and peers' definitions are all named."""
    words = Words(language)
    for section in SECTIONS:
        assert words(f"section.{section.key}")
        assert words(f"lead.{section.key}")
        assert all(words.known(f"absent.{need}") for need in section.needs)
    assert all(words.known(f"series.{series}") for series in SERIES)
    named = {f"comparability.{t}_{m}" for t in TOOLS for m in ("ttft", "tpot", "itl")}
    assert all(words.known(key) for key in named)


def test_a_missing_word_is_an_error() -> None:
    """A page with a hole is never written."""
    with pytest.raises(KeyError):
        Words("en")("section.nothing")


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_TW", "LANG": "en_US"}, "zh"),
        ({}, "en"),
    ],
)
def test_language_of_the_environment(environment: dict[str, str], language: str) -> None:
    """`auto` follows POSIX: LC_ALL before LC_MESSAGES before LANG, empty ones skipped."""
    assert choose_language("auto", environment) == language


def test_a_language_asked_for_is_taken() -> None:
    """What is asked for by name is not overridden by the environment."""
    assert choose_language("zh", {"LANG": "en_US"}) == "zh"
