"""A scenario as the recipe that is run: its own or the user's, scaled for a rehearsal."""

from __future__ import annotations

import json
import math
from typing import Any

from bench.accept.settings import Settings
from bench.judge.checklist import Checklist, Scenario
from bench.judge.profile import Profile, load_profile
from bench.workload.recipe import Recipe
from bench.workload.resolve import Overrides, override, recipe_of_lengths, resolve_recipe

SHORTEST_S = 1.0
FEWEST_REQUESTS = 10
SHORTEST_OUTAGE_S = 8.0
FEWEST_RUNS = {"load": 2, "search": 2, "pair": 1, "outage": 1}


def recipe_of(
    name: str,
    scenario: Scenario,
    settings: Settings,
    scale: float,
    *,
    rate_rps: float | None = None,
    endpoint: str = "chat",
) -> Recipe:
    """The recipe of one run of a scenario; `rate_rps` replaces its arrivals by Poisson ones.

    Raises ConfigError and UsageError for a recipe that is wrong.
    """
    recipe = _base(name, scenario, settings)
    rate_rps = rate_rps or scenario.rate_rps
    options = Overrides(
        concurrency=scenario.concurrency if rate_rps is None else None,
        rate_rps=rate_rps,
        requests=scenario.requests,
        duration_s=scenario.duration_s,
        warmup_requests=scenario.warmup_requests,
        endpoint=endpoint,
    )
    recipe = override(recipe, options)
    if scenario.kind == "outage" and recipe.duration_s:
        # Shorter, and hooks that take seconds would not fit in.
        scale = min(1.0, max(scale, SHORTEST_OUTAGE_S / recipe.duration_s))
    return scaled(recipe, scale)


def profile_of(name: str, checklist: Checklist, settings: Settings) -> Profile:
    """The profile that runs of a scenario are judged under: the user's, its own, the checklist's.

    Raises ConfigError where there is none of that name.
    """
    own = checklist.scenarios[name].profile
    return load_profile(settings.profile or own or checklist.profile)


def runs_of(scenario: Scenario, scale: float) -> int:
    """How many runs a scenario takes: a rehearsal makes fewer, and enough to show the way."""
    fewest = min(scenario.runs, FEWEST_RUNS[scenario.kind])
    return max(fewest, math.ceil(scenario.runs * scale))


def _base(name: str, scenario: Scenario, settings: Settings) -> Recipe:
    own = settings.recipes.get(name)
    if own is not None:
        path = settings.path_of(own)
        return resolve_recipe(path if path.exists() else own)
    if scenario.recipe is not None:
        return resolve_recipe(scenario.recipe)
    assert scenario.input_tokens is not None and scenario.output_tokens is not None
    return recipe_of_lengths(scenario.input_tokens, scenario.output_tokens)


def scaled(recipe: Recipe, scale: float) -> Recipe:
    """The same load for a shorter time: durations, requests, stages and warm-up times `scale`.

    Rates, concurrency and lengths stay.  A trace without a duration is cut to its share of rows
    where the recipe says how many there are, and is else left whole.
    """
    if scale == 1:
        return recipe
    fields = recipe.model_dump(mode="json")
    _scale_extent(fields, scale)
    arrivals = fields["arrivals"]
    for stage in arrivals.get("stages", ()):
        stage["duration_s"] *= scale
    if arrivals.get("ramp_s"):
        arrivals["ramp_s"] *= scale
    fit = fields["source"].get("fit")
    if fit and fit["limit"]:
        fit["limit"] = _fewer(fit["limit"], scale)
    return Recipe.model_validate_json(json.dumps(fields)).in_folder(recipe.path_of(""))


def _scale_extent(fields: dict[str, Any], scale: float) -> None:
    slots = fields["arrivals"].get("concurrency", 0)
    if fields["requests"]:
        fields["requests"] = max(_fewer(fields["requests"], scale), min(fields["requests"], slots))
    if fields["duration_s"]:
        fields["duration_s"] = max(fields["duration_s"] * scale, SHORTEST_S)
    warmup = fields["warmup"]
    if warmup and warmup["requests"]:
        warmup["requests"] = max(1, math.floor(warmup["requests"] * scale))
        if fields["requests"]:
            warmup["requests"] = min(warmup["requests"], fields["requests"] - 1)
    elif warmup:
        warmup["duration_s"] *= scale


def _fewer(count: int, scale: float) -> int:
    return min(count, max(FEWEST_REQUESTS, math.ceil(count * scale)))
