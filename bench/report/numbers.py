"""How values are written: three significant digits, one unit for each size, "—" for unknown."""

from __future__ import annotations

import math

DASH = "—"
SPACE = "\u00a0"  # between a number and its unit, so that a line never breaks there


def significant(value: float, digits: int = 3) -> str:
    """`value` in plain decimal notation with thousands separators; no digit is lost above 10^2.

    The sign before a negative number is a minus, not a hyphen.
    """
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    decimals = max(0, digits - 1 - magnitude)
    text = f"{value:,.{min(decimals, 12)}f}".replace("-", "−")
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value: float) -> str:
    """A duration: ms below one second, else s.  Nothing finer than a microsecond is told."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 1:
        return with_unit(significant(value), "s")
    if 0 < abs(value) < 1e-6:
        return with_unit("<\u202f0.001", "ms")
    return with_unit(significant(round(value * 1e3, 3)), "ms")


def with_unit(number: str, unit: str) -> str:
    return f"{number}{SPACE}{unit}" if unit else number


def bound(direction: str, written: str) -> str:
    """A written bound on what is better lower (`≤ 200 ms`) or higher, never broken at the sign."""
    return f"{'≥' if direction == 'higher' else '≤'}{SPACE}{written}"


def span(low: str, high: str) -> str:
    """Two written values as a range; a unit that both have is written once."""
    number, _, unit = low.rpartition(SPACE)
    return f"{number if unit and high.endswith(SPACE + unit) else low} – {high}"


def clock(value: float) -> str:
    """A length of run: s below two minutes, else minutes and seconds, else hours and minutes."""
    whole = round(value)
    if value < 120:
        return seconds(value)
    if whole < 7200:
        return f"{whole // 60}{SPACE}min {whole % 60:02d}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60:02d}{SPACE}min"


def count(value: float) -> str:
    return f"{round(value):,}"


def percent(value: float) -> str:
    """A fraction as a percentage; shares next to 0 or 1 keep the digits that tell them from it."""
    scaled = value * 100
    gap = min(abs(scaled), abs(100 - scaled))
    decimals = 1 if gap >= 1 or gap == 0 else min(6, 1 - math.floor(math.log10(gap)))
    text = f"{scaled:,.{decimals}f}".replace("-", "−")
    return with_unit(text.rstrip("0").rstrip(".") if "." in text else text, "%")


def bytes_of(value: float) -> str:
    """A size in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return with_unit(significant(value), unit)
        value /= 1024
    return with_unit(significant(value), "TiB")


def unknown(value: object) -> bool:
    """Whether a value is absent: None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))
