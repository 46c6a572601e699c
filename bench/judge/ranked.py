"""Order statistics that are found when they are asked for."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray


class Ranked:
    """Values of which a few ranks are wanted: `ranked[k]` is the (k + 1)-th least, k from 0.

    `values` are reordered in place, divided about every rank that was asked for (quickselect,
    Hoare, CACM 4, 1961), so that 200 million gaps are not sorted for a dozen percentiles.  They
    must hold no NaN.
    """

    __slots__ = ("_placed", "values")

    def __init__(self, values: NDArray[np.floating]) -> None:
        self.values = values
        self._placed: list[int] = []

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, k: int) -> float:
        at = bisect_left(self._placed, k)
        if at == len(self._placed) or self._placed[at] != k:
            low = self._placed[at - 1] + 1 if at else 0
            high = self._placed[at] if at < len(self._placed) else len(self.values)
            self.values[low:high].partition(k - low)
            self._placed.insert(at, k)
        return float(self.values[k])
