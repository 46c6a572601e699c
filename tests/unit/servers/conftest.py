"""Fixtures of the servers' unit tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

CAPTURES = Path(__file__).resolve().parents[3].parent / "shared" / "captures"


@pytest.fixture
def capture() -> Callable[[str], str]:
    """The body of one captured answer of a real server; skips where the captures are absent."""

    def body(name: str) -> str:
        path = CAPTURES / name
        if not path.is_file():
            pytest.skip(f"no captures of real servers beside the checkout ({path.parent})")
        _, _, text = path.read_bytes().decode().replace("\r\n", "\n").partition("\n\n")
        return text

    return body
