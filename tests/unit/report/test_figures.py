"""Specifications of figures, held against plotly's own schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import bench.report
from bench.report import axes, figures
from bench.report.blocks import Figure
from bench.report.contents import SECTIONS, render_section
from bench.report.evidence import Evidence

STYLE = (Path(bench.report.__file__).parent / "templates" / "style.css").read_text("utf-8")


def painted(value: Any) -> Any:
    """The specification as the page draws it, with some colour for each name."""
    if isinstance(value, str):
        return "#123456" if value.startswith("@") else value
    if isinstance(value, dict):
        return {key: painted(item) for key, item in value.items()}
    return [painted(item) for item in value] if isinstance(value, list) else value


def colours(value: Any) -> set[str]:
    """Names of the colours a specification asks for."""
    if isinstance(value, str):
        return {value[1:]} if value.startswith("@") else set()
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for item in items for name in colours(item)}


@pytest.fixture
def drawn(evidence_of: Callable[..., Evidence]) -> list[Figure]:
    """Every figure of a page with failures and enough requests for a density."""
    evidence = evidence_of(requests=2500, failures={"http_429": 0.1}, rate_rps=400.0)
    sections = [render_section(entry, evidence) for entry in SECTIONS]
    return [block for section in sections for block in section.blocks if isinstance(block, Figure)]


def test_plotly_knows_every_property(drawn: list[Figure]) -> None:
    """No figure has a property or value that plotly would silently ignore."""
    base = figures.base_layout()
    for figure in drawn:
        layout = {**base["layout"], **figure.spec["layout"]}
        for axis in ("xaxis", "yaxis"):
            layout[axis] = {**base["axis"], **layout[axis]}
        go.Figure(painted(figure.spec["data"]), painted(layout))


def test_every_colour_is_in_the_style_sheet(drawn: list[Figure]) -> None:
    """A colour by name has a value for light and for dark."""
    asked = colours([figure.spec for figure in drawn]) | colours([dict(figures.base_layout())])
    light, dark = STYLE.split("@media screen and (prefers-color-scheme: dark)")
    defined = [set(re.findall(r"--([\w-]+):", part)) for part in (light, dark)]
    assert asked <= defined[0] & defined[1]


def test_axes_name_their_units(drawn: list[Figure]) -> None:
    """Every axis of numbers has a title; one with no title has categories on it."""
    for figure in drawn:
        for name in ("xaxis", "yaxis"):
            axis = figure.spec["layout"][name]
            if not axis["title"]["text"]:
                values = [v for t in figure.spec["data"] for v in t[name[0]]]
                assert all(isinstance(value, str) for value in values), figure.key


def test_keys_are_unique(drawn: list[Figure]) -> None:
    """A figure's key is its anchor."""
    keys = [figure.key for figure in drawn]
    assert len(keys) == len(set(keys))


def test_dense_runs_are_counted_and_sparse_ones_drawn(
    evidence_of: Callable[..., Evidence],
) -> None:
    """Up to 2,000 requests are single marks, more are a density that counts each of them once."""
    from bench.report.sections import latency

    sparse, dense = evidence_of("en"), evidence_of("zh", requests=2500, rate_rps=400.0)
    key = "over-time-ttft_s"
    kinds = []
    for evidence in (sparse, dense):
        found = next(b for b in latency.blocks(evidence) if getattr(b, "key", "") == key)
        assert isinstance(found, Figure)
        kinds.append(found.spec["data"][0])
    assert kinds[0]["type"] == "scatter"
    assert kinds[1]["type"] == "heatmap"
    assert sum(cell or 0 for row in kinds[1]["z"] for cell in row) == 2500


@pytest.mark.parametrize(
    ("values", "log"), [([0.02, 0.05], False), ([0.02, 0.5], True), ([], False), ([0.0, 3], False)]
)
def test_durations_are_logarithmic_where_they_span_much(values: list[float], log: bool) -> None:
    """A factor of five makes an axis logarithmic, with a tick in every decade of the values."""
    layout = axes.duration("TTFT", values).layout()
    assert (layout.get("type") == "log") is log
    if log:
        ticks = np.array(layout["tickvals"])
        assert len(ticks[(ticks >= min(values)) & (ticks <= max(values))]) >= 3


def test_marks_at_one_place_share_one_line() -> None:
    """Two limits with one bound are one line with both names."""
    trace = figures.points("x", [1.0], [1.0], "@blue", hover="")
    marks = [figures.Mark(0.2, "P50"), figures.Mark(0.2, "P99"), figures.Mark(0.2, "y", axis="y")]
    spec = figures.figure([trace], axes.Axis("x"), axes.Axis("y"), marks=marks)
    assert len(spec["layout"]["shapes"]) == 2
    assert spec["layout"]["annotations"][0]["text"] == "P50, P99"


def test_words_on_a_logarithmic_axis_stand_at_their_line() -> None:
    """plotly places shapes by value and annotations by logarithm."""
    axis = axes.duration("TTFT", [0.001, 1.0])
    trace = figures.points("x", [0.1], [1.0], "@blue", hover="")
    spec = figures.figure([trace], axis, axes.Axis("y"), marks=[figures.Mark(0.01, "limit")])
    assert spec["layout"]["shapes"][0]["x0"] == 0.01
    assert spec["layout"]["annotations"][0]["x"] == pytest.approx(-2)


def test_text_from_outside_is_literal() -> None:
    """Plotly reads some HTML and templates in its texts; a name has neither."""
    assert figures.literal("<b>%{x}&lt;</b>") == "&lt;b>% {x}&amp;lt;&lt;/b>"
