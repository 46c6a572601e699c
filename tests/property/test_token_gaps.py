"""What one pass over the tokens reduces, against the plain way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.tokens import GapBatch, longest_share_mean


@given(st.lists(st.integers(0, 25), max_size=12), st.integers(0, 2**32 - 1))
def test_the_longest_share_is_of_each_requests_own_gaps(counts: list[int], seed: int) -> None:
    """For requests of any lengths, side by side, it is the mean of the greatest ⌈10 %⌉ of each."""
    gaps = np.random.default_rng(seed).exponential(size=sum(counts)).astype(np.float32)
    batch = GapBatch(np.arange(len(counts)), np.array(counts, np.int64), gaps)
    found = longest_share_mean(batch, 0.1)
    edges = np.cumsum([0, *counts])
    for k, count in enumerate(counts):
        mine = sorted(gaps[edges[k] : edges[k + 1]].tolist())
        longest = mine[count - math.ceil(count / 10) :]
        expected = sum(longest) / len(longest) if longest else math.nan
        assert found[k] == pytest.approx(expected, nan_ok=True)
