"""A run folder read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import RunFolderError
from bench.model import Exchange, Manifest, Outcome, ServerSample
from bench.record import stored
from bench.record.folder import RunFolder
from bench.record.frame import Run, open_run

Make = Callable[..., Exchange]
Written = Callable[..., RunFolder]


@pytest.fixture
def written(tmp_path: Path, manifest: Manifest) -> Written:
    """Writes a run folder; each worker's exchanges are flushed in pairs."""

    def write(*workers: list[Exchange], end: bool = True) -> RunFolder:
        folder = RunFolder.create(tmp_path, "run", manifest)
        for worker, exchanges in enumerate(workers):
            parts = folder.sink().open(worker)
            for count, one in enumerate(exchanges, 1):
                parts.add(one)
                if count % 2 == 0:
                    parts.flush()
            parts.close()
        if end:
            total = sum(map(len, workers))
            counts = {"planned": total, "ok": total, "failed": {}, "dropped": 0, "aborted": 0}
            folder.journal("end")
            folder.finish({"reason": "finished", **counts})
        return folder

    return write


def test_instants_are_exact_seconds_after_the_start(written: Written, exchange: Make) -> None:
    """After 105 days of uptime an instant still is exact to the nanosecond."""
    folder = written([exchange(0), exchange(1)])
    folder.journal("start", start_ns=9_100_000_000_000_000 - 3)
    frame = open_run(folder.path).requests
    assert np.rint(frame["first_s"] * 1e9).tolist() == [50_001_004, 60_001_004]
    assert np.rint((frame["last_s"] - frame["first_s"]) * 1e9).tolist() == [40_000_002] * 2
    assert not [name for name in frame if str(name).endswith("_ns")]


def test_the_start_falls_back(written: Written, exchange: Make) -> None:
    """Start: the journal's, else end.json's, else the first intended start."""
    folder = written([exchange(3), exchange(1)], end=False)
    assert open_run(folder.path).start_ns == exchange(1).intended_ns
    counts = {"planned": 2, "ok": 2, "failed": {}, "dropped": 0, "aborted": 0}
    folder.finish({"reason": "finished", "start_ns": 77, **counts})
    assert open_run(folder.path).start_ns == 77
    folder.journal("start", start_ns=55)
    assert open_run(folder.path).start_ns == 55


def test_rows_of_all_workers_are_sorted_by_index(written: Written, exchange: Make) -> None:
    """One row for each request, in the order of the plan."""
    folder = written(
        [exchange(index) for index in (5, 0, 2)],
        [exchange(index, worker=1) for index in (4, 1, 3)],
    )
    frame = open_run(folder.path).requests
    assert frame["index"].tolist() == [0, 1, 2, 3, 4, 5]
    assert frame["worker"].tolist() == [0, 1, 0, 1, 1, 0]


def test_unknown_is_nan_and_types_do_not_depend_on_content(
    written: Written, exchange: Make
) -> None:
    """An empty run, a full one and one with unknowns have columns of the same types."""
    full = open_run(written([exchange(0, cached_tokens=3, status=200, error_text="e")]).path)
    bare = open_run(written([exchange(0, outcome=Outcome.ABORTED, first_ns=None)]).path)
    empty = open_run(written([]).path)
    kinds = full.requests.dtypes.map(str).to_dict()
    assert bare.requests.dtypes.map(str).to_dict() == kinds
    assert empty.requests.dtypes.map(str).to_dict() == kinds
    assert kinds["events"] == "int64" and kinds["cached_tokens"] == "float64"
    assert bare.requests["first_s"].isna().all() and bare.requests["cached_tokens"].isna().all()
    assert bare.requests["error_text"].tolist() == [None]
    assert (bare.requests["outcome"] == "aborted").all()
    assert not (bare.requests["outcome"] == "no such word").any()
    assert len(empty.requests) == 0 and list(empty.token_events()) == []


