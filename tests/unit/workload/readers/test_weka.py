"""Weka sessions: floor rule, local ids, think times, sub-agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import TraceError
from bench.workload.readers import ReadOptions, read


def request(tokens: int, ids: list[int], **fields: Any) -> dict[str, Any]:
    return {"t": 0.0, "type": "n", "in": tokens, "out": 9, "hash_ids": ids, **fields}


def session(folder: Path, name: str, *requests: dict[str, Any], block_size: int = 64) -> Path:
    path = folder / f"{name}.json"
    body = {"id": name, "block_size": block_size, "hash_id_scope": "local", "requests": requests}
    path.write_text(json.dumps(body))
    return path


def test_only_whole_blocks_have_ids(tmp_path: Path) -> None:
    """129 tokens in blocks of 64 have 2 ids; with 3 the row is bad."""
    good = session(tmp_path, "good", request(129, [1, 2]))
    opened = read(good)
    assert [row.input_tokens for row in opened] == [129]
    assert (opened.format, opened.block_tokens, opened.block_rule) == ("weka", 64, "floor")
    bad = session(tmp_path, "bad", request(129, [1, 2, 3]))
    with pytest.raises(TraceError, match=r"request 1 of bad\.json: hash_ids: expected 2 ids"):
        list(read(bad))


def test_ids_of_two_sessions_never_meet(tmp_path: Path) -> None:
    """Ids are local to a file: the same number in two files is two blocks."""
    session(tmp_path, "a", request(128, [1, 2]), request(192, [1, 2, 3], think_time=4.5))
    session(tmp_path, "b", request(64, [1]))
    (tmp_path / "README.md").write_text("not a session")
    rows = list(read(tmp_path))
    ids = [row.block_ids or () for row in rows]
    assert ids[1][:2] == ids[0]
    assert not set(ids[2]) & set(ids[1])
    assert [row.session for row in rows] == ["a", "a", "b"]


def test_think_time_is_between_turns_and_no_start_is_known(tmp_path: Path) -> None:
    """Later turns wait their think time; sessions have no recorded start."""
    path = session(tmp_path, "a", request(1, [], think_time=0.0), request(2, [], think_time=4.5))
    rows = list(read(path))
    assert [row.think_s for row in rows] == [None, 4.5]
    assert [row.at_s for row in rows] == [None, None]


def test_a_subagent_is_a_session_that_shares_the_ids_around_it(tmp_path: Path) -> None:
    """A sub-agent's requests come after, under a name of their own, with the parent's ids."""
    agent = {"type": "subagent", "agent_id": "x", "requests": [request(64, [1], think_time=7.0)]}
    opened = read(session(tmp_path, "a", request(64, [1]), agent, request(64, [2])))
    rows = list(opened)
    assert [(row.session, row.block_ids) for row in rows] == [
        ("a", (1,)), ("a", (2,)), ("a/x", (1,)),
    ]  # fmt: skip
    assert rows[2].think_s is None
    assert opened.counts["subagents"] == 1


def test_sub_agents_nest_only_so_deep(tmp_path: Path) -> None:
    """A file that nests sub-agents without end is an error, not a crash."""
    agent: dict[str, Any] = {"type": "subagent", "requests": []}
    for _ in range(100):
        agent = {"type": "subagent", "requests": [agent]}
    with pytest.raises(TraceError, match="at most 16 sub-agents deep"):
        list(read(session(tmp_path, "a", agent)))


def test_bad_requests_can_be_skipped(tmp_path: Path) -> None:
    """A bad request is counted like a bad row of any file."""
    path = session(tmp_path, "a", request(64, [2**41]), {"type": "n"}, request(64, [1]))
    opened = read(path, options=ReadOptions(skip_bad=2))
    assert [row.block_ids for row in opened] == [(1,)]
    assert opened.counts["bad"] == 2


def test_block_sizes_must_agree(tmp_path: Path) -> None:
    """Sessions of two block sizes can't be one trace; the error names both."""
    session(tmp_path, "a", request(64, [1]))
    session(tmp_path, "b", request(64, [1, 2]), block_size=32)
    with pytest.raises(TraceError, match=r"b\.json: block_size 32 differs from 64"):
        list(read(tmp_path))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """A folder without sessions is an error, not an empty trace."""
    with pytest.raises(TraceError, match="no session files"):
        read(tmp_path, "weka")
