"""The whole page of a tiny fixed run, in both languages, word for word.

Style, scripts and the figures' JSON are left out: they are held by other tests, and their numbers
would drown what a reader sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import __version__
from bench.judge.judgement import judge
from bench.judge.profile import Good, GoodLimit, Limit, Profile, Words
from bench.record.frame import open_run
from bench.report.evidence import Evidence
from bench.report.page import render
from bench.report.words import LANGUAGES
from bench.report.words import Words as PageWords

HERE = Path(__file__).parent
REPLACED = (
    (r"<style>.*?</style>", "<style>…</style>"),
    (r"(<script[^>]*>).*?</script>", r"\1…</script>"),
    (r"sha256-[A-Za-z0-9+/=]+", "sha256-…"),
    (rf"bench {re.escape(__version__)}\b", "bench VERSION"),
)

CONDITIONS = {
    "target": {"url": "http://server:8000", "model": "Qwen/Qwen3-8B", "endpoint": "chat"},
    "server": {"server": {"family": "vllm", "title": "vLLM", "version": "0.32.0"}},
    "workload": {
        "recipe": "chat",
        "requests": 300,
        "offered_rps": 20.0,
        "resolved": {"title": {"zh": "对话", "en": "Chat"}},
        "ceiling": {"tokens_fraction": 0.62},
    },
    "load": {"workers": 1, "transport": "wire", "pace": {"concurrency": None}},
}

PROFILE = Profile(
    name="golden",
    title=Words(zh="示例", en="Example"),
    limits=(
        Limit(metric="ttft_s", statistic="p50", bound=0.2, source="§5.3.2"),
        Limit(metric="ttft_s", statistic="p99", bound=0.1, level="alert", source="§5.3.2"),
        Limit(metric="tpot_s", statistic="mean", bound=0.05, source="§1.1.2"),
        Limit(metric="output_tps", statistic="value", bound=30_000.0, source="§5.3.1"),
        Limit(metric="energy_per_token_j", statistic="value", bound=5.0, source="§5.3.3"),
    ),
    good=Good(
        limits=(GoodLimit(metric="ttft_s", bound=0.08), GoodLimit(metric="tpot_s", bound=0.021))
    ),
)


def without_weight(html: str) -> str:
    """The page without what no reader reads."""
    for pattern, replacement in REPLACED:
        html = re.sub(pattern, replacement, html, flags=re.S)
    return html


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_as_it_was(
    language: str, synthetic_run: Callable[..., Path], update_golden: bool
) -> None:
    """A page changes only when someone means it to."""
    run = open_run(
        synthetic_run(
            "20260101T000000Z-golden-0000",
            requests=300,
            tokens_per_request=12,
            rate_rps=20.0,
            seed=7,
            failures={"http_429": 0.03, "reset": 0.01},
        )
    )
    run.manifest.update(CONDITIONS)
    html = render(Evidence(run, judge(run, PROFILE), PageWords(language)), "directory")
    page, golden = without_weight(html), HERE / f"report-{language}.html"
    if update_golden:
        golden.write_text(page, encoding="utf-8")
    assert page == golden.read_text(encoding="utf-8"), "pytest tests/golden --update-golden"
