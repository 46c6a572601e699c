"""Parts of a run folder."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.errors import NotValidError
from bench.model import Exchange, Outcome, ServerSample
from bench.record import parts
from bench.record.columns import REQUESTS, SERVER
from bench.record.parts import PartSink, RequestParts, ServerParts

Make = Callable[..., Exchange]


def rows(folder: Path) -> list[dict[str, object]]:
    """All rows of all parts, in the order of the parts."""
    files = sorted((folder / "requests").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_row_holds_the_exchange(tmp_path: Path, exchange: Make) -> None:
    """Every scalar field of an exchange is a column of the same name and value."""
    written = exchange(7, error_text="late", status=200, rtt_s=0.5, finish_reason="stop")
    sink = PartSink(tmp_path).open(3)
    sink.add(written)
    assert sink.flush() == 1
    (row,) = rows(tmp_path)
    scalars = {name for name in row if name not in ("arrival_delta_ns", "tokens")}
    assert scalars == set(Exchange.__dataclass_fields__) - {"arrival_ns", "tokens"}
    assert {name: row[name] for name in scalars} == {
        name: getattr(written, name) for name in scalars
    }
    assert names(tmp_path / "requests") == ["part-003-000000.parquet"]


def test_deltas_count_from_the_send(tmp_path: Path, exchange: Make) -> None:
    """The first delta counts from sent_ns, the others from the event before."""
    sink = RequestParts(tmp_path, 0)
    sink.add(exchange(0))
    sink.add(exchange(1, arrival_ns=array("q"), tokens=array("i")))
    sink.add(exchange(2))
    sink.flush()
    deltas = [row["arrival_delta_ns"] for row in rows(tmp_path)]
    assert deltas == [
        [50_000_001, 20_000_001, 20_000_001],
        [],
        [50_000_001, 20_000_001, 20_000_001],
    ]
    assert [row["tokens"] for row in rows(tmp_path)] == [[1, 2, 1], [], [1, 2, 1]]


def test_deltas_without_a_send_count_from_the_intended_start(
    tmp_path: Path, exchange: Make
) -> None:
    """Where sent_ns is unknown the first delta counts from intended_ns."""
    sink = RequestParts(tmp_path, 0)
    sink.add(exchange(0, sent_ns=None))
    sink.flush()
    assert rows(tmp_path)[0]["arrival_delta_ns"] == [50_001_001, 20_000_001, 20_000_001]


def test_files_have_the_published_schema(tmp_path: Path, exchange: Make) -> None:
    """A part's schema, nullability and version are those of `columns`."""
    sink, server = RequestParts(tmp_path, 0), ServerParts(tmp_path)
    sink.add(exchange())
    server.add([ServerSample(1, "s", "n", {"b": "2", "a": "1"}, 0.5)])
    sink.close()
    server.close()
    stored = pq.read_schema(tmp_path / "requests" / "part-000-000000.parquet")
    assert stored.equals(REQUESTS) and stored.metadata == {b"schema": b"2"}
    assert pq.read_schema(tmp_path / "server" / "part-000000.parquet").equals(SERVER)


def test_nothing_to_write_makes_no_file(tmp_path: Path) -> None:
    """A flush without rows writes 0 rows and no file."""
    assert RequestParts(tmp_path, 0).flush() == 0
    assert names(tmp_path / "requests") == []


