"""bench.workload.plan and .build: every request planned once, at its time, in its phase."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.model import Phase, TraceRow, Turn
from bench.workload.build import build_plan
from bench.workload.plan import Plan
from bench.workload.readers import TraceReading
from bench.workload.recipe import Recipe
from bench.workload.tokens import Vocabulary

MakePlan = Callable[..., Plan]
MakeRecipe = Callable[..., Recipe]
RECORDED = {"kind": "recorded"}
CLOSED = {"kind": "closed", "concurrency": 2}


def row(at_s: float | None = None, tokens: int | None = 40, **fields: Any) -> TraceRow:
    return TraceRow(at_s, tokens, 7, **fields)


def single(count: int) -> list[TraceRow]:
    return [row(float(i), block_ids=(0, 2 * i + 1, 2 * i + 2)) for i in range(count)]


def turns(made: Plan) -> list[Turn]:
    return [turn for session in made.sessions() for turn in session.turns]


def starts(made: Plan) -> list[float | None]:
    return [session.turns[0].at_s for session in made.sessions()]


def chains(sessions: int, each: int) -> list[TraceRow]:
    """Sessions of `each` turns, in file order turn by turn."""
    return [
        row(10.0 * turn + session, session=f"s{session}", block_ids=(session, 100 + turn, 200))
        for turn in range(each)
        for session in range(sessions)
    ]


# -- times -------------------------------------------------------------------------------------


def test_recorded_times_are_replayed_at_the_speed_asked(plan: MakePlan) -> None:
    """Starts are the trace's, zero-based, divided by the speed, and in order."""
    made = plan([row(100.0), row(104.0), row(102.0)], arrivals={"kind": "recorded", "speed": 4})
    assert starts(made) == [0.0, 0.5, 1.0]
    assert [turn.index for turn in turns(made)] == [0, 1, 2]
    assert made.requests == 3


def test_later_turns_keep_recorded_times_and_thinking(plan: MakePlan) -> None:
    """A later turn is not before its recorded time, nor before its think time, both sped up."""
    rows = [
        row(0.0, session="a"),
        row(1.0, session="b"),
        row(8.0, session="a"),
        row(None, session="b", think_s=3.0),
    ]
    made = list(plan(rows, arrivals={"kind": "recorded", "speed": 2}).sessions())
    (a1, a2), (b1, b2) = made[0].turns, made[1].turns
    assert (a1.at_s, a2.at_s, a2.think_s) == (0.0, 4.0, None)
    assert (b1.at_s, b2.at_s, b2.think_s) == (0.5, None, 1.5)
    assert [turn.index for turn in (a1, a2, b1, b2)] == [0, 1, 2, 3]


