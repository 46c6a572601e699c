"""Axes: what is labelled."""

from __future__ import annotations

from bench.report.axes import apart


def test_labels_of_close_values_are_left_out() -> None:
    """The ends are always labelled; between them what is far enough from what is there already."""
    assert apart([4, 8, 16, 32, 34.9, 38.1, 45.3, 64]) == [4, 8, 16, 32, 45.3, 64]
    assert apart([1, 1.01, 64]) == [1, 64]


def test_few_values_are_all_labelled() -> None:
    """One or two can't be in each other's way by more than they are."""
    assert (apart([]), apart([3]), apart([3, 3.01])) == ([], [3], [3, 3.01])
