"""Records that cross rooms.  Standard library only; frozen, flat, units in the names.

Instants are integer nanoseconds of CLOCK_MONOTONIC unless a name says otherwise; offsets and
durations that a person writes are seconds.  `None` is "unknown" and is never replaced by 0.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

Message = Mapping[str, Any]
"""One chat message: `{"role": ..., "content": ..., ...}`."""

Prompt = str | list[int] | list[Message]
"""What a turn sends: text, token ids, or chat messages."""


MESSAGE_ENDPOINTS = frozenset({"chat", "responses"})
"""Endpoints that take messages; the others take one text, and `completions` token ids too."""

_SECRET_CHARACTERS = 6


class Outcome(StrEnum):
    """Where a planned request ended.  planned = ok + failed + dropped + aborted."""

    OK = "ok"
    FAILED = "failed"
    DROPPED = "dropped"  # the plan's cap had no room for it; it was never sent
    ABORTED = "aborted"  # the run ended before it did


class Phase(StrEnum):
    WARMUP = "warmup"
    MAIN = "main"


class TokenMethod(StrEnum):
    """How the tokens of each event were counted (metric system §1, `tokens[i]`)."""

    TOKEN_IDS = "token_ids"
    CONTINUOUS_USAGE = "continuous_usage"
    USAGE_SPREAD = "usage_spread"
    EVENTS = "events"  # one token for each content event, no account from the server


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One request of a trace file, as a reader yields it.

    `at_s` is zero-based by the reader (the file's first row is 0.0).  Rows with the same `session`
    are turns of it in file order.  `block_ids` name the blocks of `block_tokens` tokens that make
    up the input; equal ids stand for equal text.  `messages` is set where the trace holds text:
    the whole conversation up to this request, unless `appends` says it is only what is new.
    """

    at_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    session: str | None = None
    think_s: float | None = None
    block_ids: tuple[int, ...] | None = None
    messages: tuple[Message, ...] | None = None
    appends: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One planned request.

    It is due at the run's start + `at_s`, and not before the previous turn's end + `think_s`;
    with neither it is due when a slot is free (first turn) or at once (later turn).
    `input_tokens` and `output_tokens` are what the plan asks for; None leaves it to text or server.
    """

    index: int
    at_s: float | None
    think_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    phase: Phase = Phase.MAIN
    appends: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Turns that follow each other; the first turn's `at_s` is the session's."""

    id: int
    turns: tuple[Turn, ...]


class Workload(Protocol):
    """What the load engine replays.  Picklable, so that worker processes can take a shard."""

    @property
    def requests(self) -> int | None:
        """Planned requests; None when only the run's duration bounds them."""

    def shard(self, worker: int, workers: int) -> Workload:
        """The sessions of one worker: those whose position modulo `workers` is `worker`."""

    def sessions(self) -> Iterator[Session]:
        """Sessions in the order of their first turn's `at_s`, made one at a time."""

    def prompt(self, turn: Turn) -> Prompt:
        """The turn's content; the same turn gives the same content in every process."""


@dataclass(frozen=True, slots=True)
class RequestStyle:
    """Which optional request fields the server takes (by family, corrected by the probe)."""

    max_tokens_field: str = "max_tokens"
    ignore_eos: bool = True
    min_tokens: bool = False
    stream: bool = True
    include_usage: bool = True
    continuous_usage: bool = False
    return_token_ids: bool = False
    cache_salt: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tls:
    """How to trust and be trusted.  Paths of PEM files."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 120.0
    total_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Target:
    """The endpoint under test.  `headers` may hold secrets and is never written or printed.

    `tenants` are headers that stand in for those of the same names: session k has those of tenant
    k modulo their number.
    """

    base_url: str
    model: str
    endpoint: str = "chat"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()
    tenants: tuple[Mapping[str, str], ...] = field(default=(), repr=False)

    def headers_of(self, session: int) -> Mapping[str, str]:
        """The headers of a session's requests."""
        if not self.tenants:
            return self.headers
        own = self.tenants[session % len(self.tenants)]
        replaced = {name.lower() for name in own}
        kept = {name: text for name, text in self.headers.items() if name.lower() not in replaced}
        return {**kept, **own}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no file and no message may hold: each header's value and its last word.

        The last word is the key behind `Bearer` and alike.  The longest come first; texts too short
        to be a key are none.
        """
        values = (value for each in (self.headers, *self.tenants) for value in each.values())
        found = {part for value in values for part in (value, *value.split()[-1:])}
        long_enough = (text for text in found if len(text) >= _SECRET_CHARACTERS)
        return tuple(sorted(long_enough, key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as it happened (metric system §1).  Written as one row of the run folder.

    `arrival_ns[i]` is when the kernel received the bytes that completed token event i, and
    `tokens[i]` how many output tokens that event carried.  `first_low_ns` is the latest instant at
    which the first token was known not to have arrived yet.  `server_*` is what the server says of
    this request in its answer: before its first step, its prefill, its decoding, the mean batch.
    """

    index: int
    session: int
    turn: int
    worker: int
    phase: Phase
    outcome: Outcome
    intended_ns: int
    error_class: str | None = None
    error_text: str | None = None
    sent_ns: int | None = None
    headers_ns: int | None = None
    role_ns: int | None = None
    first_ns: int | None = None
    first_low_ns: int | None = None
    last_ns: int | None = None
    done_ns: int | None = None
    connect_s: float | None = None
    connection_requests: int | None = None  # requests this connection had carried before
    reconnects: int = 0
    status: int | None = None
    finish_reason: str | None = None
    retry_after_s: float | None = None
    planned_input_tokens: int | None = None
    planned_output_tokens: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    output_tokens: int | None = None
    token_method: TokenMethod | None = None
    first_token_rule: str | None = None
    uncertain_first: bool = False
    events: int = 0
    reads: int = 0
    body_bytes: int = 0
    request_bytes: int = 0
    rtt_s: float | None = None
    retransmits: int | None = None
    server_queue_s: float | None = None
    server_prefill_s: float | None = None
    server_decode_s: float | None = None
    server_batch_mean: float | None = None
    arrival_ns: array[int] = field(default_factory=lambda: array("q"))
    tokens: array[int] = field(default_factory=lambda: array("i"))


@dataclass(frozen=True, slots=True)
class ServerSample:
    """One value a server or exporter said of itself."""

    at_ns: int
    source: str
    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the run was: written first, whole, and never changed.  Holds no secret."""

    run_id: str
    created_utc: str
    bench_version: str
    command: tuple[str, ...]
    host: Mapping[str, Any]
    clocks: Mapping[str, Any]
    target: Mapping[str, Any]
    server: Mapping[str, Any]
    workload: Mapping[str, Any]
    load: Mapping[str, Any]
    profile: Mapping[str, Any] | None
    seeds: Mapping[str, int]
    schema: int = 1
