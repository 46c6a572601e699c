"""Weka (kv-cache-tester) sessions: agentic coding, block hashes local to a session, think times.

Source: callanjfox/kv-cache-tester.  A folder of JSON files, or one of them; each is a session with
`block_size`, `hash_id_scope` and `requests` of `in`, `out`, `hash_ids` and `think_time` (seconds
after the end of the request before).  Only whole blocks have an id (rule `floor`).  Ids are local
to their file, so each file's are moved into a range of its own.  A sub-agent's requests share the
ids of the session around it and are given as a session of their own; sessions have no start times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.errors import TraceError
from bench.model import TraceRow
from bench.workload.readers import fields
from bench.workload.readers.limits import LARGEST_SESSION_BYTES
from bench.workload.readers.reading import Blocks, Sample, TraceFormat
from bench.workload.readers.source import Source, opened

_Turn = tuple[str, int, dict[str, Any]]
"""Session name, offset of its ids, request."""

_MOST_LOCAL_ID = 2**40
_DEEPEST_AGENT = 16


def _sniff(sample: Sample) -> bool:
    return (
        sample.head.lstrip()[:1] == b"{"
        and b'"requests"' in sample.head
        and (b'"block_size"' in sample.head or b'"hash_id_scope"' in sample.head)
    )


def _read(source: Source) -> tuple[Blocks | None, Iterator[TraceRow]]:
    path = source.path
    if not path.is_dir():
        files = [path]
    else:
        files = sorted(child for child in path.iterdir() if ".json" in child.suffixes)
    if not files:
        raise TraceError(f"{path}: no session files (*.json) in this folder")
    size = _session(files[0]).get("block_size")
    if type(size) is not int or size < 1:
        raise TraceError(f"{files[0]}: block_size must be 1 or more, got {fields.shown(size)}")
    blocks = Blocks(tokens=size, rule="floor", hashes="prefix")
    reader = _Sessions(source, files, blocks)
    return blocks, source.each(reader.turns(), reader.row, item_name="request")


class _Sessions:
    def __init__(self, source: Source, files: list[Path], blocks: Blocks) -> None:
        self._source = source
        self._files = files
        self._blocks = blocks
        self._started: set[str] = set()
        self._next_id = 0
        self._offset = 0
        self._rows = 0

    def turns(self) -> Iterator[tuple[str, _Turn]]:
        for file in self._files:
            session = _session(file)
            if session.get("block_size") != self._blocks.tokens:
                raise TraceError(
                    f"{file}: block_size {session.get('block_size')!r} differs from "
                    f"{self._blocks.tokens} of {self._files[0].name}",
                    "read sessions of one block size together",
                )
            name = str(session.get("id", file.stem))
            self._offset = self._next_id
            yield from self._requests(f"of {file.name}", name, session.get("requests"))

    def _requests(
        self, where: str, name: str, requests: Any, depth: int = 0
    ) -> Iterator[tuple[str, _Turn]]:
        """A session's own requests in order, then those of its sub-agents."""
        if not isinstance(requests, list) or depth > _DEEPEST_AGENT:
            raise TraceError(
                f"{self._source.path}: {where}: requests must be a list, "
                f"at most {_DEEPEST_AGENT} sub-agents deep"
            )
        inner = []
        for number, request in enumerate(requests, start=1):
            if isinstance(request, dict) and request.get("type") == "subagent":
                inner.append((number, request))
            else:
                yield f"{number} {where}", (name, self._offset, request)
        for number, agent in inner:
            self._source.counts["subagents"] += 1
            agent_name = f"{name}/{agent.get('agent_id', number)}"
            yield from self._requests(
                f"in sub-agent {number} {where}", agent_name, agent.get("requests"), depth + 1
            )

    def row(self, _: str, turn: _Turn) -> Iterable[TraceRow]:
        name, offset, request = turn
        if not isinstance(request, dict):
            raise fields.RowError(f"expected an object, got {fields.shown(request)}")
        input_tokens = fields.tokens(fields.present(request, "in"), "in")
        output_tokens = fields.tokens(fields.present(request, "out"), "out")
        local_ids = fields.checked_blocks(
            fields.present(request, "hash_ids"), "hash_ids", input_tokens, self._blocks
        )
        highest = max(local_ids, default=0)
        if highest > _MOST_LOCAL_ID:
            raise fields.RowError(f"hash_ids must be at most {_MOST_LOCAL_ID}, got {highest}")
        think_s = fields.number(request.get("think_time", 0), "think_time", least=0)
        self._next_id = max(self._next_id, offset + highest + 1)
        first = name not in self._started
        self._started.add(name)
        self._rows += 1
        yield TraceRow(
            at_s=None,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            session=name,
            think_s=None if first else think_s,
            block_ids=tuple(offset + local for local in local_ids),
            line=self._rows,
        )


def _session(file: Path) -> dict[str, Any]:
    with opened(file) as stream:
        text = stream.read(LARGEST_SESSION_BYTES + 1)
    if len(text) > LARGEST_SESSION_BYTES:
        raise TraceError(f"{file}: a session is longer than {LARGEST_SESSION_BYTES:,} bytes")
    try:
        return fields.json_object(text)
    except fields.RowError as wrong:
        raise TraceError(f"{file}: {wrong}") from None


FORMAT = TraceFormat("weka", "Weka kv-cache-tester sessions (folder of JSON)", _sniff, _read)
