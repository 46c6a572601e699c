"""Scenarios as recipes: the user's in place of its own, and scaled for a rehearsal."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.accept.scenario import recipe_of, runs_of, scaled
from bench.accept.settings import Settings
from bench.judge.checklist import Scenario, Words, load_checklist
from bench.workload.arrivals import Closed, Poisson, Stages
from bench.workload.recipe import Recipe
from bench.workload.resolve import resolve_recipe

TITLE = Words(zh="词", en="word")


def scenario(**fields: object) -> Scenario:
    return Scenario.model_validate({"title": TITLE, **fields})


def test_lengths_make_equal_requests() -> None:
    """The input sweep: so many tokens in, one out, one at a time."""
    sweep = load_checklist("deepseek-v3-h20").scenarios["sweep4096"]
    recipe = recipe_of("sweep4096", sweep, Settings(), 1.0)
    assert isinstance(recipe.arrivals, Closed)
    assert (recipe.arrivals.concurrency, recipe.requests) == (1, 30)
    assert recipe.source.model_dump()["input_tokens"]["value"] == 4096


def test_a_rate_makes_an_open_loop() -> None:
    """Search and share of the peak put their rate in the place of the recipe's arrivals."""
    recipe = recipe_of("x", scenario(recipe="accept-baseline"), Settings(), 1.0, rate_rps=7.5)
    assert recipe.arrivals == Poisson(kind="poisson", rate_rps=7.5)


def test_the_users_recipe_goes_first(tmp_path: Path) -> None:
    """`recipes` of the settings name a shipped recipe, or a file beside them."""
    settings = Settings(recipes={"x": "smoke"}).in_folder(tmp_path)
    assert recipe_of("x", scenario(recipe="accept-cache"), settings, 1.0).name == "smoke"


@pytest.mark.parametrize("scale", [0.5, 0.05])
def test_a_rehearsal_is_the_same_load_for_less_time(scale: float) -> None:
    """Durations shrink; concurrency, rates and lengths stay."""
    whole = resolve_recipe("accept-baseline")
    less = scaled(whole, scale)
    assert less.duration_s == pytest.approx((whole.duration_s or 0) * scale)
    assert less.arrivals == whole.arrivals
    assert less.source == whole.source


def test_stages_shrink_each() -> None:
    """A step load keeps its steps."""
    whole = resolve_recipe("accept-step").arrivals
    less = scaled(resolve_recipe("accept-step"), 0.1).arrivals
    assert isinstance(whole, Stages) and isinstance(less, Stages)
    assert [s.rate_rps for s in less.stages] == [s.rate_rps for s in whole.stages]
    assert [s.duration_s for s in less.stages] == [60, 60, 60]


def test_a_rehearsal_fills_its_slots() -> None:
    """Fewer requests than slots would be another load; the warm-up leaves some to judge."""
    recipe = resolve_recipe("closed-64")
    less = scaled(recipe, 0.01)
    assert less.requests == 64
    assert less.warmup is not None and less.warmup.requests == 1


def test_an_induced_failure_keeps_room_for_its_hooks() -> None:
    """However small the scale, an outage run lasts at least 8 s."""
    failure = load_checklist("small").scenarios["failure"]
    recipe = recipe_of("failure", failure, Settings(), 0.001)
    assert recipe.duration_s == pytest.approx(8.0)


def test_a_rehearsal_makes_fewer_runs() -> None:
    """Two repeats are the least that can vary; a full acceptance makes all."""
    baseline = load_checklist("small").scenarios["baseline"]
    assert [runs_of(baseline, scale) for scale in (0.05, 1.0)] == [2, 3]
    assert runs_of(scenario(recipe="smoke"), 0.05) == 1


def test_every_shipped_scenario_can_be_scaled() -> None:
    """At any scale the recipe is still one that can be run."""
    for name in ("small", "medium", "large", "security", "deepseek-v3-h20", "test-plan"):
        for key, found in load_checklist(name).scenarios.items():
            assert isinstance(recipe_of(key, found, Settings(), 0.02), Recipe)
