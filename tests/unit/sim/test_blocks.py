"""The paged KV blocks and their prefix cache."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bench.sim.blocks import KvBlocks, chain


def test_chain_covers_what_stands_before() -> None:
    """Equal blocks after different prefixes have different hashes; the tail is not hashed."""
    first = chain([1, 2, 3, 4, 5], 2, 0)
    other = chain([9, 2, 3, 4, 5], 2, 0)
    assert len(first) == 2
    assert first[1] != other[1]
    assert chain([1, 2, 3, 4], 2, 0) == first
    assert chain([1, 2, 3, 4], 2, 1) != first


def test_least_recently_released_is_evicted_first() -> None:
    """Room is made by forgetting the block released longest ago, a prefix after its tail."""
    pool = KvBlocks(4)
    blocks = pool.allocate((), 3) or []
    for block, content in zip(blocks, (10, 11, 12), strict=True):
        pool.label(block, content)
    pool.release(blocks)
    taken = pool.allocate((), 2) or []
    assert blocks[2] in taken
    assert pool.evictions == 1
    assert pool.lookup([10, 11, 12], 3) == blocks[:2]


def test_hit_is_shared_and_survives_one_holder() -> None:
    """Two requests hold one cached block; it is used until both have let go."""
    pool = KvBlocks(2)
    (block,) = pool.allocate((), 1) or [-1]
    pool.label(block, 7)
    assert pool.allocate(pool.lookup([7], 1), 0) == [block]
    assert pool.used == 1
    pool.release([block])
    assert pool.used == 1
    pool.release([block])
    assert pool.used == 0


def test_an_idle_hit_is_not_room() -> None:
    """A cached block that is about to be held can't also be given as a fresh one."""
    pool = KvBlocks(1)
    (block,) = pool.allocate((), 1) or [-1]
    pool.label(block, 7)
    pool.release([block])
    assert pool.allocate([block], 1) is None
    assert pool.used == 0


def test_reset() -> None:
    """The cache is forgotten only when nobody holds a block."""
    pool = KvBlocks(2)
    blocks = pool.allocate((), 1) or []
    pool.label(blocks[0], 7)
    assert not pool.reset()
    pool.release(blocks)
    assert pool.reset()
    assert pool.lookup([7], 1) == []


def test_without_caching() -> None:
    """A pool that does not cache never has a hit."""
    pool = KvBlocks(2, caching=False)
    blocks = pool.allocate((), 1) or []
    pool.label(blocks[0], 7)
    pool.release(blocks)
    assert pool.lookup([7], 1) == []


class PoolMachine(RuleBasedStateMachine):
    """Requests with prefixes out of a small alphabet come and go."""

    TOTAL = 8

    def __init__(self) -> None:
        super().__init__()
        self.pool = KvBlocks(self.TOTAL)
        self.held: list[list[int]] = []

    @rule(ids=st.lists(st.integers(0, 1), max_size=5), extra=st.integers(0, 3))
    def allocate(self, ids: list[int], extra: int) -> None:
        hashes = chain(ids, 1, 0)
        hits = self.pool.lookup(hashes, len(hashes))
        before = self.pool.used
        blocks = self.pool.allocate(hits, len(ids) - len(hits) + extra)
        if blocks is None:
            assert self.pool.used == before
            return
        assert blocks[: len(hits)] == hits
        for block, content in list(zip(blocks, hashes, strict=False))[len(hits) :]:
            self.pool.label(block, content)
        self.held.append(blocks)

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0, 100))
    def release(self, pick: int) -> None:
        self.pool.release(self.held.pop(pick % len(self.held)))

    @invariant()
    def used_are_the_held(self) -> None:
        """Blocks in use are exactly those some request holds, and no request holds one twice."""
        assert self.pool.used == len({block for blocks in self.held for block in blocks})
        assert all(len(set(blocks)) == len(blocks) for blocks in self.held)


PoolMachine.TestCase.settings = settings(max_examples=60, deadline=None)
TestPool = PoolMachine.TestCase
