"""How a sweep looks on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from bench.cli.sweep_view import show


def entry(value: float | None) -> dict[str, Any]:
    return {"value": value, "low": value, "high": value, "n": 9, "infinite": []}


def step(load: float, attained: str = "met", *, valid: bool = True) -> dict[str, Any]:
    latency = {"p50": 0.0123, "p99": 0.4567, "infinite": []}
    rates = ("request_rps", "output_tps", "goodput_rps")
    return {
        "load": load,
        "valid": valid,
        "attained": attained,
        "sustained": entry(1.0 if load < 8 else 0.8),
        "metrics": {
            "ttft_s": {**latency, "p99": None, "infinite": ["p99"]},
            "tpot_s": latency,
            "goodput_fraction": entry(0.987),
            **{name: entry(12345.678) for name in rates},
        },
    }


def sweep(**fields: Any) -> dict[str, Any]:
    highest = {"value": 4.0, "low": 2.0, "high": None, "infinite": ["high"], "wanted": 0.9,
               "lost": 8.0}  # fmt: skip
    return {
        "loop": "open",
        "goal": None,
        "verdict": "pass",
        "attained": highest,
        "saturation": {**highest, "low": None},
        "peak_output_tps": entry(12345.678),
        "metrics": {"scaling_coefficient": {**entry(0.9), "absent": None}},
        "steps": [step(4), step(8, "missed"), step(10000, "invalid", valid=False)],
        **fields,
    }


def shown(found: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    show(found, out)
    return out.getvalue().splitlines()


def test_a_sweep_fits_eighty_columns() -> None:
    """Whatever the numbers; a step that is not valid is called that and not met."""
    lines = shown(sweep())
    assert max(map(len, lines)) <= 80
    assert "✓ met" in lines[1] and "✗ missed" in lines[2] and "! not valid" in lines[3]
    assert "∞" in lines[1]


def test_an_end_that_no_run_shows_is_no_number() -> None:
    """The interval of the goodput is open above; that of the saturation is not known at all."""
    text = "\n".join(shown(sweep()))
    assert "max goodput: 4 req/s [2, ∞], 90 % of requests good" in text
    assert "the server keeps up to 4 req/s; not at 8" in text
    assert "scaling coefficient: 0.9 [0.9, 0.9]" in text


@pytest.mark.parametrize(("load", "word"), [(4, "✓ kept up"), (8, "✗ fell behind")])
def test_a_search_for_the_rate_says_whether_the_server_kept_up(load: float, word: str) -> None:
    """The attainment is not what was sought."""
    assert word in shown(sweep(goal="max-rate", steps=[step(load)]))[1]
