"""What a reader is given and what it gives: options, a sample to recognise, blocks, a reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.model import TraceRow

if TYPE_CHECKING:
    from bench.workload.readers.source import Source

BlockRule = Literal["ceil", "floor"]
"""Tokens per id list: `ceil`: the last block may be partial; `floor`: the tail has no id."""

BlockHashes = Literal["prefix", "content"]
"""`prefix`: an id names its block and all before it; `content`: it names its own block only."""


COUNTS: dict[str, str] = {
    "bad": "rows that could not be read, skipped",
    "failed": "failed requests (0 response tokens), dropped",
    "out_of_order": "rows earlier than the row before them",
    "images_left_out": "requests whose images are not replayed",
    "tools_left_out": "requests or conversations whose tool definitions are not sent",
    "session_unread": "rows whose session or delay is not read: requests of their own",
    "parent_unknown": "chats whose parent is not in the file, taken as a session's first turn",
    "subagents": "sub-agents, given as sessions of their own",
    "answers_without_question": "answers with no question before them, left out",
    "conversations_without_question": "conversations without any question, left out",
    "idle_clients": "clients that are never active",
    "clients_without_lengths": "clients without length distributions, left out",
    "input_scaled": "inputs whose length was scaled",
    "output_scaled": "outputs whose length was scaled",
    "input_clamped": "inputs cut to the largest allowed",
    "output_clamped": "outputs cut to the largest allowed",
    "input_dropped": "requests dropped, input over the largest allowed",
    "output_dropped": "requests dropped, output over the largest allowed",
    "empty_dropped": "requests dropped, input of 0 tokens",
    "output_raised": "outputs of 0 tokens raised to 1, the least a server takes",
    "text_unscaled": "requests with text, which is not scaled",
    "text_unmeasured": "requests with text of unknown length, not held to the largest input",
    "turn_dropped": "turns dropped because they build on a dropped one",
}
"""Every key of `TraceReading.counts`, in words."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a trace cuts its inputs into blocks of `tokens` tokens."""

    tokens: int
    rule: BlockRule
    hashes: BlockHashes

    def expected(self, input_tokens: int) -> int:
        """The number of ids that an input of `input_tokens` tokens has."""
        if self.rule == "ceil":
            return -(-input_tokens // self.tokens)
        return input_tokens // self.tokens


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Choices a file leaves open.

    `skip_bad`: wrong rows allowed (and counted) before reading stops with an error.
    `keep_failures`: BurstGPT rows with 0 response tokens are kept instead of dropped and counted.
    `recorded_answers`: ShareGPT turns carry the recorded answers before them, instead of appending
    to the live ones.  `duration_s`, `rate_rps`, `seed`: ServeGen only, what to generate.
    """

    skip_bad: int = 0
    keep_failures: bool = False
    recorded_answers: bool = False
    duration_s: float | None = None
    rate_rps: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The beginning of a file, decompressed, or the names in a folder with its first JSON file's.

    `keys` are those of the first line where it is a JSON object; `columns` are the fields of the
    first line where it is not JSON.
    """

    path: Path
    head: bytes = b""
    keys: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def is_array(self) -> bool:
        return self.head.lstrip()[:1] == b"["


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """One row of the table of formats.

    `sniff` says whether a sample is of this format.  `read` gives the file's blocks (None where
    the format has no block ids) and its rows, one at a time.
    """

    name: str
    title: str
    sniff: Callable[[Sample], bool]
    read: Callable[[Source], tuple[Blocks | None, Iterator[TraceRow]]]


@dataclass(slots=True)
class TraceReading:
    """A trace being read: iterate once, in file order.

    `counts` (keys of COUNTS) grows while reading; it and `warnings` are whole at the end.
    """

    path: Path
    format: str
    blocks: Blocks | None
    rows: Iterator[TraceRow]
    counts: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[TraceRow]:
        return self.rows

    @property
    def block_tokens(self) -> int | None:
        return self.blocks.tokens if self.blocks else None

    @property
    def block_rule(self) -> BlockRule | None:
        return self.blocks.rule if self.blocks else None
