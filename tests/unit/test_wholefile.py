"""bench.wholefile: a file is whole or absent; what is no file is written, not replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.wholefile import whole_file


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """The old content is there until the new one is whole, and stays where writing fails."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="disk"), whole_file(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise OSError("disk")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
    with whole_file(path) as temporary:
        temporary.write_text("new")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("new", [path])


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    """`-o /dev/stdout`, as root, must not put a file in the place of the device."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with whole_file(path) as written:
        written.write_text("content")
    assert (path.is_fifo(), os.read(reader, 100)) == (True, b"content")
    os.close(reader)
