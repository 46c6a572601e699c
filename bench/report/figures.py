"""Plotly specifications, as the JSON that plotly.js draws.  The only user of plotly.

Colours are names of the style sheet's variables (`@blue`); the page puts in the values for light,
dark or print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.report.axes import Axis
from bench.report.thin import Floats, rounded

Trace = dict[str, Any]
Spec = dict[str, Any]

# Okabe and Ito's order, told apart under the common colour-vision deficiencies.
PALETTE = ("@blue", "@orange", "@green", "@purple", "@sky", "@vermilion")
CDN = "https://cdn.plot.ly"


def literal(text: str) -> str:
    """Text from outside, so that plotly draws it as it is: no tag, entity or template in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("%{", "% {")


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across the figure at a value of one axis, with a word on it: a limit, an edge.

    The word of a mark on x stands upright on its `inward` side, at the top or at the `foot`.
    """

    at: float
    label: str
    axis: str = "x"
    colour: str = "@vermilion"
    dash: str = "dash"
    inward: str = "left"
    foot: bool = False


def line(
    name: str,
    x: Sequence[float] | Floats,
    y: Sequence[float] | Floats,
    colour: str,
    *,
    hover: str,
    shape: str = "linear",
    dash: str = "solid",
    fill: bool = False,
) -> Trace:
    """A line; gaps stay where y is NaN.  `hover` is a plotly hover template."""
    trace: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": rounded(np.asarray(x, dtype=np.float64)),
        "y": rounded(np.asarray(y, dtype=np.float64)),
        "line": {"color": colour, "width": 1.8, "shape": shape, "dash": dash},
        "hovertemplate": f"{hover}<extra></extra>",
    }
    if fill:
        trace |= {"fill": "tozeroy", "fillcolor": f"{colour}-faint"}
    return trace


def points(
    name: str,
    x: Sequence[float] | Sequence[str] | Floats,
    y: Sequence[float] | Floats,
    colour: str,
    *,
    hover: str,
    symbol: str = "circle",
    size: int = 5,
    text: Sequence[str] | None = None,
) -> Trace:
    """Single marks, over numbers or categories; `text` is shown in the hover as `%{text}`."""
    named = len(x) > 0 and isinstance(x[0], str)
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(x) if named else rounded(np.asarray(x, dtype=np.float64)),
        "y": rounded(np.asarray(y, dtype=np.float64)),
        "marker": {"color": colour, "size": size, "symbol": symbol, "opacity": 0.75},
        "hovertemplate": f"{hover}<extra></extra>",
    }
    if text is not None:
        trace["text"] = list(text)
    return trace


def whiskers(
    name: str,
    x: Sequence[float] | Floats,
    y: Sequence[float] | Floats,
    ends: tuple[Sequence[float] | Floats, Sequence[float] | Floats],
    colour: str,
    *,
    hover: str,
    text: Sequence[str],
) -> Trace:
    """A line through single values, each with its interval; an end that is not known is left out.

    `text` is shown in the hover as `%{text}`.
    """
    values = np.asarray(y, dtype=np.float64)
    low, high = (np.asarray(end, dtype=np.float64) for end in ends)
    below, above = values - low, high - values
    trace = line(name, x, values, colour, hover=hover)
    return trace | {
        "mode": "lines+markers",
        "marker": {"color": colour, "size": 7},
        "text": list(text),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": rounded(np.where(np.isfinite(above), above, 0.0)),
            "arrayminus": rounded(np.where(np.isfinite(below), below, 0.0)),
            "color": colour,
            "thickness": 1.2,
            "width": 4,
        },
    }


def histogram(name: str, edges: Floats, counts: Any, colour: str, *, hover: str) -> Trace:
    """Counted bins as a filled step line, which stays true on a logarithmic axis."""
    steps = np.append(np.asarray(counts, dtype=np.float64), counts[-1])
    trace = line(name, edges, steps, colour, hover=hover, shape="hv", fill=True)
    trace["customdata"] = rounded(np.append(edges[1:], edges[-1]))
    return trace


def bars(
    name: str,
    labels: Sequence[str] | Sequence[float],
    values: Sequence[float] | Floats,
    colour: str | Sequence[str],
    *,
    hover: str,
    across: bool = False,
) -> Trace:
    """Bars over categories or instants; `across` lays them on their side."""
    lengths = rounded(np.asarray(values, dtype=np.float64))
    return {
        "type": "bar",
        "name": name,
        "orientation": "h" if across else "v",
        "x": lengths if across else list(labels),
        "y": list(labels) if across else lengths,
        "marker": {"color": colour if isinstance(colour, str) else list(colour)},
        "hovertemplate": f"{hover}<extra></extra>",
    }


def spans(
    name: str,
    rows_at: Floats,
    starts: Floats,
    lengths: Floats,
    labels: Sequence[str],
    colour: str,
    *,
    hover: str,
) -> Trace:
    """Horizontal spans on numbered rows; a span whose end is not known is left out."""
    return {
        "type": "bar",
        "name": name,
        "orientation": "h",
        "y": rounded(rows_at),
        "base": rounded(starts),
        "x": rounded(lengths),
        "text": list(labels),
        "textposition": "none",
        "width": 0.62,
        "marker": {"color": colour},
        "hovertemplate": f"{hover}<extra></extra>",
    }


def density(x: Floats, y: Floats, counts: Any, *, hover: str, legend: str) -> Trace:
    """Counts over a grid of cells, given by edges; empty cells are left blank."""
    filled = [[int(v) if v else None for v in row] for row in np.asarray(counts).tolist()]
    return {
        "type": "heatmap",
        "x": rounded(x),
        "y": rounded(y),
        "z": filled,
        "colorscale": [[0, "@heat-low"], [0.5, "@heat-mid"], [1, "@heat-high"]],
        "colorbar": {
            "title": {"text": legend, "side": "right"},
            "thickness": 10,
            "len": 1,
            "outlinewidth": 0,
        },
        "hovertemplate": f"{hover}<extra></extra>",
        "hoverongaps": False,
    }


def figure(
    traces: Sequence[Trace],
    x: Axis,
    y: Axis,
    *,
    marks: Sequence[Mark] = (),
    height: int = 300,
    together: bool = False,
    stacked: bool = False,
) -> Spec:
    """A whole figure.  `together` shows one hover for all lines at the same x."""
    marks = _merged(marks)
    legend = sum(trace["type"] != "heatmap" for trace in traces) > 1
    layout: dict[str, Any] = {
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 34 if legend else 12, "b": 44},
        "xaxis": x.layout(),
        "yaxis": y.layout(),
        "showlegend": legend,
        "hovermode": "x unified" if together else "closest",
        "shapes": [_mark_line(mark) for mark in marks],
        "annotations": [_mark_word(mark, x, y) for mark in marks if mark.label],
    }
    if any(trace["type"] == "bar" for trace in traces):
        layout |= {"barmode": "stack" if stacked else "overlay", "bargap": 0.3}
    return {"data": list(traces), "layout": layout}


def _merged(marks: Sequence[Mark]) -> list[Mark]:
    """Marks at one place become one, with all their words."""
    places: dict[tuple[str, float], Mark] = {}
    for mark in marks:
        before = places.get((mark.axis, mark.at))
        words = mark.label if before is None else f"{before.label}, {mark.label}"
        places[mark.axis, mark.at] = replace(before or mark, label=words)
    return list(places.values())


def _mark_line(mark: Mark) -> dict[str, Any]:
    other = "y" if mark.axis == "x" else "x"
    return {
        "type": "line",
        f"{mark.axis}0": mark.at,
        f"{mark.axis}1": mark.at,
        f"{other}0": 0,
        f"{other}1": 1,
        f"{other}ref": "paper",
        "line": {"color": mark.colour, "width": 1.3, "dash": mark.dash},
    }


def _mark_word(mark: Mark, x: Axis, y: Axis) -> dict[str, Any]:
    # Annotations on a log axis are placed by the logarithm, shapes by the value.
    log = (x if mark.axis == "x" else y).log
    at = float(np.log10(mark.at)) if log else mark.at
    word = {"text": mark.label, "showarrow": False, "font": {"color": mark.colour, "size": 11}}
    if mark.axis == "x":
        word |= {"textangle": -90, "xanchor": "right" if mark.inward == "left" else "left"}
        word |= {"y": 0, "yanchor": "bottom"} if mark.foot else {"y": 1, "yanchor": "top"}
        return word | {"x": at, "yref": "paper"}
    return word | {"y": at, "xref": "paper", "x": 1, "xanchor": "right", "yanchor": "bottom"}


def base_layout() -> Mapping[str, Any]:
    """What every figure of the page shares."""
    axis = {"gridcolor": "@grid", "linecolor": "@grid", "zeroline": False, "automargin": True}
    return {
        "axis": axis,
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": "@ink-soft", "size": 12},
            "hoverlabel": {
                "bgcolor": "@surface",
                "bordercolor": "@line",
                "font": {"color": "@ink", "size": 12},
            },
            "modebar": {
                "orientation": "v",
                "bgcolor": "rgba(0,0,0,0)",
                "color": "@ink-soft",
                "activecolor": "@link",
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "traceorder": "normal",
                "itemwidth": 30,
            },
            "separators": ".,",
            "autosize": True,
        },
    }


def plotlyjs() -> str:
    """The text of the plotly.js bundle that the installed plotly package ships."""
    import plotly

    path = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return path.read_bytes().decode("utf-8")


def plotlyjs_version() -> str:
    from plotly.offline import get_plotlyjs_version

    return str(get_plotlyjs_version())
