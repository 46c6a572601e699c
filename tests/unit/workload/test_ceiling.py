"""The infinite-cache ceiling, by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.workload.ceiling import CacheCeiling


def test_a_prefix_seen_before_is_a_hit_a_first_one_is_not() -> None:
    """Hits are the contiguous blocks from the first that some request had in the same order."""
    ceiling = CacheCeiling(10)
    assert ceiling.add((1, 2, 3), 30) == 0
    assert ceiling.add((1, 2, 4), 30) == 20
    assert ceiling.add((9, 2, 3), 30) == 0
    assert ceiling.add((1, 2, 4), 30) == 30
    assert (ceiling.input_tokens, ceiling.hit_tokens) == (120, 50)
    assert (ceiling.blocks, ceiling.hit_blocks) == (12, 5)
    assert ceiling.token_fraction == 50 / 120
    assert ceiling.block_fraction == 5 / 12


def test_a_content_id_behind_another_prefix_is_no_hit() -> None:
    """Blocks 1-2 and then 3 were seen, 3-2 was not: only the 3 is held."""
    ceiling = CacheCeiling(10)
    ceiling.add((1, 2), 20)
    ceiling.add((3,), 10)
    assert ceiling.add((3, 2), 20) == 10


def test_a_partial_block_holds_only_the_tokens_it_had() -> None:
    """A last block of 4 tokens is worth 4 to a later whole block, and a whole one all to a part."""
    ceiling = CacheCeiling(10)
    ceiling.add((1, 2), 14)
    assert ceiling.add((1, 2), 13) == 13
    assert ceiling.add((1, 2, 3), 25) == 14
    assert ceiling.add((1, 2, 3), 25) == 25
    assert ceiling.add((1, 2), 12) == 12


def test_after_a_block_held_in_part_nothing_more_is_shared() -> None:
    """A chain is broken by a block that is only partly held, even where its successor is known."""
    ceiling = CacheCeiling(10)
    ceiling.add((1,), 5)
    assert ceiling.add((1, 2), 20) == 5
    assert ceiling.add((1, 2), 20) == 20


def test_tokens_beyond_the_blocks_are_never_shared() -> None:
    """Under the floor rule the tail has no id: 25 tokens of 2 blocks share 20."""
    ceiling = CacheCeiling(10)
    ceiling.add((1, 2), 25)
    assert ceiling.add((1, 2), 25) == 20


def test_a_server_caches_whole_blocks_and_computes_the_last_token() -> None:
    """Of 30 shared tokens, blocks of 16 hold 16, the last computed leaves 29, both with 15: 15."""
    plain, rounded, last, both = (
        CacheCeiling(10),
        CacheCeiling(10, server_block_tokens=16),
        CacheCeiling(10, recompute_last=True),
        CacheCeiling(10, server_block_tokens=15, recompute_last=True),
    )
    hits = []
    for ceiling in (plain, rounded, last, both):
        ceiling.add((1, 2, 3), 30)
        hits.append(ceiling.add((1, 2, 3), 30))
    assert hits == [30, 16, 29, 15]


def test_nothing_counted_is_unknown() -> None:
    """Before any input the fractions are None, not 0."""
    ceiling = CacheCeiling(10)
    assert ceiling.token_fraction is None
    assert ceiling.block_fraction is None


@pytest.mark.parametrize("seed", ["0", "1"])
def test_chains_do_not_depend_on_the_hash_seed(seed: str) -> None:
    """The hash of a chain is the same in every process, whatever PYTHONHASHSEED is."""
    shown = subprocess.run(
        [sys.executable, "-c", "print(hash((hash((0, 5)), 7)))"],
        env={"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(shown.stdout) == hash((hash((0, 5)), 7))
