"""How a run's pace is divided among its workers, and what this machine lets it have."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.conduct.preflight import (
    check_folder,
    check_limits,
    pace_of,
    prepare,
    shares,
    useful_workers,
)
from bench.errors import UsageError
from bench.load.pace import Pace
from bench.model import Target
from bench.workload.resolve import Overrides, override, recipe_of_lengths


@given(
    total=st.none() | st.integers(0, 1000),
    cap=st.none() | st.integers(0, 1000),
    workers=st.integers(1, 20),
)
def test_slots_and_caps_are_divided_evenly_and_wholly(
    total: int | None, cap: int | None, workers: int
) -> None:
    """Nothing is lost, and no share is larger than another by more than one; times are the same."""
    pace = Pace(total, ramp_s=2.0, max_concurrency=cap, duration_s=9.0)
    parts = shares(pace, workers)
    assert len(parts) == workers
    for name, whole in (("concurrency", total), ("max_concurrency", cap)):
        each = [getattr(part, name) for part in parts]
        if whole is None:
            assert set(each) == {None}
        else:
            assert sum(each) == whole
            assert max(each) - min(each) <= 1
    assert {(part.ramp_s, part.duration_s, part.drain_s) for part in parts} == {(2.0, 9.0, 60.0)}


@pytest.mark.parametrize(
    ("wanted", "slots", "cap", "requests", "workers"),
    [(4, None, None, None, 4), (4, 2, None, 100, 2), (4, None, 3, 100, 3), (4, 8, None, 1, 1),
     (4, 8, None, 0, 1), (1, 8, None, 100, 1)],
)  # fmt: skip
def test_no_worker_is_without_work(
    wanted: int, slots: int | None, cap: int | None, requests: int | None, workers: int
) -> None:
    """A worker without a slot, or room under the cap, could send nothing of its shard."""
    assert useful_workers(wanted, Pace(slots, max_concurrency=cap), requests) == workers


def test_a_closed_loop_has_slots_and_an_open_one_a_cap() -> None:
    """The recipe's arrivals decide which."""
    recipe = recipe_of_lengths(8, 8)
    closed = pace_of(override(recipe, Overrides(concurrency=5, requests=10)))
    assert (closed.concurrency, closed.max_concurrency) == (5, None)
    opened = pace_of(override(recipe, Overrides(rate_rps=2.0, max_concurrency=7, duration_s=30)))
    assert (opened.concurrency, opened.max_concurrency, opened.duration_s) == (None, 7, 30.0)


# -- what the machine allows -------------------------------------------------------------------


@pytest.fixture
def open_files(monkeypatch: pytest.MonkeyPatch) -> int:
    """The hard limit of open files, made small."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (200, 200))
    return 200


@pytest.mark.parametrize(("connections", "workers"), [(136, 1), (272, 2)])
def test_as_many_connections_as_open_files(open_files: int, connections: int, workers: int) -> None:
    """Each worker has its share of them, and needs 64 files beside; one more is too many."""
    check_limits(connections, workers)
    with pytest.raises(UsageError, match=f"need 201 open files each.* limit is {open_files}") as no:
        check_limits(connections + 1, workers)
    assert "ulimit -Hn 201" in no.value.hint


def test_open_files_are_counted_before_the_server_is_asked(open_files: int) -> None:
    """Of a closed loop the number of connections is known at once: nothing listens, no matter."""
    recipe = override(recipe_of_lengths(8, 8), Overrides(concurrency=1000, requests=10))

    async def main() -> None:
        await prepare(
            recipe, Target("http://127.0.0.1:1", "m"), family=None, metrics_url=None, workers=1,
            announce=lambda text: None,
        )  # fmt: skip

    with pytest.raises(UsageError, match="need 1064 open files"):
        asyncio.run(main())


def test_as_many_connections_as_local_ports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A connection has a local port, and a tenth of the range is left to others."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (10**6, 10**6))
    range_file = tmp_path / "range"
    range_file.write_text("32768\t33768\n")
    monkeypatch.setattr("bench.conduct.preflight.PORT_RANGE", range_file)
    check_limits(900, 1)
    with pytest.raises(UsageError, match=r"901 connection.* has 1000 ") as no:
        check_limits(901, 1)
    assert "sysctl -w net.ipv4.ip_local_port_range" in no.value.hint
    monkeypatch.setattr("bench.conduct.preflight.PORT_RANGE", tmp_path / "none")
    check_limits(901, 1)


def test_a_folder_that_takes_no_run_is_refused(tmp_path: Path) -> None:
    """A file in its way, or a file system that takes nothing; one that is to be made is good."""
    check_folder(tmp_path / "new" / "deep")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file", tmp_path / "file" / "runs", Path("/proc/runs")):
        with pytest.raises(UsageError, match="can't make a run folder") as caught:
            check_folder(bad)
        assert "-o" in caught.value.hint
