"""The engine in virtual time."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.sim.config import EngineConfig
from bench.sim.engine import Engine, Step, simulate
from bench.sim.request import EngineRequest

MS = 1_000_000


def engine(**fields: object) -> Engine:
    """An engine with round costs: 10 ms a step, 1 ms a prefill token, 2 ms a decoding request."""
    costs = {"step_s": 0.01, "prefill_token_s": 0.001, "decode_seq_s": 0.002}
    return Engine(EngineConfig(**(costs | {"kv_blocks": 64, "block_tokens": 4} | fields)))


def request(name: str, prompt_tokens: int, max_tokens: int, first: int = 100) -> EngineRequest:
    return EngineRequest(name, list(range(first, first + prompt_tokens)), max_tokens)


def run(subject: Engine, *requests: EngineRequest, at_ms: int = 0) -> list[Step]:
    return list(simulate(subject, [(at_ms * MS, each) for each in requests], at_ms * MS))


def test_one_request_takes_the_costs_given() -> None:
    """TTFT is one step with the whole prompt; each later token is one step with one decode."""
    one = request("a", 5, 3)
    steps = run(engine(), one)
    assert [step.end_ns - step.start_ns for step in steps] == [15 * MS, 12 * MS, 12 * MS]
    assert (one.first_ns, one.last_ns) == (15 * MS, 39 * MS)
    assert (one.output_tokens, one.finish_reason) == (3, "length")
    assert [(step.prefill_tokens, step.decode_seqs) for step in steps] == [(5, 0), (0, 1), (0, 1)]


def test_a_slowed_engine_takes_as_many_times_as_long() -> None:
    """Every part of a step's cost is multiplied."""
    subject = engine()
    subject.slowdown = 3
    steps = run(subject, request("a", 5, 2))
    assert [step.end_ns - step.start_ns for step in steps] == [45 * MS, 36 * MS]


def test_a_restart_forgets_everything() -> None:
    """Requests, cache and counts are gone; aborting a request of before is harmless."""
    subject = engine()
    run(subject, request("old", 8, 2))
    running = request("a", 8, 9)
    subject.submit(running, 0)
    subject.step(0)
    subject.restart()
    subject.abort(running)
    assert not subject.busy
    assert subject.blocks.used == 0
    assert subject.stats.generation_tokens == 0
    again = request("b", 8, 1)
    run(subject, again)
    assert again.cached_tokens == 0


def test_an_idle_engine_does_nothing() -> None:
    """Without requests there is no step."""
    assert engine().step(0) is None


def test_prefill_is_cut_into_chunks() -> None:
    """A prompt longer than the token budget takes several steps, and no token before the last."""
    one = request("a", 10, 1)
    steps = run(engine(max_num_batched_tokens=4), one)
    assert [step.prefill_tokens for step in steps] == [4, 4, 2]
    assert [len(step.emitted) for step in steps] == [0, 0, 1]


def test_decodes_come_before_new_prefill() -> None:
    """A running request keeps its token each step; a new prompt gets what the budget leaves."""
    subject = engine(max_num_batched_tokens=4)
    running, late = request("a", 2, 10), request("b", 6, 1, first=500)
    subject.submit(running, 0)
    subject.step(0)
    subject.submit(late, 0)
    step = subject.step(0)
    assert step is not None
    assert (step.decode_seqs, step.prefill_tokens) == (1, 3)
    assert step.emitted == [running]


def test_no_request_is_taken_in_before_it_came() -> None:
    """An idle engine that is to make up for lost time begins with the arrival."""
    subject, late = engine(), request("a", 4, 1)
    subject.submit(late, 30 * MS)
    step = subject.step(2 * MS)
    assert step is not None
    assert (step.start_ns, step.end_ns) == (30 * MS, 44 * MS)
    assert (late.queue_s, late.first_ns) == (0, 44 * MS)


