"""How values are written."""

from __future__ import annotations

import math

import pytest

from bench.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 ms"),
        (0.0000004, "<\u202f0.001 ms"),
        (0.0000126, "0.013 ms"),
        (0.2, "200 ms"),
        (0.99951, "1,000 ms"),
        (1.0, "1 s"),
        (12.345, "12.3 s"),
        (1234.5, "1,234 s"),
        (math.inf, "∞"),
    ],
)
def test_durations(value: float, text: str) -> None:
    """Durations below a second are in ms, others in s, with three digits and no false precision."""
    assert numbers.seconds(value).replace(numbers.SPACE, " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.5, "50 %"),
        (0.1234, "12.3 %"),
        (0.9995, "99.95 %"),
        (0.99999, "99.999 %"),
        (0.0001, "0.01 %"),
        (-20.333, "−2,033.3 %"),
    ],
)
def test_shares(value: float, text: str) -> None:
    """A share next to 0 or 1 keeps the digits that tell it from 0 or 1."""
    assert numbers.percent(value).replace(numbers.SPACE, " ") == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0, 3, "0"), (1234567.0, 3, "1,234,567"), (0.001234, 3, "0.00123"), (-1.5, 3, "−1.5")],
)
def test_significant_digits(value: float, digits: int, text: str) -> None:
    """No digit before the point is ever rounded away, and thousands are separated."""
    assert numbers.significant(value, digits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(59.94, "59.9 s"), (125.0, "2 min 05 s"), (7260.0, "2 h 01 min")],
)
def test_run_lengths(value: float, text: str) -> None:
    """The length of a run is read as a clock."""
    assert numbers.clock(value).replace(numbers.SPACE, " ") == text


def test_a_range_names_a_common_unit_once() -> None:
    """Ends in one unit share it; ends in two units keep both."""
    one = numbers.span(numbers.seconds(0.02), numbers.seconds(0.03))
    two = numbers.span(numbers.seconds(0.9), numbers.seconds(1.2))
    assert one.replace(numbers.SPACE, " ") == "20 – 30 ms"
    assert two.replace(numbers.SPACE, " ") == "900 ms – 1.2 s"


def test_sizes() -> None:
    """Sizes are in binary units."""
    assert numbers.bytes_of(512).replace(numbers.SPACE, " ") == "512 B"
    assert numbers.bytes_of(3 * 2**30).replace(numbers.SPACE, " ") == "3 GiB"


@pytest.mark.parametrize("value", [None, math.nan])
def test_absent_is_unknown(value: float | None) -> None:
    """None and NaN are unknown; 0 is a value."""
    assert numbers.unknown(value)
    assert not numbers.unknown(0.0)
