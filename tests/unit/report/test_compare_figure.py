"""The figure of a comparison's changes."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report.blocks import Figure
from bench.report.compare_page import change_section
from bench.report.words import Words


def row(metric: str, low: float, change: float, high: float) -> dict[str, Any]:
    """A compared metric of ratios whose minimum effect is 3 %."""
    return {
        "metric": metric, "statistic": "p50", "title": {"zh": metric, "en": metric},
        "unit": "s", "direction": "lower", "scale": "ratio", "base": 0.1, "new": 0.1,
        "change": change, "low": low, "high": high, "minimum_effect": 0.03,
        "p_adjusted": 0.5, "result": "undecided", "basis": "blocks", "advice": None,
    }  # fmt: skip


@pytest.mark.parametrize(("high", "drawn"), [(0.06, 2.0), (3.0, 10.0)])
def test_a_wide_interval_does_not_flatten_the_others(high: float, drawn: float) -> None:
    """Intervals end at 10 minimum effects, and the figure says so where one goes on."""
    found = {"metrics": [row("ttft_s", -0.06, 0.0, high)], "confidence": 0.95}
    figure = change_section(Words("en"), found).blocks[0]
    assert isinstance(figure, Figure)
    spans = figure.spec["data"][0]
    assert spans["base"][0] == pytest.approx(-2.0)
    assert spans["base"][0] + spans["x"][0] == pytest.approx(drawn)
    assert bool(figure.note) == (high > 0.3)
