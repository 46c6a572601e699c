"""What a sweep is: one recipe, and the loads at which it is run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.errors import ConfigError, UsageError
from bench.judge.profile import Profile
from bench.workload.recipe import Recipe, recipe_hash
from bench.workload.resolve import Overrides, override

Goal = Literal["max-goodput", "max-rate"]


@dataclass(frozen=True, slots=True)
class Search:
    """Rates are sought: the highest that holds the attainment, or that the server keeps up with.

    `tolerance`: how far the lost rate may lie above the one that held, as a fraction.
    """

    goal: Goal
    start_rps: float = 1.0
    tolerance: float = 0.1
    most_runs: int = 12


@dataclass(frozen=True, slots=True)
class SweepOrder:
    """One of `rates_rps`, `concurrencies` and `search` is given.

    `arrivals` ("poisson", "gamma:CV" …) and `max_concurrency` go with rates, as `Overrides` has
    them.  `replicas` is how many the target has, where the user says so.  `require_rps` is the
    objective, where there is one: the rate that has to hold.
    """

    recipe: Recipe
    profile: Profile | None
    rates_rps: tuple[float, ...] = ()
    concurrencies: tuple[int, ...] = ()
    search: Search | None = None
    arrivals: str | None = None
    max_concurrency: int | None = None
    cool_down_s: float = 5.0
    replicas: int | None = None
    require_rps: float | None = None

    @property
    def open_loop(self) -> bool:
        return not self.concurrencies

    @property
    def goal(self) -> Goal | None:
        return self.search.goal if self.search else None

    @property
    def loads(self) -> tuple[float, ...]:
        """The loads of a list, ascending; empty for a search."""
        return tuple(sorted(float(load) for load in (*self.rates_rps, *self.concurrencies)))

    @property
    def attainment(self) -> float | None:
        """The share of requests that has to meet the good set; None where there is none."""
        return self.profile.good.attainment if self.profile and self.profile.good else None

    def check(self) -> None:
        """Raises UsageError and ConfigError for what can't be made or never decided."""
        given = (self.rates_rps, self.concurrencies, self.search)
        if sum(bool(each) for each in given) != 1:
            raise UsageError(
                "expected one of --rates, --concurrencies and --search",
                "for example --rates 1,2,4,8 or --search max-goodput",
            )
        _check_loads("--rates", self.rates_rps)
        _check_loads("--concurrencies", self.concurrencies)
        needs = "--search max-goodput" if self.goal == "max-goodput" else ""
        if self.require_rps is not None and self.goal != "max-rate":
            needs = "--require"
        if needs and self.attainment is None:
            raise ConfigError(
                f"{needs} needs a profile with a good set",
                "name one with -p; `bench profiles show NAME` tells what it has",
            )
        if self.require_rps is not None and not self.open_loop:
            raise UsageError("--require is a rate, and --concurrencies is a closed loop")
        for load in self.loads[:1] or (1.0,):
            self.recipe_at(load)

    def recipe_at(self, load: float) -> Recipe:
        """The recipe of one step.  Raises UsageError where it takes no such load."""
        options = Overrides(
            rate_rps=load if self.open_loop else None,
            concurrency=None if self.open_loop else int(load),
            arrivals=self.arrivals,
            max_concurrency=self.max_concurrency,
        )
        return override(self.recipe, options)

    def as_json(self) -> dict[str, Any]:
        """What has to be the same for a sweep to be taken up again."""
        profile = self.profile.model_dump_json() if self.profile else ""
        search = self.search
        return {
            "recipe": self.recipe.name,
            "recipe_hash": recipe_hash(self.recipe),
            "profile": self.profile.name if self.profile else None,
            "profile_sha256": hashlib.sha256(profile.encode()).hexdigest(),
            "rates_rps": list(self.rates_rps),
            "concurrencies": list(self.concurrencies),
            "arrivals": self.arrivals,
            "max_concurrency": self.max_concurrency,
            "goal": self.goal,
            "start_rps": search.start_rps if search else None,
            "tolerance": search.tolerance if search else None,
            "replicas": self.replicas,
        }


def _check_loads(option: str, loads: Sequence[float]) -> None:
    if any(not load > 0 for load in loads):
        raise UsageError(f"{option}: expected numbers above 0, got {min(loads):g}")
    if len(set(loads)) < len(loads):
        raise UsageError(f"{option}: a load is given twice")
