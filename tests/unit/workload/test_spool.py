"""bench.workload.spool: bytes by offset, shared by path, removed by their owner."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.workload.spool import Spool, SpoolWriter


def spooled(folder: Path, *pieces: bytes) -> tuple[Spool, list[int]]:
    writer = SpoolWriter(folder)
    offsets = [writer.append(piece) for piece in pieces]
    return writer.finish(), offsets


def test_pieces_are_read_back(tmp_path: Path) -> None:
    """Each piece is at its offset, and the digest is of all of them."""
    spool, offsets = spooled(tmp_path, b"one", b"", b"three")
    assert offsets == [0, 3, 3]
    assert spool.read(0, 3) == b"one"
    assert spool.read(3, 5) == b"three"
    assert spool.digest == hashlib.sha256(b"onethree").hexdigest()


def test_a_copy_in_another_process_reads_the_same_file(tmp_path: Path) -> None:
    """A pickled spool opens the file by its path and leaves it there when it goes."""
    spool, _ = spooled(tmp_path, b"content")
    copy = pickle.loads(pickle.dumps(spool))
    assert copy.read(0, 7) == b"content"
    del copy
    gc.collect()
    assert spool.read(0, 7) == b"content"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_owner_removes_the_file(tmp_path: Path) -> None:
    """Nothing is left on disk, and no descriptor, when the plan goes."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    spool, _ = spooled(tmp_path, b"content")
    del spool
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_discarded_writer_leaves_nothing(tmp_path: Path) -> None:
    """A plan that came to nothing leaves no file."""
    writer = SpoolWriter(tmp_path)
    writer.append(b"x")
    writer.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told() -> None:
    """Writing where no space is left names the file and what to do."""
    writer = SpoolWriter()
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    writer._file.close()
    writer._file = full
    with pytest.raises(UsageError, match="can't be written") as caught:
        writer.append(b"x")
    full.close()
    assert "TMPDIR" in caught.value.hint
