"""The plan of a run: every request's time, lengths and content, made before the clock starts.

A plan is a few numbers for each row of its source and a start for each session; sessions, turns and
prompts are made from them one at a time.  Where a run needs more requests than the source has rows,
the rows come again in cycles, with new indices and new content.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.model import Message, Phase, Prompt, Session, Turn
from bench.workload.ceiling import CacheCeiling
from bench.workload.prompts import PromptMaker, mix64
from bench.workload.spool import Spool

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_ID_HASH_BITS = 22

UNIQUE, BLOCKS, MESSAGES, ADDED_MESSAGES = range(4)
"""Content of a row: its own; blocks; a whole conversation; what is added to the live one."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rows of the source, those of a session side by side, sessions in order of their start.

    `input_tokens`, `output_tokens`: -1 is unknown.  `after_s`: recorded seconds from the session's
    first turn, NaN where not recorded.  `think_s`: NaN where there is none.  `content`: see
    `UNIQUE`; `offset`, `size`: where the spool has it, in bytes.  `first`: the first row of each
    session, and the number of rows at the end.
    """

    input_tokens: Ints
    output_tokens: Ints
    after_s: Floats
    think_s: Floats
    content: NDArray[np.int8]
    offset: Ints
    size: Ints
    first: Ints

    @property
    def rows(self) -> int:
        return len(self.input_tokens)

    @property
    def sessions(self) -> int:
        return len(self.first) - 1


@dataclass(frozen=True, slots=True)
class PlannedCeiling:
    """What an infinite prefix cache would hold of the main phase's input (metric system §4).

    None where the plan can't know: the content is text, whose tokens only the server sees.  First
    turns can only hit what earlier sessions share with them.
    """

    input_tokens: int
    hit_tokens: int | None
    server_block_tokens: int | None
    first_turn_input_tokens: int
    first_turn_hit_tokens: int | None
    unrounded_hit_tokens: int | None

    @property
    def tokens_fraction(self) -> float | None:
        if self.hit_tokens is None or not self.input_tokens:
            return None
        return self.hit_tokens / self.input_tokens

    def as_manifest(self) -> dict[str, Any]:
        return {**asdict(self), "tokens_fraction": self.tokens_fraction}


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A bench.model.Workload.  Picklable; each process reads the same spool.

    `starts_s`: start of each planned session in order; None in a closed loop.
    `planned_sessions`: None when the run's duration alone bounds them.  `last_index`: requests
    from this index on are not part of the run.  `warmup_sessions`: the first sessions, whose turns
    are Phase.WARMUP.  `described`: what `manifest` says beyond the plan's own numbers.
    """

    columns: Columns
    starts_s: Floats | None
    planned_sessions: int | None
    last_index: int | None
    warmup_sessions: int
    prompts: PromptMaker
    spool: Spool
    chat: bool
    described: Mapping[str, Any] = field(default_factory=dict, repr=False)
    worker: int = 0
    workers: int = 1

    @property
    def requests(self) -> int | None:
        """Planned requests of this shard, warm-up included; None when only time bounds them."""
        if self.planned_sessions is None:
            return None
        return self._turns_of(np.arange(self.worker, self.planned_sessions, self.workers))

    def shard(self, worker: int, workers: int) -> Plan:
        """The sessions whose position modulo `workers` is `worker`."""
        return replace(self, worker=worker, workers=workers)

    def sessions(self) -> Iterator[Session]:
        """Sessions in order of their start; without end when only time bounds the run."""
        positions = itertools.count(self.worker, self.workers)
        for position in positions:
            if self.planned_sessions is not None and position >= self.planned_sessions:
                return
            yield Session(position, tuple(self._turns(position)))

    def prompt(self, turn: Turn) -> Prompt:
        """The content of a turn: chat messages, or for completions text or token ids."""
        columns = self.columns
        cycle, row = divmod(turn.index, columns.rows)
        content = columns.content[row]
        if content >= MESSAGES:
            return self._messages(row, cycle)
        tokens = int(columns.input_tokens[row])
        if content == BLOCKS:
            made = self.prompts.from_blocks(self._block_ids(row), tokens, row, cycle)
        else:
            made = self.prompts.unique(tokens, row, cycle)
        if not self.chat:
            return made
        message: Message = {"role": "user", "content": made}
        return [message]

    def ceiling(self, server_block_tokens: int | None = None) -> PlannedCeiling:
        """The infinite-cache ceiling of the planned requests, in the order of their sessions.

        The warm-up's requests fill the cache and are not counted.  Where only time bounds the run,
        one cycle is counted.  `server_block_tokens`: round hits down to the server's blocks.
        """
        columns = self.columns
        sessions = columns.sessions if self.planned_sessions is None else self.planned_sessions
        known = not (columns.content >= MESSAGES).any()
        shared = self._shared_ids() if known else np.zeros(1, dtype=np.bool_)
        input_tokens = hit_tokens = first_input_tokens = first_hit_tokens = unrounded = 0
        for first in range(0, sessions, columns.sessions):
            # A new cycle has new content: nothing of the one before is in it.
            seen = CacheCeiling(
                self.prompts.block_tokens or 1, server_block_tokens=server_block_tokens
            )
            for position in range(first, min(sessions, first + columns.sessions)):
                for index in self._indices(position):
                    row = index % columns.rows
                    tokens = max(0, int(columns.input_tokens[row]))
                    before = seen.unrounded_hit_tokens
                    hit = seen.add(self._shareable(row, shared), tokens) if known else 0
                    if position < self.warmup_sessions:
                        continue
                    input_tokens += tokens
                    hit_tokens += hit
                    unrounded += seen.unrounded_hit_tokens - before
                    if index == self._indices(position)[0]:
                        first_input_tokens += tokens
                        first_hit_tokens += hit
        return PlannedCeiling(
            input_tokens,
            hit_tokens if known else None,
            server_block_tokens,
            first_input_tokens,
            first_hit_tokens if known else None,
            unrounded if known else None,
        )

    def digest(self) -> str:
        """SHA-256 (hex) of times, lengths and content ids: equal plans have equal digests.

        The salt is not part of it: it differs between runs of one recipe by intention.
        """
        digest = hashlib.sha256(self.spool.digest.encode())
        parts = [getattr(self.columns, each.name) for each in fields(self.columns)]
        for part in (*parts, np.zeros(0) if self.starts_s is None else self.starts_s):
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
        counts = (self.planned_sessions, self.last_index, self.warmup_sessions)
        digest.update(repr(counts).encode())
        return digest.hexdigest()

    def manifest(self, server_block_tokens: int | None = None) -> dict[str, Any]:
        """The plan for the run folder: what was planned, from what, and how it was made."""
        known = self.columns.input_tokens >= 0
        return {
            **self.described,
            "requests": self.requests,
            "sessions": self.planned_sessions,
            "warmup_requests": self._turns_of(np.arange(self.warmup_sessions)),
            "rows": self.columns.rows,
            "prompts": self.prompts.vocabulary.as_manifest(),
            "below_overhead": self._below_overhead(known),
            "ceiling": self.ceiling(server_block_tokens).as_manifest(),
            "digest": self.digest(),
        }

    def _turns(self, position: int) -> Iterator[Turn]:
        columns = self.columns
        start_s = None if self.starts_s is None else float(self.starts_s[position])
        phase = Phase.WARMUP if position < self.warmup_sessions else Phase.MAIN
        for i, index in enumerate(self._indices(position)):
            row = index % columns.rows
            think_s, after_s = float(columns.think_s[row]), float(columns.after_s[row])
            at_s = None if start_s is None or math.isnan(after_s) else start_s + after_s
            yield Turn(
                index=index,
                at_s=at_s,
                think_s=None if i == 0 or math.isnan(think_s) else think_s,
                input_tokens=_known(columns.input_tokens[row]),
                output_tokens=_known(columns.output_tokens[row]),
                phase=phase,
                appends=bool(columns.content[row] == ADDED_MESSAGES),
            )

    def _indices(self, position: int) -> range:
        """Indices of the turns of the session at `position`."""
        columns = self.columns
        cycle, session = divmod(position, columns.sessions)
        first = cycle * columns.rows
        end = first + int(columns.first[session + 1])
        if self.last_index is not None:
            end = min(end, self.last_index)
        return range(first + int(columns.first[session]), end)

    def _turns_of(self, positions: Ints) -> int:
        """Turns of the sessions at `positions`; only the last of a plan may be cut short."""
        sizes = np.diff(self.columns.first)
        total = int(sizes[positions % self.columns.sessions].sum())
        if len(positions) and positions[-1] + 1 == self.planned_sessions:
            last = int(positions[-1])
            total += len(self._indices(last)) - int(sizes[last % self.columns.sessions])
        return total

    def _block_ids(self, row: int) -> NDArray[np.uint64]:
        raw = self.spool.read(int(self.columns.offset[row]), int(self.columns.size[row]))
        return np.frombuffer(raw, dtype=np.uint64)

    def _shared_ids(self) -> NDArray[np.bool_]:
        """By hash of the id: whether more than one row may have it."""
        once = np.zeros(1 << _ID_HASH_BITS, dtype=np.bool_)
        twice = np.zeros_like(once)
        for row in np.flatnonzero(self.columns.content == BLOCKS).tolist():
            hashes = _id_hashes(self._block_ids(row))
            twice[hashes] |= once[hashes]
            once[hashes] = True
        return twice

    def _shareable(self, row: int, shared: NDArray[np.bool_]) -> list[int]:
        """The row's ids before the first that no other row has: what follows can't be a hit.

        The ceiling is the same without the rest, and most of its memory is saved.
        """
        if self.columns.content[row] != BLOCKS:
            return []
        ids = self._block_ids(row)
        own = np.flatnonzero(~shared[_id_hashes(ids)])
        made: list[int] = ids[: own[0]].tolist() if own.size else ids.tolist()
        return made

    def _messages(self, row: int, cycle: int) -> Prompt:
        columns = self.columns
        raw = self.spool.read(int(columns.offset[row]), int(columns.size[row]))
        messages: list[Message] = orjson.loads(raw)
        begins = columns.first[np.searchsorted(columns.first, row)] == row
        if begins or columns.content[row] == MESSAGES:
            messages = self.prompts.salted(messages, cycle)
        return messages if self.chat else _as_text(messages)

    def _below_overhead(self, known: NDArray[np.bool_]) -> int:
        """Rows shorter than what the server adds to any prompt: their length can't be met."""
        made = known & (self.columns.content < MESSAGES)
        least = self.prompts.vocabulary.overhead_tokens or 0
        return int((self.columns.input_tokens[made] <= least).sum())


def _id_hashes(ids: NDArray[np.uint64]) -> Ints:
    return (mix64(ids) >> np.uint64(64 - _ID_HASH_BITS)).astype(np.int64)


def _known(tokens: np.int64) -> int | None:
    return None if tokens < 0 else int(tokens)


def _as_text(messages: list[Message]) -> str:
    """A conversation as a completion's prompt: the texts, a blank line between."""
    texts = []
    for message in messages:
        content = message.get("content")
        parts = (
            [content]
            if isinstance(content, str)
            else [part.get("text", "") for part in content or () if isinstance(part, dict)]
        )
        texts.append("".join(parts))
    return "\n\n".join(texts)