def test_a_part_grows_until_it_is_full(
    tmp_path: Path, exchange: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flushes lengthen the newest part; a full one is left alone and the next begins."""
    monkeypatch.setattr(parts, "_FULL_EXCHANGES", 4)
    sink = RequestParts(tmp_path, 0)
    written = []
    for first in (0, 2, 4):
        sink.add(exchange(first))
        sink.add(exchange(first + 1))
        written.append(sink.flush())
    assert written == [2, 2, 2]
    files = sorted((tmp_path / "requests").iterdir())
    assert [pq.read_metadata(file).num_rows for file in files] == [4, 2]
    assert [row["index"] for row in rows(tmp_path)] == [0, 1, 2, 3, 4, 5]


def test_a_worker_opened_again_overwrites_nothing(tmp_path: Path, exchange: Make) -> None:
    """Numbers go on after those that are there."""
    for index in (0, 1):
        sink = RequestParts(tmp_path, 0)
        sink.add(exchange(index))
        sink.close()
    assert [row["index"] for row in rows(tmp_path)] == [0, 1]


def test_a_value_too_large_for_its_column_is_null_and_counted(
    tmp_path: Path, exchange: Make
) -> None:
    """What a server says can't lose a row: the value becomes null, the part says how many."""
    sink = RequestParts(tmp_path, 0)
    sink.add(exchange(0, prompt_tokens=2**40, cached_tokens=5))
    sink.add(exchange(1, prompt_tokens=6, error_text="\ud800 half a character"))
    sink.flush()
    assert [row["prompt_tokens"] for row in rows(tmp_path)] == [None, 6]
    assert rows(tmp_path)[0]["cached_tokens"] == 5
    assert rows(tmp_path)[1]["error_text"] == "\\ud800 half a character"
    (file,) = (tmp_path / "requests").iterdir()
    assert pq.read_schema(file).metadata[b"unfit"] == b'{"prompt_tokens": 1}'


@pytest.mark.parametrize("tokens", [array("i", [1, 1]), array("q", [1, 1, 1])])
def test_arrivals_and_tokens_must_match(tmp_path: Path, exchange: Make, tokens: array[int]) -> None:
    """Lists of unlike length or width are a bug that is named, not written."""
    sink = RequestParts(tmp_path, 0)
    sink.add(exchange(0, tokens=tokens))
    with pytest.raises(ValueError, match="arrival_ns and tokens differ"):
        sink.flush()


def test_a_full_disk_is_one_clear_error(tmp_path: Path, exchange: Make) -> None:
    """ENOSPC: NotValidError, older parts stay, no temporary file, rows wait for the next flush."""
    before = RequestParts(tmp_path, 0)
    before.add(exchange(0))
    before.close()
    sink = RequestParts(tmp_path, 0)
    sink.add(exchange(1))
    (tmp_path / "requests" / ".part-000-000001.parquet.tmp").symlink_to("/dev/full")
    with pytest.raises(NotValidError, match="no space left") as caught:
        sink.flush()
    assert "can be read" in caught.value.hint
    assert names(tmp_path / "requests") == ["part-000-000000.parquet"]
    assert [row["index"] for row in rows(tmp_path)] == [0]
    assert sink.flush() == 1
    assert [row["index"] for row in rows(tmp_path)] == [0, 1]


def test_a_folder_that_went_away_is_an_error(tmp_path: Path, exchange: Make) -> None:
    """A run folder removed during the run is named."""
    sink = RequestParts(tmp_path, 0)
    (tmp_path / "requests").rmdir()
    sink.add(exchange())
    with pytest.raises(NotValidError, match=r"can't write .*part-000-000000.parquet"):
        sink.flush()


def test_nothing_is_lost_between_two_threads(tmp_path: Path, exchange: Make) -> None:
    """Rows added during flushes are each written once."""
    sink = RequestParts(tmp_path, 0)
    adding = threading.Event()
    made = [exchange(index) for index in range(3_000)]

    def add_all() -> None:
        for one in made:
            sink.add(one)
        adding.set()

    thread = threading.Thread(target=add_all)
    thread.start()
    while not adding.is_set():
        sink.flush()
    thread.join()
    sink.close()
    assert [row["index"] for row in rows(tmp_path)] == list(range(3_000))


def test_the_sink_travels_and_hides_its_secrets(tmp_path: Path, exchange: Make) -> None:
    """A sink survives pickling, shows no secret, and removes it from servers' error texts."""
    sink = pickle.loads(pickle.dumps(PartSink(tmp_path, ("hunter2222",))))
    assert "hunter2222" not in repr(sink)
    writer = sink.open(0)
    failed = exchange(0, outcome=Outcome.FAILED, error_text="bad key hunter2222, try again")
    writer.add(failed)
    writer.close()
    assert rows(tmp_path)[0]["error_text"] == "bad key ***, try again"


def test_the_first_flush_imports_nothing(tmp_path: Path) -> None:
    """Opening does the slow imports, so that none falls into the measured window."""
    script = (
        "import sys; from pathlib import Path\n"
        "from bench.model import Exchange, Outcome, Phase\n"
        "from bench.record.parts import PartSink\n"
        f"parts = PartSink(Path({str(tmp_path)!r})).open(0)\n"
        "before = set(sys.modules)\n"
        "parts.add(Exchange(0, 0, 0, 0, Phase.MAIN, Outcome.OK, 0, status=200))\n"
        "assert parts.flush() == 1\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_labels_are_sorted(tmp_path: Path) -> None:
    """Equal sets of labels are stored alike, whatever their order was."""
    parts_of_server = ServerParts(tmp_path)
    parts_of_server.add(
        [ServerSample(1, "s", "n", {"b": "2", "a": "1"}, 0.5), ServerSample(2, "s", "n", {}, 1.5)]
    )
    assert parts_of_server.flush() == 2
    (file,) = (tmp_path / "server").iterdir()
    assert [row["labels"] for row in pq.read_table(file).to_pylist()] == [
        [("a", "1"), ("b", "2")],
        [],
    ]
