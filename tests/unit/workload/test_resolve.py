"""bench.workload.resolve: what `-w` and the options of `bench run` mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import ConfigError, UsageError
from bench.workload.arrivals import Closed, Constant, Gamma, Poisson, Recorded
from bench.workload.build import build_plan
from bench.workload.recipe import Recipe, SyntheticSource, TraceSource
from bench.workload.resolve import (
    Overrides,
    override,
    recipe_of_lengths,
    resolve_recipe,
    shipped_recipes,
)
from bench.workload.source import open_source
from bench.workload.tokens import LengthMethod, Vocabulary

WORDS = Vocabulary(LengthMethod.ESTIMATE, words=("ba", "be", "bi"))
EXPECTED = {"chat", "rag", "code", "long-context", "burst", "closed-64", "smoke", "demo"}


@pytest.fixture
def trace(tmp_path: Path) -> Recipe:
    path = tmp_path / "my trace.v2.jsonl"
    path.write_text('{"timestamp":0,"input_length":9,"output_length":3,"hash_ids":[1]}\n')
    return resolve_recipe(path)


def test_the_shipped_recipes_are_there() -> None:
    """Every recipe the documentation names travels with the package."""
    assert set(shipped_recipes()) >= EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_shipped_recipe_can_be_planned(name: str) -> None:
    """A shipped recipe loads by its name, has both titles, and plans more than its warm-up."""
    recipe = resolve_recipe(name)
    assert recipe.name == name
    assert recipe.title.zh and recipe.title.en
    plan = build_plan(recipe, open_source(recipe), WORDS)
    assert plan.requests is not None
    assert plan.requests > (recipe.warmup.requests or 0 if recipe.warmup else 0)
    assert plan.warmup_sessions > 0 or recipe.warmup is None
    session = next(plan.sessions())
    assert plan.prompt(session.turns[0])


def test_a_trace_is_replayed_as_recorded(trace: Recipe) -> None:
    """A trace's path becomes a recipe of that trace, named after it."""
    assert trace.name == "my-trace.v2"
    assert isinstance(trace.source, TraceSource)
    assert trace.arrivals == Recorded(kind="recorded")


def test_an_unknown_name_suggests_the_nearest() -> None:
    """A misspelt shipped name is answered with the one that was meant."""
    with pytest.raises(ConfigError) as caught:
        resolve_recipe("chatt")
    assert caught.value.hint == 'did you mean "chat"?'


def test_a_shipped_name_is_no_path() -> None:
    """A name can't reach files outside the shipped folder."""
    with pytest.raises(ConfigError):
        resolve_recipe("../workloads/chat")


def test_lengths_make_a_recipe() -> None:
    """--input-tokens and --output-tokens alone are a closed loop of one slot."""
    recipe = recipe_of_lengths(512, 128)
    assert recipe.arrivals == Closed(kind="closed", concurrency=1)
    assert recipe.requests == 100
    assert isinstance(recipe.source, SyntheticSource)


@pytest.mark.parametrize(
    ("options", "arrivals"),
    [
        (Overrides(concurrency=8), Closed(kind="closed", concurrency=8)),
        (Overrides(rate_rps=3), Poisson(kind="poisson", rate_rps=3)),
        (Overrides(rate_rps=3, arrivals="constant"), Constant(kind="constant", rate_rps=3)),
        (Overrides(rate_rps=3, arrivals="gamma:2.5"), Gamma(kind="gamma", rate_rps=3, cv=2.5)),
        (Overrides(speed=4), Recorded(kind="recorded", speed=4)),
        (
            Overrides(speed=2, dequantize_s=3),
            Recorded(kind="recorded", speed=2, dequantize_s=3),
        ),
    ],
    ids=str,
)
def test_options_replace_arrivals(trace: Recipe, options: Overrides, arrivals: object) -> None:
    """Each pacing option means one kind of arrivals."""
    assert override(trace, options).arrivals == arrivals


def test_a_rate_keeps_the_recipe_kind() -> None:
    """--rate alone changes the rate of a recipe that has one, and nothing else."""
    code = resolve_recipe("code")
    changed = override(code, Overrides(rate_rps=9))
    assert changed.arrivals == Gamma(kind="gamma", rate_rps=9, cv=4)
    assert changed.source == code.source


