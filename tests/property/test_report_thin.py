"""What thinning keeps, on any series."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.report import thin

values = arrays(np.float64, st.integers(1, 400), elements=st.floats(1e-7, 1e4))


@given(values, st.integers(2, 60))
def test_thinning_keeps_the_extremes_of_every_stretch(y: thin.Floats, points: int) -> None:
    """The least and greatest of the series survive, in order, in at most the points asked for."""
    kept = thin.thin(y, points)
    assert len(kept) <= max(points, 2)
    assert (np.diff(kept) > 0).all()
    assert y[kept].min() == y.min()
    assert y[kept].max() == y.max()


@given(values)
def test_thinning_ignores_gaps(y: thin.Floats) -> None:
    """Unknown values in a series hide none of its extremes."""
    holed = np.repeat(y, 2)
    holed[::2] = np.nan
    kept = thin.thin(holed, 20)
    assert np.nanmax(holed[kept]) == y.max()


@given(values)
def test_points_of_the_distribution_are_exact(y: thin.Floats) -> None:
    """Each point's share is the share of values up to it, by counting, or of a tie above it."""
    x, share = thin.cdf(y)
    assert x[-1] == y.max()
    assert share[-1] == 1
    for at, part in zip(x, share, strict=True):
        below, within = np.count_nonzero(y < at), np.count_nonzero(y <= at)
        assert below < round(part * len(y)) <= within


@given(values, st.integers(1, 50))
def test_failed_requests_lower_the_distribution(y: thin.Floats, failed: int) -> None:
    """Infinite values are counted and not drawn: the curve ends at the share that is finite."""
    x, share = thin.cdf(np.append(y, np.full(failed, np.inf)))
    assert np.isfinite(x).all()
    assert share[-1] == pytest.approx(len(y) / (len(y) + failed))


@given(values, st.integers(1, 80))
def test_a_histogram_counts_every_value_once(y: thin.Floats, bins: int) -> None:
    """Counts add up to the number of values, and the edges hold them all."""
    edges, counts = thin.log_bins(y, bins)
    assert counts.sum() == len(y)
    assert len(edges) == len(counts) + 1
    assert edges[0] <= y.min() * (1 + 1e-9)
    assert edges[-1] >= y.max() * (1 - 1e-9)


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e12, 1e12)))
def test_rounding_keeps_six_digits(y: thin.Floats) -> None:
    """A figure's values are within 1e-5 of what was measured, relative to each."""
    for before, after in zip(y.tolist(), thin.rounded(y), strict=True):
        assert after == pytest.approx(before, rel=1e-5, abs=1e-300)


def test_rounding_has_no_number_for_the_unknown() -> None:
    """NaN and infinities become null."""
    assert thin.rounded(np.array([np.nan, np.inf, 1.0])) == [None, None, 1.0]


def test_zeros_have_a_bin() -> None:
    """Values of 0 are counted in the first bin of a logarithmic histogram."""
    _, counts = thin.log_bins(np.array([0.0, 0.0, 1.0, 10.0]), 4)
    assert counts.tolist() == [3, 0, 0, 1]


@given(values, st.integers(1, 80))
def test_a_histogram_counted_in_stretches_is_the_same(y: thin.Floats, bins: int) -> None:
    """Values that are counted seven at a time fall into the bins they fall into at once."""
    edges, counts = thin.log_bins(y, bins)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thin, "_STRETCH", 7)
        again_edges, again = thin.log_bins(y, bins)
    assert (again_edges == edges).all()
    assert (again == counts).all()


def test_a_histogram_makes_no_copy_of_its_values() -> None:
    """Counting 4 million gaps takes less memory than the gaps: a long run has 200 million."""
    gaps = np.geomspace(1e-3, 1, 4_000_000, dtype=np.float32)
    tracemalloc.start()
    thin.log_bins(gaps)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < gaps.nbytes