def test_dequantised_times_stay_in_their_quantum_and_in_order(plan: MakePlan) -> None:
    """Bursts of a coarse clock are spread over its quantum; starts ascend."""
    rows = [row(3.0 * (i // 10)) for i in range(200)]
    made = plan(rows, arrivals={"kind": "recorded", "dequantize_s": 3})
    offsets = np.array(starts(made))
    assert (np.diff(offsets) >= 0).all()
    assert len(np.unique(offsets)) == 200
    assert offsets[0] == 0.0
    counts = np.bincount((offsets // 3).astype(int))
    assert counts.max() < 20


def test_a_duration_cuts_recorded_rows(plan: MakePlan) -> None:
    """Rows at or after the duration are not planned, nor later turns of a cut session."""
    rows = [row(0.0, session="a"), row(1.0), row(5.0, session="a"), row(9.0), row(2.0)]
    made = plan(rows, duration_s=5.0)
    assert made.requests == 3
    assert starts(made) == [0.0, 1.0, 2.0]


def test_requests_cut_recorded_rows(plan: MakePlan) -> None:
    """A number of requests takes the first rows."""
    assert plan(single(50), requests=20).requests == 20
    assert plan(single(5), requests=20).requests == 5


def test_a_trace_without_times_needs_a_pace(plan: MakePlan) -> None:
    """Replaying as recorded what has no times is refused, with what to do."""
    with pytest.raises(ConfigError, match="no recorded times") as caught:
        plan([row(None)])
    assert "--concurrency" in caught.value.hint


def test_an_open_loop_draws_its_own_times(plan: MakePlan) -> None:
    """Other arrivals replace recorded starts; recorded turns keep their distance from the first."""
    made = plan(chains(3, 2), arrivals={"kind": "constant", "rate_rps": 1})
    assert starts(made) == [0.0, 2.0, 4.0]  # 1 request/s is a session of two every 2 s
    assert [t.at_s for t in turns(made)] == [0.0, 10.0, 2.0, 12.0, 4.0, 14.0]


def test_arrivals_follow_their_seed(plan: MakePlan) -> None:
    """The same seed gives the same starts, another seed others."""
    poisson = {"kind": "poisson", "rate_rps": 5}
    one, again = (starts(plan(single(40), arrivals=poisson)) for _ in range(2))
    other = starts(plan(single(40), arrivals=poisson, seed=9))
    assert one == again != other


def test_a_closed_loop_has_no_times(plan: MakePlan) -> None:
    """Slots decide when; think times stay, recorded times don't."""
    rows = [row(0.0, session="a"), row(4.0, session="a", think_s=2.0)]
    made = turns(plan(rows, arrivals=CLOSED))
    assert [turn.at_s for turn in made] == [None, None]
    assert [turn.think_s for turn in made] == [None, 2.0]


def test_nothing_to_send_is_an_error(plan: MakePlan) -> None:
    """An empty source, and a run too short for any request, are refused."""
    with pytest.raises(ConfigError, match="no requests to plan"):
        plan([])
    slow = {"kind": "poisson", "rate_rps": 0.001}
    with pytest.raises(ConfigError, match="no request falls into the run"):
        plan(single(3), arrivals=slow, duration_s=0.001)


# -- extent ------------------------------------------------------------------------------------


def test_a_short_source_comes_again_with_new_indices_and_content(plan: MakePlan) -> None:
    """More requests than rows: cycles, the last one cut, no content twice."""
    made = plan(single(4), arrivals=CLOSED, requests=11)
    planned = turns(made)
    assert made.requests == 11
    assert [turn.index for turn in planned] == list(range(11))
    contents = [json.dumps(made.prompt(turn)) for turn in planned]
    assert len(set(contents)) == 11
    assert [turn.input_tokens for turn in planned] == [40] * 11


def test_a_session_is_cut_where_the_requests_end(plan: MakePlan) -> None:
    """The last session gives only the turns that are still asked for."""
    made = plan(chains(4, 3), arrivals=CLOSED, requests=12 + 5)
    assert made.requests == 17
    assert [len(session.turns) for session in made.sessions()] == [3] * 5 + [2]


def test_a_closed_loop_bounded_by_time_never_ends(plan: MakePlan) -> None:
    """Without a number of requests the sessions go on in cycles of new content."""
    made = plan(chains(2, 2), arrivals=CLOSED, duration_s=10.0)
    assert made.requests is None
    first = list(itertools.islice(made.sessions(), 7))
    assert [session.id for session in first] == list(range(7))
    assert [turn.index for session in first for turn in session.turns] == list(range(14))
    one, two = first[0].turns[0], first[2].turns[0]
    assert made.prompt(one) != made.prompt(two)


def test_an_open_loop_bounded_by_time(plan: MakePlan) -> None:
    """Constant 4 req/s for 10 s is 40 requests, however short the trace."""
    made = plan(single(7), arrivals={"kind": "constant", "rate_rps": 4}, duration_s=10.0)
    assert made.requests == 40
    assert made.manifest()["offered_rps"] == 4.0


def test_the_offered_rate_of_a_number_of_requests(plan: MakePlan) -> None:
    """Nine starts have eight intervals between them: 4 req/s stays 4, with several turns too."""
    constant = {"kind": "constant", "rate_rps": 4}
    nine = plan(single(7), arrivals=constant, requests=9)
    assert nine.manifest()["offered_rps"] == pytest.approx(4.0)
    turns = plan(chains(4, 3), arrivals=constant)
    assert turns.manifest()["offered_rps"] == pytest.approx(4.0)
    recorded = plan([row(0.0), row(1.0), row(2.0)], arrivals=RECORDED)
    assert recorded.manifest()["offered_rps"] == pytest.approx(1.0)
    assert plan([row(0.0)], arrivals=RECORDED).manifest()["offered_rps"] is None


def test_a_trace_is_replayed_once_when_nothing_bounds_it(plan: MakePlan) -> None:
    """One pass over the rows."""
    assert plan(single(7), arrivals=CLOSED).requests == 7
    assert plan(single(7), arrivals={"kind": "poisson", "rate_rps": 3}).requests == 7


def test_an_absurd_plan_is_refused(plan: MakePlan) -> None:
    """A plan that can't fit in memory is refused before a row of it is read."""

    def unread() -> Iterator[TraceRow]:
        yield pytest.fail("a row was read")

    with pytest.raises(ConfigError, match="at most 20,000,000"):
        plan(unread(), arrivals={"kind": "poisson", "rate_rps": 1e9}, duration_s=1e6)
    with pytest.raises(ConfigError, match="at most 20,000,000"):
        plan(unread(), arrivals=CLOSED, requests=10**9)


def test_a_long_trace_is_not_read_beyond_its_need(recipe: MakeRecipe, words: Vocabulary) -> None:
    """With a number of requests, or a duration, the rest of the trace stays unread."""
    for bound in ({"requests": 10}, {"duration_s": 10.0}):
        endless = (row(float(i)) for i in itertools.count())
        reading = TraceReading(Path("t"), "native", None, endless)
        assert build_plan(recipe(**bound), reading, words).requests == 10


# -- warm-up -----------------------------------------------------------------------------------


def phases(made: Plan) -> list[Phase]:
    return [turn.phase for turn in turns(made)]


def test_the_warm_up_comes_first_and_is_part_of_the_run(plan: MakePlan) -> None:
    """The first requests are WARMUP, the others MAIN; the total stays what was asked."""
    made = plan(single(10), arrivals=CLOSED, requests=10, warmup={"requests": 3})
    assert phases(made) == [Phase.WARMUP] * 3 + [Phase.MAIN] * 7
    assert made.manifest()["warmup_requests"] == 3


def test_the_warm_up_takes_whole_sessions(plan: MakePlan) -> None:
    """A session belongs to one phase."""
    made = plan(chains(4, 3), arrivals=CLOSED, warmup={"requests": 4})
    assert phases(made) == [Phase.WARMUP] * 6 + [Phase.MAIN] * 6


def test_the_warm_up_may_be_a_time(plan: MakePlan) -> None:
    """Sessions that start within the first seconds are the warm-up."""
    made = plan(single(10), warmup={"duration_s": 4})
    assert phases(made) == [Phase.WARMUP] * 4 + [Phase.MAIN] * 6


def test_a_warm_up_that_takes_everything_is_refused(plan: MakePlan) -> None:
    """A run without a measured part is no run."""
    with pytest.raises(ConfigError, match="warm-up takes all"):
        plan(single(3), warmup={"duration_s": 4})


# -- shards ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrivals", [RECORDED, CLOSED], ids=["recorded", "closed"])
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_shards_are_a_partition(
    plan: MakePlan, sent: Callable[[Plan], Plan], arrivals: dict[str, Any], workers: int
) -> None:
    """Together the shards have each session once, each its own count, and equal content."""
    made = plan(chains(5, 3), arrivals=arrivals, requests=13)
    shards = [sent(made.shard(i, workers)) for i in range(workers)]
    found = [session for shard in shards for session in shard.sessions()]
    assert sorted(found, key=lambda session: session.id) == list(made.sessions())
    for i, shard in enumerate(shards):
        own = list(shard.sessions())
        assert all(session.id % workers == i for session in own)
        assert shard.requests == sum(len(session.turns) for session in own)
        for turn in turns(shard):
            assert shard.prompt(turn) == made.prompt(turn)
    assert sum(shard.requests for shard in shards) == made.requests == 13