def test_a_step_that_catches_up_leaves_later_arrivals_to_the_next() -> None:
    """What came after its beginning is not in it: else it could end before they came."""
    subject = engine()
    running, late = request("a", 4, 5), request("b", 4, 1, first=500)
    subject.submit(running, 0)
    first = subject.step(0)
    assert first is not None
    subject.submit(late, first.end_ns + 20 * MS)
    second = subject.step(first.end_ns)
    assert second is not None
    assert second.emitted == [running]
    third = subject.step(late.arrival_ns)
    assert third is not None
    assert third.emitted == [running, late]
    assert late.queue_s == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 30), st.integers(1, 6), st.integers(0, 60)),
        min_size=1, max_size=12,
    ),
    st.integers(12, 40),
)  # fmt: skip
def test_no_token_is_older_than_its_request(
    drawn: list[tuple[int, int, int, int]], kv_blocks: int
) -> None:
    """However late a driver is with its steps, TTFT and queue time are not below 0."""
    subject = engine(kv_blocks=kv_blocks, max_model_len=48)
    requests, end_ns, wall_ns = [], 0, 0
    for number, (after_ms, prompt_tokens, output_tokens, late_ms) in enumerate(drawn):
        wall_ns = max(wall_ns, end_ns) + after_ms * MS
        requests.append(request(str(number), prompt_tokens, output_tokens))
        subject.submit(requests[-1], wall_ns)
        wall_ns += late_ms * MS
        step = subject.step(max(end_ns, wall_ns - 50 * MS))
        assert step is not None
        assert step.start_ns >= end_ns
        end_ns = step.end_ns
    while (step := subject.step(end_ns)) is not None:
        end_ns = step.end_ns
    for each in requests:
        assert each.finish_reason == "length"
        assert each.scheduled_ns is not None
        assert each.arrival_ns <= each.scheduled_ns < (each.first_ns or 0) <= (each.last_ns or 0)


def test_seats_bound_the_batch_and_the_queue_is_timed() -> None:
    """With one seat the second request waits for the first to end, and says for how long."""
    first, second = request("a", 4, 3), request("b", 4, 1, first=500)
    run(engine(max_num_seqs=1), first, second)
    assert second.scheduled_ns == first.last_ns
    assert first.queue_s == 0
    assert second.queue_s == pytest.approx((14 + 12 + 12) / 1000)


@pytest.mark.parametrize(
    ("prompt_tokens", "cached"), [(3, 0), (4, 0), (5, 4), (8, 4), (9, 8), (11, 8), (12, 8)]
)
def test_cached_tokens_of_a_repeat(prompt_tokens: int, cached: int) -> None:
    """A repeated prompt hits whole blocks only, and never its last token (vLLM)."""
    subject = engine()
    run(subject, request("a", prompt_tokens, 1))
    again = request("b", prompt_tokens, 1)
    run(subject, again)
    assert again.cached_tokens == cached
    assert subject.stats.prefix_hits == cached
    assert subject.stats.prefix_queries == 2 * prompt_tokens


def test_cached_tokens_are_not_computed_again() -> None:
    """A hit shortens the prefill by exactly the tokens it covers."""
    subject = engine()
    run(subject, request("a", 12, 1))
    again = request("b", 12, 1)
    (step,) = run(subject, again)
    assert step.prefill_tokens == 4


def test_a_prefix_is_shared_within_one_step() -> None:
    """Two equal prompts admitted in the same step share what the first is about to compute."""
    first, second = request("a", 9, 1), request("b", 9, 1)
    run(engine(), first, second)
    assert (first.cached_tokens, second.cached_tokens) == (0, 8)


def test_salt_separates() -> None:
    """Equal prompts under different salts share nothing."""
    subject = engine()
    run(subject, request("a", 9, 1))
    salted = EngineRequest("b", list(range(100, 109)), 1, salt=5)
    run(subject, salted)
    assert salted.cached_tokens == 0


def test_replies_are_cached_too() -> None:
    """A prompt that goes on with an earlier reply hits the blocks of prompt and reply."""
    subject = engine()
    first = request("a", 6, 7)
    run(subject, first)
    longer = EngineRequest("b", [*first.prompt, *first.reply.ids(0, 7), 9], 1)
    run(subject, longer)
    assert longer.cached_tokens == 12  # 6 + 6 computed tokens; the 7th was never fed back


def test_without_prefix_caching_nothing_is_queried() -> None:
    """With the cache off there are no queries, so a hit rate is unknown and not 0."""
    subject = engine(prefix_caching=False)
    run(subject, request("a", 9, 1), request("b", 9, 1))
    assert (subject.stats.prefix_queries, subject.stats.prefix_hits) == (0, 0)


def test_a_small_cache_forgets() -> None:
    """A repeat after more other blocks than the cache holds is a miss."""
    subject = engine(kv_blocks=8)
    run(subject, request("a", 12, 1))
    run(subject, request("b", 31, 1, first=900))
    again = request("c", 12, 1)
    run(subject, again)
    assert again.cached_tokens == 0
    assert subject.blocks.evictions > 0