def test_one_bound_replaces_the_other() -> None:
    """--requests on a recipe bounded by time drops the time, and the other way round."""
    chat = resolve_recipe("chat")
    by_count = override(chat, Overrides(requests=500))
    assert (by_count.requests, by_count.duration_s) == (500, None)
    smoke = override(resolve_recipe("smoke"), Overrides(duration_s=5))
    assert (smoke.requests, smoke.duration_s) == (None, 5)
    both = override(chat, Overrides(requests=500, duration_s=90))
    assert (both.requests, both.duration_s) == (500, 90)


def test_fitting_options_reach_the_trace(trace: Recipe) -> None:
    """Options that fit a trace are the recipe's fit, its path still found."""
    changed = override(
        trace, Overrides(scale_input=0.5, max_output=20, limit=7, skip_bad=2, format="mooncake")
    )
    source = changed.source
    assert isinstance(source, TraceSource)
    assert (source.fit.scale_input, source.fit.max_output, source.fit.limit) == (0.5, 20, 7)
    assert (source.options.skip_bad, source.format) == (2, "mooncake")
    assert changed.path_of(source.path).exists()


def test_paths_survive_options() -> None:
    """A shipped recipe with a relative path still finds its trace after options."""
    demo = override(resolve_recipe("demo"), Overrides(speed=8))
    assert isinstance(demo.source, TraceSource)
    assert demo.path_of(demo.source.path).exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (Overrides(concurrency=2, rate_rps=3), "--concurrency is a closed loop"),
        (Overrides(arrivals="gamma:2"), "needs --rate"),
        (Overrides(arrivals="recorded", rate_rps=2), "--rate replaces them"),
        (Overrides(rate_rps=-3), "--rate: expected a number greater than 0, got -3"),
        (Overrides(concurrency=0), "--concurrency: expected a number"),
        (Overrides(duration_s=-1), "--duration: expected a number"),
        (Overrides(arrivals="gamma", rate_rps=2), "expected poisson, constant, gamma:CV"),
        (Overrides(arrivals="gamma:x", rate_rps=2), 'expected a number, got "x"'),
        (Overrides(arrivals="burst", rate_rps=2), "expected poisson, constant, gamma:CV"),
        (Overrides(rate_rps=2, speed=3), "--speed changes recorded times, and these are poisson"),
        (Overrides(requests=0), "--requests: expected"),
        (Overrides(endpoint="chats"), "--endpoint: expected one of"),
    ],
    ids=str,
)
def test_options_that_contradict_are_refused(trace: Recipe, options: Overrides, says: str) -> None:
    """A wrong or contradicting option is a UsageError that names it."""
    with pytest.raises(UsageError) as caught:
        override(trace, options)
    assert says in caught.value.message


def test_fitting_needs_a_trace() -> None:
    """An option that fits a trace is refused where there is none."""
    with pytest.raises(UsageError, match="--scale-input fits a trace"):
        override(recipe_of_lengths(5, 5), Overrides(scale_input=2))


def test_the_warm_up_can_be_changed_and_taken_away() -> None:
    """--warmup-requests replaces the recipe's warm-up; 0 removes it."""
    recipe = resolve_recipe("closed-64")
    fewer = override(recipe, Overrides(requests=20, warmup_requests=4))
    assert fewer.warmup is not None
    assert fewer.warmup.requests == 4
    assert override(recipe, Overrides(requests=20, warmup_requests=0)).warmup is None


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("chat", Overrides(duration_s=30), "--duration 30 leaves nothing to judge"),
        ("closed-64", Overrides(requests=20), "--requests 20 leaves nothing to judge"),
    ],
)
def test_an_extent_within_the_warm_up_is_refused(name: str, options: Overrides, says: str) -> None:
    """What the option leaves nothing of is named, and how to take the warm-up away."""
    with pytest.raises(UsageError, match=says) as caught:
        override(resolve_recipe(name), options)
    assert "--warmup 0" in caught.value.hint


@pytest.mark.parametrize("lengths", [(0, 5), (5, 0), (-1, 5)])
def test_lengths_begin_at_one_token(lengths: tuple[int, int]) -> None:
    """A request of nothing would be sent as one of a token, under a name that says 0."""
    with pytest.raises(UsageError, match=r"put-tokens -?\d: expected 1 or more"):
        recipe_of_lengths(*lengths)
