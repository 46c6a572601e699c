"""What a worker knows of its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.load.worker import peak_rss_bytes

PARENT = """
import subprocess, sys
held = bytearray(300_000_000)
tell = "from bench.load.worker import peak_rss_bytes; print(peak_rss_bytes())"
print(subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True).stdout)
"""


def test_a_peak_is_not_that_of_the_process_it_came_from() -> None:
    """A child of a process of 300 MB, which ru_maxrss would show, has used far less itself."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT], capture_output=True, text=True, check=True
    )
    assert 5e6 < int(done.stdout) < 250e6


def test_without_proc_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems have no /proc/self/status: unknown, and not 0."""

    def absent(path: Path, *arguments: object, **options: object) -> str:
        raise FileNotFoundError(2, "No such file or directory")

    assert peak_rss_bytes() is not None
    monkeypatch.setattr(Path, "read_text", absent)
    assert peak_rss_bytes() is None
