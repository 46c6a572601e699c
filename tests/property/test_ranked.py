"""Order statistics found when asked for are those of the sorted values."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.ranked import Ranked
from bench.judge.stats import nearest_rank, nearest_rank_of_two

_VALUES = st.lists(st.floats(0, 1e3, width=32) | st.just(float("inf")), min_size=1, max_size=60)


@given(_VALUES, st.data())
def test_any_ranks_in_any_order_are_those_of_the_sorted_values(
    values: list[float], chosen: st.DataObject
) -> None:
    """Asking again, and between ranks that were asked before, changes no answer and no value."""
    found, ordered = Ranked(np.array(values, np.float32)), np.sort(np.array(values, np.float32))
    ranks = chosen.draw(st.lists(st.integers(0, len(values) - 1), max_size=30))
    assert [found[k] for k in ranks] == [float(ordered[k]) for k in ranks]
    np.testing.assert_array_equal(np.sort(found.values), ordered)


@given(_VALUES, st.lists(st.floats(0, 1e3, width=32), max_size=20), st.floats(0.001, 1))
def test_quantiles_of_one_and_of_two_parts(
    first: list[float], second: list[float], q: float
) -> None:
    """A quantile of two parts is that of all their values."""
    union = np.sort(np.array([*first, *second], np.float32))
    parts = [Ranked(np.array(part, np.float32)) for part in (first, second)]
    assert nearest_rank_of_two(*parts, q) == nearest_rank(union, q)
    assert nearest_rank(parts[0], q) == nearest_rank(np.sort(np.array(first, np.float32)), q)
