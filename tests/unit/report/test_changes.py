"""What the pages share: values in their units, metrics by name."""

from __future__ import annotations

import math

import pytest

from bench.report.changes import interval_of, metric_title, quantity
from bench.report.numbers import SPACE
from bench.report.words import Words

TTFT = {"zh": "首 Token 延迟", "en": "Time to first token"}


@pytest.mark.parametrize(
    ("value", "unit", "english", "chinese"),
    [
        (0.05, "s", "50 ms", "50 ms"),
        (0.5, "fraction", "50 %", "50 %"),
        (2048.0, "bytes", "2 KiB", "2 KiB"),
        (2.5e9, "B/s", "2.5 GB/s", "2.5 GB/s"),
        (24.4, "1/s", "24.4 req/s", "24.4 请求/s"),
        (0.02, "currency", "0.02 currency units", "0.02 货币单位"),
        (3, "1", "3", "3"),
        (math.inf, "s", "∞", "∞"),
        (math.nan, "s", "—", "—"),
        (None, "s", "—", "—"),
    ],
)
def test_values_have_their_units(
    value: float | None, unit: str, english: str, chinese: str
) -> None:
    """Each in the page's language; what is unknown is a dash, and never 0."""
    assert quantity(Words("en"), value, unit).replace(SPACE, " ") == english
    assert quantity(Words("zh"), value, unit).replace(SPACE, " ") == chinese


@pytest.mark.parametrize(
    ("statistic", "english", "chinese"),
    [
        ("p99", "Time to first token, P99", "首 Token 延迟，P99"),
        ("mean", "Time to first token, Mean", "首 Token 延迟，平均"),
        ("value", "Time to first token", "首 Token 延迟"),
    ],
)
def test_a_metric_is_named_in_full(statistic: str, english: str, chinese: str) -> None:
    """The title and which statistic of it, where there is more than one."""
    row = {"metric": "ttft_s", "title": TTFT, "statistic": statistic}
    assert metric_title(Words("en"), row) == english
    assert metric_title(Words("zh"), row) == chinese


def test_an_interval_says_its_unit_once() -> None:
    """Both ends are signed; one end alone is no interval."""
    row = {"low": -0.02, "high": 0.034, "scale": "relative"}
    assert interval_of(Words("en"), row).replace(SPACE, " ") == "−2.00 – +3.40 %"
    row["scale"] = "points"
    assert interval_of(Words("zh"), row).replace(SPACE, " ") == "−2.00 – +3.40 百分点"
    assert interval_of(Words("zh"), {**row, "low": None}) == ""
