"""Paged KV blocks with a prefix cache, after vLLM's block pool.

A full block is known by the hash of its tokens and of all blocks before it.  A block that nobody
holds keeps its content until it is the least recently released and its room is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence


def chain(ids: Sequence[int], block_tokens: int, parent: int) -> list[int]:
    """Hashes of the full blocks of `ids`; each covers its own tokens and every block before it.

    Python's hash of a tuple of ints: 64 bits, the same in every process, not against an adversary.
    """
    hashes = []
    for start in range(0, len(ids) - block_tokens + 1, block_tokens):
        parent = hash((parent, tuple(ids[start : start + block_tokens])))
        hashes.append(parent)
    return hashes


class KvBlocks:
    """A pool of `total` blocks."""

    def __init__(self, total: int, caching: bool = True) -> None:
        self.total = total
        self.evictions = 0
        self._caching = caching
        self._holders = [0] * total
        self._content: list[int | None] = [None] * total
        self._cached: dict[int, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(total))

    @property
    def used(self) -> int:
        """Blocks held by requests; cached blocks that nobody holds are not used."""
        return self.total - len(self._free)

    def lookup(self, hashes: Sequence[int], limit: int) -> list[int]:
        """The cached blocks of the longest known prefix, at most `limit` blocks."""
        found = []
        for content in hashes[:limit]:
            block = self._cached.get(content)
            if block is None:
                break
            found.append(block)
        return found

    def allocate(self, hits: Sequence[int], fresh: int) -> list[int] | None:
        """Hold the cached blocks `hits` and `fresh` more; None, and nothing held, without room."""
        idle_hits = sum(not self._holders[block] for block in hits)
        if len(self._free) - idle_hits < fresh:
            return None
        for block in hits:
            if not self._holders[block]:
                del self._free[block]
            self._holders[block] += 1
        taken = list(hits)
        for _ in range(fresh):
            block, _ = self._free.popitem(last=False)
            self._forget(block)
            self._holders[block] = 1
            taken.append(block)
        return taken

    def label(self, block: int, content: int) -> None:
        """Say that `block` now holds a full block's `content`.  A second copy is not cached."""
        if self._caching and content not in self._cached:
            self._cached[content] = block
            self._content[block] = content

    def release(self, blocks: Sequence[int]) -> None:
        """Let go of a request's blocks, the last first, so that a prefix outlives its tail."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if not self._holders[block]:
                self._free[block] = None

    def reset(self) -> bool:
        """Forget every cached block; False, and nothing forgotten, while a request holds one."""
        if self.used:
            return False
        self._cached.clear()
        self._content = [None] * self.total
        return True

    def _forget(self, block: int) -> None:
        content = self._content[block]
        if content is not None:
            del self._cached[content]
            self._content[block] = None
            self.evictions += 1
