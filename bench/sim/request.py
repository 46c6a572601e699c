"""One request as an engine sees it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.sim.tokens import Reply


class EngineRequest:
    """One request inside an engine.

    `max_tokens` is where it ends and `finish_as` the reason it then gives.  `salt` separates its
    prefix from equal ones.  `steps`, where it is a list, gets (start, end, batch size) of each step
    that gave it a token.  After its last token `finish_reason` is set, instants are those of
    the engine's clock, and None where the request did not get so far.
    """

    __slots__ = (
        "arrival_ns",
        "blocks",
        "cached_tokens",
        "capacity",
        "chain",
        "computed",
        "finish_as",
        "finish_reason",
        "first_ns",
        "id",
        "known",
        "label_at",
        "last_ns",
        "max_tokens",
        "output_tokens",
        "preemptions",
        "prompt",
        "prompt_tokens",
        "reply",
        "salt",
        "scheduled_ns",
        "steps",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's own word
        prompt: Sequence[int],
        max_tokens: int,
        *,
        finish_as: str = "length",
        salt: int = 0,
    ) -> None:
        self.id = id
        self.prompt = prompt
        self.prompt_tokens = len(prompt)
        self.max_tokens = max_tokens
        self.finish_as = finish_as
        self.salt = salt
        self.reply = Reply(hash(tuple(prompt)))
        self.chain: list[int] = []
        self.blocks: list[int] = []
        self.known = self.prompt_tokens  # tokens whose ids are known: prompt and output so far
        self.computed = 0  # tokens whose KV is in blocks
        self.capacity = 0  # tokens the blocks can hold
        self.label_at = 0  # `computed` at which the next block is full
        self.output_tokens = 0
        self.cached_tokens = 0
        self.preemptions = 0
        self.arrival_ns = 0
        self.scheduled_ns: int | None = None
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.finish_reason: str | None = None
        self.steps: list[tuple[int, int, int]] | None = None

    @property
    def queue_s(self) -> float | None:
        """Seconds from arrival to the start of the first step that worked on it."""
        if self.scheduled_ns is None:
            return None
        return (self.scheduled_ns - self.arrival_ns) / 1e9
