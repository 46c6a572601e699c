"""bench.workload.plan: what each request sends, and the account the plan gives of itself."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.model import Session, TraceRow, Turn
from bench.workload.build import build_plan
from bench.workload.ceiling import CacheCeiling
from bench.workload.plan import Plan
from bench.workload.readers import TraceReading
from bench.workload.recipe import Recipe, named_seeds
from bench.workload.resolve import Overrides, override, resolve_recipe
from bench.workload.source import open_source
from bench.workload.tokens import Vocabulary, token_id_vocabulary

MakePlan = Callable[..., Plan]
MakeRecipe = Callable[..., Recipe]
CLOSED = {"kind": "closed", "concurrency": 2}


def row(at_s: float | None = None, tokens: int | None = 40, **fields: Any) -> TraceRow:
    return TraceRow(at_s, tokens, 7, **fields)


def single(count: int) -> list[TraceRow]:
    return [row(float(i), block_ids=(0, 2 * i + 1, 2 * i + 2)) for i in range(count)]


def turns(made: Plan) -> list[Turn]:
    return [turn for session in made.sessions() for turn in session.turns]


# -- content -----------------------------------------------------------------------------------


def text_of(made: Plan, session: Session, turn: int = 0) -> str:
    prompt = made.prompt(session.turns[turn])
    assert isinstance(prompt, list) and isinstance(prompt[0], dict)
    assert prompt[0]["role"] == "user"
    return str(prompt[0]["content"])


def test_equal_blocks_are_equal_text(plan: MakePlan) -> None:
    """Two rows that share a block share its words; the rest differs."""
    made = plan(single(2), salt="none")
    one, two = (text_of(made, session).split() for session in made.sessions())
    assert one[:16] == two[:16]
    assert one[16:19] != two[16:19]
    assert len(one) == 40 - 5  # the template's 5 tokens are the server's


def test_rows_without_blocks_share_nothing(plan: MakePlan) -> None:
    """A trace that says nothing of content gets unique content."""
    made = plan([row(0.0), row(0.0)], blocks=None)
    one, two = (text_of(made, session).split() for session in made.sessions())
    assert len(one) == len(two) == 35
    assert one[:16] != two[:16]


def test_each_run_has_its_own_salt_unless_told_otherwise(plan: MakePlan) -> None:
    """auto: new content in every run, the same plan; none and a given salt: the same content."""
    built = {
        salt: [plan(single(3), salt=salt) for _ in range(2)] for salt in ("auto", "none", "mine")
    }
    for salt, (one, two) in built.items():
        same = turns(one) == turns(two) and one.digest() == two.digest()
        equal = one.prompt(turns(one)[0]) == two.prompt(turns(two)[0])
        assert same
        assert equal is (salt != "auto")
    assert built["none"][0].manifest()["salt"] is None
    assert built["mine"][0].manifest()["salt"] == "mine"
    assert len(built["auto"][0].manifest()["salt"]) == 16


def test_completions_take_text_or_token_ids(plan: MakePlan) -> None:
    """The completions endpoint gets a bare prompt, as text or as ids."""
    text = plan(single(1), endpoint="completions")
    assert isinstance(text.prompt(turns(text)[0]), str)
    ids = plan(single(1), endpoint="completions", vocabulary=token_id_vocabulary())
    prompt = ids.prompt(turns(ids)[0])
    assert len(prompt) == 40
    assert all(isinstance(token, int) for token in prompt)


def test_chat_takes_no_token_ids(plan: MakePlan) -> None:
    """Token ids can't be the content of a chat message."""
    with pytest.raises(ConfigError, match="endpoint completions"):
        plan(single(1), vocabulary=token_id_vocabulary())


def talk(*texts: str) -> tuple[dict[str, str], ...]:
    roles = itertools.cycle(("user", "assistant"))
    return tuple({"role": role, "content": text} for role, text in zip(roles, texts, strict=False))


def test_recorded_text_is_sent_as_it_is(plan: MakePlan) -> None:
    """Messages come back from the spool unchanged where no salt is asked for."""
    rows = [row(0.0, None, messages=talk("你好")), row(1.0, None, messages=talk("a", "b", "c"))]
    made = plan(rows, salt="none", blocks=None)
    assert [made.prompt(turn) for turn in turns(made)] == [list(talk("你好")), list(talk(*"abc"))]
    assert [turn.input_tokens for turn in turns(made)] == [None, None]


def test_appended_turns_are_marked_and_salted_once(plan: MakePlan) -> None:
    """Only a conversation's first message carries the salt; later turns add to it."""
    rows = [
        row(0.0, None, messages=talk("one"), session="s", appends=True),
        row(1.0, None, messages=talk("two"), session="s", appends=True),
    ]
    made = plan(rows, salt="x", blocks=None)
    first, second = turns(made)
    assert first.appends and second.appends
    assert made.prompt(first)[0]["content"].endswith("\none")
    assert made.prompt(first)[0]["content"] != "one"
    assert made.prompt(second) == list(talk("two"))


def test_recorded_text_as_a_completion(plan: MakePlan) -> None:
    """The completions endpoint gets a conversation as its texts."""
    rows = [row(0.0, None, messages=talk("a", "b"))]
    made = plan(rows, salt="none", endpoint="completions", blocks=None)
    assert made.prompt(turns(made)[0]) == "a\n\nb"


def test_block_ids_of_any_64_bits(plan: MakePlan) -> None:
    """Hashes beyond a signed integer are ids like any other."""
    made = plan([row(0.0, block_ids=(2**64 - 1, 2**63, 5))])
    assert len(text_of(made, next(made.sessions())).split()) == 35


