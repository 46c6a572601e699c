"""bench.workload.spool: bytes by offset in a file without a name, given to other processes."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.workload.spool import Spool, SpoolWriter

KILLED_WHILE_PLANNING = """
import os, signal
from bench.workload.spool import SpoolWriter
writer = SpoolWriter()
writer.append(b"x" * (2 << 20))
kept = writer.finish()
half = SpoolWriter()
half.append(b"x" * (2 << 20))
os.kill(os.getpid(), signal.SIGKILL)
"""


def spooled(*pieces: bytes) -> tuple[Spool, list[int]]:
    writer = SpoolWriter()
    offsets = [writer.append(piece) for piece in pieces]
    return writer.finish(), offsets


def test_pieces_are_read_back() -> None:
    """Each piece is at its offset, and the digest is of all of them."""
    spool, offsets = spooled(b"one", b"", b"three")
    assert offsets == [0, 3, 3]
    assert spool.read(0, 3) == b"one"
    assert spool.read(3, 5) == b"three"
    assert spool.digest == hashlib.sha256(b"onethree").hexdigest()


def test_a_copy_in_another_process_reads_the_same_file(sent: Callable[[Spool], Spool]) -> None:
    """A pickled spool has a descriptor of its own; neither needs the other."""
    spool, _ = spooled(b"content")
    copy = sent(spool)
    assert copy.digest == spool.digest
    del spool
    gc.collect()
    assert copy.read(0, 7) == b"content"


def test_a_killed_process_leaves_no_file(tmp_path: Path) -> None:
    """Neither a spool that is being written nor a finished one is in any folder."""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", KILLED_WHILE_PLANNING], env=environ, check=False)
    assert ended.returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_no_descriptor_is_left() -> None:
    """It is closed when the plan goes, and with a writer that came to nothing."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    spool, _ = spooled(b"content")
    half = SpoolWriter()
    half.append(b"x")
    half.discard()
    del spool
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No space is told where a piece is written and where the last of them are."""

    def full(buffering: int) -> object:
        return Path("/dev/full").open("wb", buffering)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    writer = SpoolWriter()
    writer.append(b"buffered")
    for write in (lambda: writer.append(b"x" * (2 << 20)), writer.finish):
        with pytest.raises(UsageError, match="No space left") as caught:
            write()
        assert "TMPDIR" in caught.value.hint


def test_no_folder_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing temporary can be written, the message says what to set."""
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    with pytest.raises(UsageError, match="can't be written") as caught:
        SpoolWriter()
    assert "TMPDIR" in caught.value.hint