def test_the_youngest_is_preempted_and_still_finishes() -> None:
    """Without blocks for all, the last to come starts over, and every token is made once."""
    subject = engine(kv_blocks=8, max_model_len=32)
    old, young = request("a", 12, 16), request("b", 12, 16, first=500)
    steps = run(subject, old, young)
    assert (old.preemptions, young.preemptions) == (0, 1)
    assert subject.stats.preemptions == 1
    assert sum(len(step.emitted) for step in steps) == 32
    assert (old.finish_reason, young.finish_reason) == ("length", "length")
    assert old.last_ns is not None and young.last_ns is not None
    assert old.last_ns < young.last_ns
    assert subject.stats.prefix_queries == 24  # the second admission is not counted


def test_abort_frees_its_blocks() -> None:
    """An aborted request leaves the queue or the batch, and its blocks."""
    subject = engine(max_num_seqs=1)
    running, waiting = request("a", 4, 9), request("b", 4, 9)
    subject.submit(running, 0)
    subject.submit(waiting, 0)
    subject.step(0)
    subject.abort(waiting)
    subject.abort(running)
    subject.abort(running)  # a second time changes nothing
    assert not subject.busy
    assert subject.blocks.used == 0
    assert subject.stats.finished == {"stop": 0, "length": 0, "abort": 2}


def test_the_context_ends_a_request() -> None:
    """Prompt and reply together never exceed the context; a prompt that fills it is refused."""
    subject = engine(max_model_len=16)
    one = request("a", 10, 100)
    run(subject, one)
    assert one.output_tokens == 6
    with pytest.raises(ValueError, match="16 tokens"):
        subject.submit(request("b", 16, 1), 0)


def test_noise_is_seeded() -> None:
    """The same seed gives the same times, another seed others, around the same mean."""

    def times(seed: int) -> list[int]:
        subject = engine(noise_fraction=0.2, seed=seed, kv_blocks=1000)
        return [step.end_ns - step.start_ns for step in run(subject, request("a", 4, 400))]

    assert times(1) == times(1)
    assert times(1) != times(2)
    mean_ms = sum(times(1)[1:]) / 399 / MS
    assert mean_ms == pytest.approx(12, rel=5 * 0.2 / 399**0.5)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=12),
    kv_blocks=st.integers(12, 40),
    seats=st.integers(1, 6),
    budget=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_everything_finishes_and_balances(
    sizes: list[tuple[int, int]], kv_blocks: int, seats: int, budget: int, seed: int
) -> None:
    """Whatever the limits, every request ends with its tokens, in order, and no block is left."""
    subject = engine(
        kv_blocks=kv_blocks, max_num_seqs=seats, max_num_batched_tokens=budget, max_model_len=48
    )
    draw = random.Random(seed)
    requests = [
        EngineRequest(str(number), [draw.randrange(2) for _ in range(size)], output)
        for number, (size, output) in enumerate(sizes)
    ]
    arrivals = [(number * 7 * MS, each) for number, each in enumerate(requests)]
    emitted = 0
    for step in simulate(subject, arrivals):
        assert step.prefill_tokens + step.decode_seqs <= budget
        assert len(subject.running) <= seats
        emitted += len(step.emitted)
    assert emitted == sum(output for _, output in sizes) == subject.stats.generation_tokens
    assert subject.blocks.used == 0
    assert subject.stats.prompt_tokens == sum(size for size, _ in sizes)
    for each in requests:
        assert each.finish_reason == "length"
        assert each.cached_tokens % 4 == 0
        assert each.cached_tokens < each.prompt_tokens
        assert each.scheduled_ns is not None
        assert each.arrival_ns <= each.scheduled_ns < (each.first_ns or 0) <= (each.last_ns or 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=20), min_size=1, max_size=8))
def test_hits_are_the_longest_known_prefix(prompts: list[list[int]]) -> None:
    """With room for all, one after another, a hit is the longest prefix that was seen before."""
    subject = engine(kv_blocks=4000)
    seen: set[tuple[int, ...]] = set()
    for number, prompt in enumerate(prompts):
        one = EngineRequest(str(number), prompt, 1)
        run(subject, one)
        whole = [tuple(prompt[:end]) for end in range(4, len(prompt), 4)]
        known = [prefix for prefix in whole if prefix in seen]
        assert one.cached_tokens == max(map(len, known), default=0)
        seen.update(tuple(prompt[:end]) for end in range(4, len(prompt) + 1, 4))
