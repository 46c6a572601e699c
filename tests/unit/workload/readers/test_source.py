"""Opening, decompressing, numbering lines, and refusing what is no trace."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from bench.errors import TraceError
from bench.workload.readers import TraceReading, detect, read, source

Reader = Callable[..., TraceReading]

ROW = '{"timestamp": 0, "input_length": 3, "output_length": 1, "hash_ids": [7]}\n'


def zstd(content: bytes) -> bytes:
    return bytes(pyarrow.compress(content, codec="zstd", asbytes=True))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_compression_is_found_by_content_not_by_name(
    reading: Reader, pack: Callable[[bytes], bytes]
) -> None:
    """Plain, gzip and zstd bytes give the same rows under any file name."""
    rows = list(reading(pack(ROW.encode() * 3), name="trace.txt"))
    assert [row.block_ids for row in rows] == [(7,)] * 3


def test_blank_lines_are_passed_over_and_numbers_kept(reading: Reader) -> None:
    """A row's line is its line in the file, blank lines counted."""
    assert [row.line for row in reading(f"\n{ROW}\n\n{ROW}")] == [2, 5]


def test_a_byte_order_mark_is_no_part_of_the_first_line(reading: Reader) -> None:
    """A file that begins with a UTF-8 BOM is recognised and read."""
    assert len(list(reading(b"\xef\xbb\xbf" + ROW.encode()))) == 1


def test_a_lfs_pointer_is_named_as_such(tmp_path: Path) -> None:
    """A Git-LFS pointer is refused with what it is and how to get the file."""
    pointer = tmp_path / "qwen.jsonl"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(TraceError, match="Git-LFS pointer") as refused:
        read(pointer)
    assert "git lfs pull" in refused.value.hint


def test_a_missing_file_is_a_trace_error(tmp_path: Path) -> None:
    """A path that is not there is told as a mistake, with the path."""
    with pytest.raises(TraceError, match=r"gone\.jsonl can't be read"):
        read(tmp_path / "gone.jsonl")


def test_a_truncated_gzip_file_ends_in_an_error_not_in_fewer_rows(reading: Reader) -> None:
    """Rows before the break are given, then an error; a broken download never passes as whole."""
    content = gzip.compress(b"".join(ROW.encode() for _ in range(200_000)))
    opened = reading(content[: len(content) // 2])
    with pytest.raises(TraceError, match="can't be read"):
        list(opened)


def test_an_unknown_format_shows_how_the_file_begins_and_what_is_known(tmp_path: Path) -> None:
    """The error of detection quotes the first characters and lists the formats."""
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><title>404</title>")
    with pytest.raises(TraceError, match="<!doctype html>") as refused:
        detect(path)
    assert "mooncake" in refused.value.hint


def test_a_wrong_format_name_gets_the_nearest_one(reading: Reader) -> None:
    """A mistyped format is answered with the one that was probably meant."""
    with pytest.raises(TraceError, match="'moncake' is not known") as refused:
        reading(ROW, format_name="moncake")
    assert "'mooncake'" in refused.value.hint


def test_a_line_over_the_limit_is_refused(reading: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than the limit ends in an error that names it, not in a full memory."""
    monkeypatch.setattr(source, "LONGEST_ITEM_BYTES", 100)
    with pytest.raises(TraceError, match="line 2 is longer than 100 bytes"):
        list(reading(ROW + "x" * 200 + "\n"))


def test_a_bad_row_names_file_line_field_and_value(reading: Reader) -> None:
    """The error of a bad row says where it is, what was expected and what was there."""
    bad = ROW.replace('"input_length": 3', '"input_length": -3')
    with pytest.raises(
        TraceError, match=r"trace: line 2: input_length must be .*, got -3"
    ) as wrong:
        list(reading(ROW + bad))
    assert "--skip-bad" in wrong.value.hint


def test_skip_bad_allows_so_many_and_counts_them(reading: Reader) -> None:
    """N bad rows are skipped and counted; one more ends the reading."""
    lines = ROW + "not json\n" + ROW + "[]\n" + ROW
    opened = reading(lines, skip_bad=2)
    assert len(list(opened)) == 3
    assert opened.counts["bad"] == 2
    with pytest.raises(TraceError, match="line 4"):
        list(reading(lines, skip_bad=1))


def test_reading_takes_no_more_of_the_file_than_is_asked_for(reading: Reader) -> None:
    """Rows come one at a time: a bad row is not met before it is reached."""
    rows = iter(reading(ROW + "not json\n"))
    assert next(rows).input_tokens == 3
    with pytest.raises(TraceError):
        next(rows)


def test_what_holds_nothing_or_another_encoding_is_told_so(tmp_path: Path) -> None:
    """An empty file, an empty folder and UTF-16 are not called unknown formats."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "blank").write_text("\n\n")
    (tmp_path / "wide").write_text("{}", "utf-16")
    for name, why in (("folder", "is empty"), ("blank", "is empty"), ("wide", "got UTF-16")):
        with pytest.raises(TraceError, match=why):
            detect(tmp_path / name)