def test_token_events_belong_to_their_rows(
    written: Written, exchange: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read in batches smaller than a part, every event has its request and its exact instant."""
    monkeypatch.setattr(stored, "_EVENTS_AT_A_TIME", 4)
    made = [exchange(4), exchange(0), exchange(3), exchange(2, arrival_ns=exchange(1).arrival_ns)]
    other = [exchange(1, worker=1), exchange(5, worker=1, sent_ns=None)]
    run = open_run(written(made, other).path)
    batches = list(run.token_events())
    assert len(batches) > 3
    seen = {}
    for batch in batches:
        for place, row in enumerate(batch.rows):
            span = slice(batch.offsets[place], batch.offsets[place + 1])
            arrival_ns = np.rint(batch.arrival_s[span] * 1e9).astype(int) + run.start_ns
            seen[int(row)] = (arrival_ns.tolist(), batch.tokens[span].tolist())
    index = run.requests["index"].tolist()
    assert {index[row]: events for row, events in seen.items()} == {
        one.index: (one.arrival_ns.tolist(), one.tokens.tolist()) for one in [*made, *other]
    }


def test_a_killed_run_is_readable(written: Written, exchange: Make) -> None:
    """Without end.json the rows are there and `end` is None."""
    run = open_run(written([exchange(0)], end=False).path)
    assert run.end is None and len(run.requests) == 1 and run.defects == {}


def test_a_torn_line_is_counted(written: Written, exchange: Make) -> None:
    """The journal's last line may be cut short; the others are read."""
    folder = written([exchange(0)])
    folder.journal("start", start_ns=1)
    with (folder.path / "journal.jsonl").open("a") as file:
        file.write('{"at_ns": 12, "eve')
    run = open_run(folder.path)
    assert [line["event"] for line in run.journal] == ["end", "start"]
    assert run.defects == {"torn_journal_lines": 1}


def test_leftovers_are_counted_and_left_out(written: Written, exchange: Make) -> None:
    """Temporary files, a part cut short, and an empty one cost no other row."""
    folder = written([exchange(0), exchange(1), exchange(2)])
    requests = folder.path / "requests"
    whole = (requests / "part-000-000000.parquet").read_bytes()
    (requests / ".part-000-000009.parquet.tmp").write_bytes(whole[:100])
    (requests / "part-000-000007.parquet").write_bytes(whole[:-20])
    (requests / "part-000-000008.parquet").write_bytes(b"")
    run = open_run(folder.path)
    assert run.requests["index"].tolist() == [0, 1, 2]
    assert run.defects == {"temporary_files": 1, "damaged_parts": 2}


def test_a_part_broken_inside_is_an_error(written: Written, exchange: Make) -> None:
    """What a broken part held is not known: the error names it."""
    folder = written([exchange(0), exchange(1)])
    (part,) = (folder.path / "requests").glob("*.parquet")
    content = bytearray(part.read_bytes())
    content[4:400] = bytes(396)
    part.write_bytes(bytes(content))
    with pytest.raises(RunFolderError, match=r"part-000-000000.parquet is damaged"):
        run = open_run(folder.path)
        len(run.requests)
        list(run.token_events())


def test_an_index_seen_twice_counts_once(written: Written, exchange: Make) -> None:
    """Of rows with the same index the first counts, its events too, and the others are counted."""
    twice = exchange(1, worker=1, output_tokens=99)
    run = open_run(written([exchange(0), exchange(1)], [twice, exchange(2, worker=1)]).path)
    assert run.requests["output_tokens"].tolist() == [4, 4, 4]
    assert sum(batch.rows.size for batch in run.token_events()) == 3
    assert sum(batch.tokens.sum() for batch in run.token_events()) == 12
    assert run.defects["duplicate_rows"] == 1


def test_missing_rows_are_counted(written: Written, exchange: Make) -> None:
    """Requests that end.json accounts for and that no part holds are a defect."""
    folder = written([exchange(0), exchange(1)])
    (folder.path / "requests" / "part-000-000000.parquet").unlink()
    assert open_run(folder.path).defects == {"missing_rows": 2}


def test_unfit_values_are_counted(written: Written, exchange: Make) -> None:
    """What a part's column could not hold is told to the reader."""
    run = open_run(written([exchange(0, prompt_tokens=2**50)]).path)
    assert run.defects == {"unfit_values": 1}


def test_an_older_part_lacks_a_column(written: Written, exchange: Make) -> None:
    """A column that an older release did not write reads as unknown."""
    folder = written([exchange(0, rtt_s=1.0)])
    (part,) = (folder.path / "requests").glob("*.parquet")
    older = pq.read_table(part).drop_columns(["rtt_s", "finish_reason"])
    pq.write_table(older.replace_schema_metadata({"schema": "1"}), part)
    frame = open_run(folder.path).requests
    assert frame["rtt_s"].isna().all() and frame["finish_reason"].isna().all()
    assert frame["events"].tolist() == [3]


def test_a_part_without_an_index_is_refused(written: Written, exchange: Make) -> None:
    """A column that every release writes must be there."""
    folder = written([exchange(0)])
    (part,) = (folder.path / "requests").glob("*.parquet")
    older = pq.read_table(part).drop_columns(["index"])
    pq.write_table(older.replace_schema_metadata({"schema": "1"}), part)
    with pytest.raises(RunFolderError, match="lacks the column index"):
        len(open_run(folder.path).requests)


def test_a_part_of_this_release_has_its_columns(written: Written, exchange: Make) -> None:
    """One that lacks a column was damaged or edited: its values are not taken for unknown."""
    (part,) = (written([exchange(0)]).path / "requests").glob("*.parquet")
    pq.write_table(pq.read_table(part).drop_columns(["rtt_s"]), part)
    with pytest.raises(RunFolderError, match="not those of schema 2"):
        _ = open_run(part.parent.parent).requests


def test_a_newer_part_is_refused(written: Written, exchange: Make) -> None:
    """A part of a later schema is not guessed at."""
    folder = written([exchange(0)])
    (part,) = (folder.path / "requests").glob("*.parquet")
    pq.write_table(pq.read_table(part).replace_schema_metadata({"schema": "99"}), part)
    with pytest.raises(RunFolderError, match="schema 99; this release reads up to 2"):
        len(open_run(folder.path).requests)


def test_a_foreign_file_is_refused(written: Written, exchange: Make) -> None:
    """A Parquet file of something else among the parts is named."""
    folder = written([exchange(0)])
    pq.write_table(pa.table({"a": [1]}), folder.path / "requests" / "part-000-000005.parquet")
    with pytest.raises(RunFolderError, match="not a part of a run"):
        len(open_run(folder.path).requests)


def test_a_newer_manifest_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    """A run of a later release is refused when it is opened."""
    folder = RunFolder.create(tmp_path, "run", replace(manifest, schema=3))
    with pytest.raises(RunFolderError, match=r"manifest.json has schema 3") as caught:
        open_run(folder.path)
    assert "the release that wrote it" in caught.value.hint


def test_what_is_no_run_folder_is_said(tmp_path: Path, manifest: Manifest) -> None:
    """Missing, not a run, incomplete, not a manifest: each has its own message."""
    with pytest.raises(RunFolderError, match="no run folder at"):
        open_run(tmp_path / "none")
    with pytest.raises(RunFolderError, match=r"it has no manifest\.json"):
        open_run(tmp_path)
    folder = RunFolder.create(tmp_path, "run", manifest)
    with pytest.raises(RunFolderError, match="not a run folder") as caught:
        open_run(tmp_path)
    assert str(folder.path) in caught.value.hint
    (folder.path / "manifest.json").write_text("[]")
    with pytest.raises(RunFolderError, match="is not a manifest"):
        open_run(folder.path)
    (folder.path / "requests").rmdir()
    with pytest.raises(RunFolderError, match="no folder requests/"):
        open_run(folder.path)


def test_an_end_cut_short_is_no_end(written: Written, exchange: Make) -> None:
    """A torn end.json is a defect and the run reads as killed."""
    folder = written([exchange(0)])
    (folder.path / "end.json").write_text('{"planned": 1')
    run = open_run(folder.path)
    assert run.end is None and run.defects == {"torn_end": 1}


def test_samples_come_back_in_time_order(written: Written, exchange: Make) -> None:
    """Scrapes of several parts are one frame; equal labels are one object."""
    folder = written([exchange(0)])
    start_ns = open_run(folder.path).start_ns
    server = folder.server_parts()
    for second in (2, 1):
        at_ns = start_ns + second * 1_000_000_000
        server.add([ServerSample(at_ns, "s", "n", {"b": "2", "a": "1"}, second)])
        server.add([ServerSample(at_ns, "s", "m", {}, float("nan"))])
        server.flush()
        server = folder.server_parts()
    frame = open_run(folder.path).server
    assert list(frame) == ["at_s", "source", "name", "labels", "value"]
    assert frame["at_s"].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert frame["name"].tolist() == ["n", "m", "n", "m"]
    assert frame["labels"].tolist() == [(("a", "1"), ("b", "2")), ()] * 2
    assert frame["labels"][0] is frame["labels"][2]
    assert frame["value"].isna().tolist() == [False, True, False, True]


def test_a_run_without_scrapes_has_an_empty_frame(written: Written, exchange: Make) -> None:
    """No sample is an empty frame with the same columns, not an error."""
    frame = open_run(written([exchange(0)]).path).server
    assert list(frame) == ["at_s", "source", "name", "labels", "value"] and len(frame) == 0


def test_a_run_ends_with_the_last_instant_of_any_request(written: Written, exchange: Make) -> None:
    """Nothing recorded of a request lies behind it."""
    run = open_run(written([exchange(0), exchange(1), exchange(2)]).path)
    assert run.end_s == pytest.approx(0.110_001_008, abs=1e-12)


def test_defects_of_a_whole_run_are_none(synthetic_run: Callable[..., Path]) -> None:
    """A run that ended well has an empty list of defects."""
    run = Run(synthetic_run(requests=20, workers=2))
    assert run.defects == {}
    assert run.end is not None and run.end["unaccounted"] == 0
    assert json.loads((run.path / "manifest.json").read_text()) == run.manifest


@pytest.mark.parametrize(
    "end",
    [
        {"ok": 1, "failed": {}, "dropped": 0},
        {"ok": "1", "failed": {}, "dropped": 0, "aborted": 0},
        {"ok": -1, "failed": {}, "dropped": 0, "aborted": 0},
        {"ok": 1, "failed": {"x": None}, "dropped": 0, "aborted": 0},
        {"ok": 1, "failed": {}, "dropped": 0, "aborted": 0, "client": {"workers": [5]}},
        {"ok": 1, "failed": {}, "dropped": 0, "aborted": 0, "client": 5},
    ],
)
def test_an_end_of_another_shape_is_no_end(
    written: Written, exchange: Make, end: dict[str, Any]
) -> None:
    """A balance that holds no counts balances nothing: the run reads as killed."""
    folder = written([exchange(0)])
    (folder.path / "end.json").write_text(json.dumps({"planned": 1, **end}))
    run = open_run(folder.path)
    assert run.end is None
    assert run.defects == {"torn_end": 1}


@pytest.mark.parametrize(
    "line",
    [
        {"event": "second"},
        {"at_ns": 5},
        {"at_ns": "5", "event": "second"},
        {"at_ns": 5, "event": "second", "stall_max_s": None},
        {"at_ns": 5, "event": "scrapes", "source": "a", "done": "x"},
    ],
)
def test_a_line_of_another_shape_is_torn(
    written: Written, exchange: Make, line: dict[str, Any]
) -> None:
    """A line whose numbers are none is left out and counted, as one that was cut short is."""
    folder = written([exchange(0)])
    with (folder.path / "journal.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    run = open_run(folder.path)
    assert len(run.journal) == 1
    assert run.defects == {"torn_journal_lines": 1}


def test_a_journal_that_lacks_the_end_is_cut(written: Written, exchange: Make) -> None:
    """A journal that is gone, while the run ended, is a defect."""
    folder = written([exchange(0)])
    (folder.path / "journal.jsonl").unlink()
    assert open_run(folder.path).defects == {"cut_journal": 1}


def test_scrapes_that_the_journal_counts_and_no_part_holds_are_missing(
    written: Written, exchange: Make
) -> None:
    """A part of the scrapes that is gone is told, though every part that is left can be read."""
    folder = written([exchange(0)])
    server = folder.server_parts()
    server.add([ServerSample(at_ns, "a", "up", {}, up) for at_ns, up in ((1, 1.0), (2, 0.0))])
    server.close()
    folder.journal("scrapes", source="a", done=3, failed=1)
    assert open_run(folder.path).defects == {"missing_scrapes": 2}


def test_a_bit_that_flipped_is_no_other_number(written: Written, exchange: Make) -> None:
    """Whatever byte before the footer is damaged, the part is an error: pages have checksums."""
    (part,) = (written([exchange(k) for k in range(2)]).path / "requests").glob("*.parquet")
    whole = part.read_bytes()
    folder = part.parent.parent
    before = open_run(folder).requests
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    for place in range(0, len(whole) - footer, 7):
        damaged = bytearray(whole)
        damaged[place] ^= 16
        part.write_bytes(damaged)
        try:
            run = open_run(folder)
            rows = run.requests
        except RunFolderError:
            continue
        assert run.defects or rows.equals(before), place
