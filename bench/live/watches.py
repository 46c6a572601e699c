"""Several who look on while one run is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.conduct.preflight import Ready
    from bench.conduct.run import Watch
    from bench.conduct.tally import Totals


class Watches:
    """A `bench.conduct.run.Watch` that tells each of `watches`, in this order."""

    def __init__(self, *watches: Watch) -> None:
        self._watches = watches

    def note(self, text: str) -> None:
        for watch in self._watches:
            watch.note(text)

    def began(self, folder: Path, ready: Ready) -> None:
        for watch in self._watches:
            watch.began(folder, ready)

    def second(self, totals: Totals, elapsed_s: float) -> None:
        for watch in self._watches:
            watch.second(totals, elapsed_s)
