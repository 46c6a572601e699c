"""The infinite-cache ceiling: how much of the input any prefix cache could have had already.

Metric system §4 (`cache_ceiling`).  A prefix is the chain of blocks from the first; a block is
held only where the same chain came before it.  So content ids (equal blocks in unequal places) and
prefix-chained ids are counted by one rule.
"""

from __future__ import annotations

from collections.abc import Sequence


class CacheCeiling:
    """Counts, request by request in order of arrival, what an infinite cache would hold.

    `block_tokens`: tokens of each trace block; the last block of a request may be partial, and
    tokens beyond the blocks are the request's own.
    `server_block_tokens`: the server caches whole blocks of this size, so a hit is rounded down.
    `recompute_last`: a server computes at least the last token of every prompt, so a hit is at
    most `input_tokens - 1` before rounding.

    Chains are known by a 64-bit hash each; for 10 million distinct blocks the chance that any two
    meet is under 10^-5.
    """

    def __init__(
        self,
        block_tokens: int,
        *,
        server_block_tokens: int | None = None,
        recompute_last: bool = False,
    ) -> None:
        self._block_tokens = block_tokens
        self._server_block_tokens = server_block_tokens
        self._recompute_last = recompute_last
        self._whole: set[int] = set()
        self._partial: dict[int, int] = {}
        self.input_tokens = 0
        self.hit_tokens = 0
        self.unrounded_hit_tokens = 0
        self.blocks = 0
        self.hit_blocks = 0

    def add(self, block_ids: Sequence[int], input_tokens: int) -> int:
        """Count one request; returns the tokens of it that an infinite cache holds."""
        shared_tokens, shared_blocks = self._walk(block_ids, input_tokens)
        hit_tokens = min(shared_tokens, input_tokens)
        if self._recompute_last:
            hit_tokens = min(hit_tokens, max(input_tokens - 1, 0))
        self.unrounded_hit_tokens += hit_tokens
        if self._server_block_tokens:
            hit_tokens -= hit_tokens % self._server_block_tokens
        self.blocks += len(block_ids)
        self.hit_blocks += shared_blocks
        self.input_tokens += input_tokens
        self.hit_tokens += hit_tokens
        return hit_tokens

    @property
    def token_fraction(self) -> float | None:
        """Hit tokens of all input tokens; None before any input."""
        return self.hit_tokens / self.input_tokens if self.input_tokens else None

    @property
    def block_fraction(self) -> float | None:
        """Blocks held whole of all blocks; None before any block."""
        return self.hit_blocks / self.blocks if self.blocks else None

    def _walk(self, block_ids: Sequence[int], input_tokens: int) -> tuple[int, int]:
        """Shared tokens and whole shared blocks of a request; remembers its chain."""
        size = self._block_tokens
        whole, partial = self._whole, self._partial
        shared_tokens = shared_blocks = chain = 0
        shared = True
        left = input_tokens
        for block_id in block_ids:
            # Hashes of tuples of integers do not depend on PYTHONHASHSEED.
            chain = hash((chain, block_id))
            tokens = min(size, left)
            left -= tokens
            if shared:
                held = tokens if chain in whole else min(tokens, partial.get(chain, 0))
                shared_tokens += held
                shared = held == tokens
                shared_blocks += shared
            if tokens == size:
                whole.add(chain)
                partial.pop(chain, None)
            elif chain not in whole and tokens > partial.get(chain, 0):
                partial[chain] = tokens
        return shared_tokens, shared_blocks