def test_a_row_without_length_or_text_is_an_error(plan: MakePlan) -> None:
    """What can't be sent is named by file and line."""
    with pytest.raises(ConfigError, match="t:12: the row has neither"):
        plan([row(0.0, None, line=12)])


def test_a_failed_plan_leaves_no_descriptor(recipe: MakeRecipe, words: Vocabulary) -> None:
    """Building that ends in an error closes what it had spooled."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    reading = TraceReading(Path("t"), "native", None, iter([*single(1), row(1.0, None)]))
    with pytest.raises(ConfigError) as caught:
        build_plan(recipe(), reading, words)
    assert caught.value.__traceback__ is not None, "it holds what was open"
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# -- accounts ----------------------------------------------------------------------------------


def test_the_ceiling_counts_the_main_phase_in_a_filled_cache(plan: MakePlan) -> None:
    """The warm-up fills the cache and is not counted."""
    made = plan(single(4))
    assert made.ceiling().tokens_fraction == pytest.approx(3 * 16 / 160)
    warm = plan(single(4), warmup={"duration_s": 1})
    assert warm.ceiling().tokens_fraction == pytest.approx(16 / 40)
    assert warm.ceiling(server_block_tokens=32).hit_tokens == 0


@given(
    ids=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=12),
    tails=st.lists(st.integers(1, 16), min_size=12, max_size=12),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_ceiling_leaves_nothing_out(
    plan: MakePlan, ids: list[list[int]], tails: list[int]
) -> None:
    """What the plan counts is what counting every block of every request gives."""
    rows = [
        row(float(i), 16 * (len(chain) - 1) + tail, block_ids=tuple(chain))
        for i, (chain, tail) in enumerate(zip(ids, tails, strict=False))
    ]
    whole = CacheCeiling(16)
    for each in rows:
        whole.add(each.block_ids or (), each.input_tokens or 0)
    found = plan(rows).ceiling()
    assert (found.hit_tokens, found.input_tokens) == (whole.hit_tokens, whole.input_tokens)


def test_a_plan_holds_numbers_and_no_content(
    plan: MakePlan, pickled: Callable[[object], bytes]
) -> None:
    """A row costs under 80 bytes of memory, however long its text or its list of blocks."""
    rows = [row(float(i), None, messages=talk("x" * 10_000)) for i in range(500)]
    rows += [row(500.0 + i, 16_000, block_ids=tuple(range(i, i + 1000))) for i in range(500)]
    made = plan(rows)
    columns = [getattr(made.columns, each.name) for each in fields(made.columns)]
    assert sum(column.nbytes for column in columns) / 1000 < 80
    assert len(pickled(made)) < 100_000


def test_each_cycle_starts_with_an_empty_cache(plan: MakePlan) -> None:
    """New content of a cycle finds nothing of the cycle before."""
    once = plan(single(4), arrivals=CLOSED).ceiling()
    twice = plan(single(4), arrivals=CLOSED, requests=8).ceiling()
    assert twice.hit_tokens == 2 * (once.hit_tokens or math.nan)
    assert twice.tokens_fraction == once.tokens_fraction


def test_the_ceiling_of_text_is_unknown(plan: MakePlan) -> None:
    """Where content is text the plan does not guess."""
    ceiling = plan([row(0.0, None, messages=talk("a"))], blocks=None).ceiling()
    assert ceiling.hit_tokens is None
    assert ceiling.tokens_fraction is None


def test_the_manifest_is_json_and_whole(plan: MakePlan, recipe: MakeRecipe) -> None:
    """Everything needed to make the plan again, and its digest, as plain JSON."""
    made = plan(single(3), seed=5)
    written = json.loads(json.dumps(made.manifest()))
    assert written["seeds"] == named_seeds(recipe(seed=5))
    assert written["format"] == "native"
    assert (written["requests"], written["rows"], written["sessions"]) == (3, 3, 3)
    assert written["prompts"]["method"] == "server_tokenize"
    assert written["below_overhead"] == 0
    assert written["ceiling"]["tokens_fraction"] == pytest.approx(32 / 120)
    assert len(written["digest"]) == 64


def test_rows_shorter_than_the_template_are_counted(plan: MakePlan) -> None:
    """Inputs that the template alone exceeds can't be met, and the manifest says how many."""
    made = plan([row(0.0, 4), row(1.0, 40)], blocks=None)
    assert made.manifest()["below_overhead"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1, "arrivals": {"kind": "poisson", "rate_rps": 1}},
        {"requests": 2},
        {"warmup": {"requests": 1}},
    ],
)
def test_the_digest_tells_plans_apart(plan: MakePlan, change: dict[str, Any]) -> None:
    """Another time, extent or phase is another plan."""
    fields = {"arrivals": {"kind": "poisson", "rate_rps": 1}}
    one = plan(single(5), **fields).digest()
    assert plan(single(5), **{**fields, **change}).digest() != one


def test_the_real_mooncake_trace(words: Vocabulary, real_trace: Callable[[str], Path]) -> None:
    """12,031 requests, recorded times, and the published ceiling of 37.36 % of tokens."""
    path = real_trace("mooncake/conversation_trace.jsonl")
    chosen = override(resolve_recipe(path), Overrides(speed=4))
    made = build_plan(chosen, open_source(chosen), words)
    assert made.requests == 12_031
    assert made.ceiling().tokens_fraction == pytest.approx(0.3736, abs=5e-5)
    assert turns(made)[-1].at_s == pytest.approx(3537.0 / 4, abs=0.01)
