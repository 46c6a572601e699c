"""Checklists: what a deployment is accepted on, item by item (reference design, chapter 13).

A checklist is a YAML file.  An item has one or more parts, a part one or more ways to come to a
finding, each a check's name with its parameters.  Scenarios are the loads that measured checks
look at: checks that name the same scenario share its runs.  A multi-scenario test plan (§4.5.4,
deployment solution §8) is a checklist too.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bench.errors import ConfigError
from bench.judge.metric import Text
from bench.judge.profile import Words
from bench.shipped import shipped
from bench.yamlfile import StrictModel, load_yaml_model, nearest

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Basis(StrEnum):
    """How a finding came about.  Attested ones are never counted as measured."""

    MEASURED = "measured"
    SCRAPED = "scraped"
    IMPORTED = "imported"
    ATTESTED = "attested"


PEAK = "peak"
"""The name of the scenario that finds the rate which `rate_of_peak` takes a share of."""

BASES: dict[str, Basis] = {
    "M": Basis.MEASURED,
    "S": Basis.SCRAPED,
    "I": Basis.IMPORTED,
    "A": Basis.ATTESTED,
}


class Scenario(StrictModel):
    """A load, made once for all checks that name it.

    What is sent: `recipe` (a shipped recipe or a file) or equal requests of `input_tokens` and
    `output_tokens`; the other fields replace the recipe's.  `rate_of_peak` is an open loop at that
    share of the rate that the scenario `peak` found.  `kind`: load, or search (rates are raised
    until the profile's attainment is lost), pair (the same load on two deployments in turn), outage
    (the break and restore hooks run meanwhile).  `runs`: repeats, rounds of a pair, or the most
    runs of a search.
    """

    title: Words
    kind: Literal["load", "search", "pair", "outage"] = "load"
    recipe: str | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    concurrency: Count | None = None
    rate_rps: Positive | None = None
    rate_of_peak: Annotated[float, Field(gt=0, le=1)] | None = None
    requests: Count | None = None
    duration_s: Positive | None = None
    warmup_requests: Count | None = None
    runs: Count = 1
    profile: str | None = None

    @model_validator(mode="after")
    def _has_a_load(self) -> Scenario:
        lengths = (self.input_tokens, self.output_tokens)
        if (self.recipe is None) == (lengths == (None, None)):
            raise ValueError("give either recipe, or input_tokens and output_tokens")
        if self.recipe is None and None in lengths:
            raise ValueError("input_tokens and output_tokens go together")
        return self


class Way(StrictModel):
    """One way to decide a part: a check of the table in `bench.accept.checks`."""

    basis: Literal["M", "S", "I", "A"]
    check: str
    parameters: dict[str, Any] = Field(default_factory=dict, alias="with")


class Part(StrictModel):
    """One condition of an item's criterion."""

    name: Annotated[str, Field(alias="part", pattern=r"^[a-z][a-z0-9_]*$")]
    criterion: Words
    by: Annotated[tuple[Way, ...], Field(min_length=1)]


class Item(StrictModel):
    """One line of the checklist.  `stage` is the heading it stands under."""

    id: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]*[0-9.]*$")]
    stage: Words
    title: Words
    criterion: Words
    source: str
    how: Annotated[tuple[Part, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> Item:
        names = [part.name for part in self.how]
        if len(set(names)) != len(names):
            raise ValueError(f"two parts of {self.id} have the same name")
        return self


class Checklist(StrictModel):
    """Items and the scenarios their checks need.

    `profile` is the one runs are judged under where neither the scenario nor the user names one.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    title: Words
    description: Words
    source: str
    profile: str
    scenarios: dict[str, Scenario] = Field(default_factory=dict)
    items: Annotated[tuple[Item, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _ids_differ(self) -> Checklist:
        ids = [item.id for item in self.items]
        twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if twice:
            raise ValueError(f"item {twice[0]} is given twice")
        names = list(self.scenarios)
        for name, scenario in self.scenarios.items():
            if scenario.rate_of_peak and PEAK not in names[: names.index(name)]:
                raise ValueError(f"scenario {name}: rate_of_peak needs a scenario {PEAK} before it")
        return self

    def ways(self) -> Iterator[tuple[Item, Part, Way]]:
        """Every way of every part, in order."""
        for item in self.items:
            for part in item.how:
                for way in part.by:
                    yield item, part, way


def text_of(words: Words) -> Text:
    return Text(words.zh, words.en)


def load_checklist(name_or_path: str | Path) -> Checklist:
    """A shipped checklist by name, or one by path.

    Raises ConfigError: no such checklist, or a wrong field.  Names and parameters of checks are
    checked by `bench.accept.plan.plan_of`.
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        return load_yaml_model(text, Checklist)
    known = shipped_checklists()
    if text not in known:
        raise ConfigError(f'no checklist is named "{text}"', nearest(text, list(known)))
    return load_yaml_model(known[text], Checklist)


def shipped_checklists() -> dict[str, Path]:
    """Checklists that travel with the package, by name."""
    folder = shipped("profiles") / "checklists"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
