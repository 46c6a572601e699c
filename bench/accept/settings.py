"""What a deployment says of itself for an acceptance: `acceptance.yaml`.

Everything is optional.  What is not given leaves the checks that need it undecided, with a note on
what to give.  `${NAME}` in a hook is left to the shell, which reads the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, PrivateAttr, model_validator

from bench.yamlfile import EitherModel, StrictModel, load_yaml_model

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Reason = Annotated[str, Field(min_length=3)]
Command = Annotated[str, Field(min_length=1)]


class Hooks(StrictModel):
    """Shell commands of the user's, run on this machine; nothing is run that is not given here.

    `stop` and `start` take the whole service down and up (time to ready).  `break` takes one part
    away under load and `restore` brings it back (outage).  A hook may take `limit_s`.
    """

    stop: Command | None = None
    start: Command | None = None
    break_: Command | None = Field(default=None, alias="break")
    restore: Command | None = None
    limit_s: Positive = 600.0

    @model_validator(mode="after")
    def _both_of_an_outage(self) -> Hooks:
        if (self.break_ is None) != (self.restore is None):
            raise ValueError("break and restore go together")
        return self


class Side(EitherModel):
    """One side of an A/B pair: a URL to load, or run folders made before."""

    either = ("url", "runs")

    url: str | None = None
    model: str = ""
    runs: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _runs_differ(self) -> Side:
        if len(set(self.runs)) < len(self.runs):
            raise ValueError("a run is named twice: rounds are runs of their own")
        return self


class Pair(StrictModel):
    """The deployment without (`before`) and with (`after`) what is to be shown."""

    before: Side
    after: Side

    @model_validator(mode="after")
    def _same_kind(self) -> Pair:
        if (self.before.url is None) != (self.after.url is None):
            raise ValueError("before and after are either two URLs or two lists of runs")
        return self


class Search(StrictModel):
    """Where the rate search begins and how finely it ends."""

    start_rps: Positive | None = Field(
        default=None, description="What the baseline reached, where there is one; else 1."
    )
    tolerance_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1


class Settings(StrictModel):
    """`choose`: only these items; `skip`: item → why it does not apply to this deployment."""

    choose: tuple[str, ...] = ()
    skip: dict[str, Reason] = Field(default_factory=dict)
    profile: str | None = None
    recipes: dict[str, str] = Field(
        default_factory=dict, description="Scenario → recipe to use in place of its own."
    )
    search: Search = Search()
    accelerators: Count | None = Field(default=None, description="How many there should be.")
    image: str | None = Field(default=None, description="Part of the container image's name.")
    health: str | None = Field(default=None, description="Path or URL that generates nothing.")
    scrapes: tuple[str, ...] = Field(default=(), description="URLs of exporters and replicas.")
    prometheus: str | None = Field(default=None, description="Base URL of a Prometheus server.")
    hooks: Hooks = Hooks()
    pairs: dict[str, Pair] = Field(default_factory=dict)
    regions: dict[str, str] = Field(default_factory=dict, description="Region → base URL.")
    expected: dict[str, float] = Field(
        default_factory=dict, description="Capacity model: metric.statistic → value."
    )
    forecast_rps: Positive | None = Field(
        default=None, description="The peak rate that capacity planning foretold."
    )
    history: tuple[str, ...] = Field(default=(), description="Folders that hold stored runs.")
    hostile: str | None = Field(default=None, description="A file of hostile prompts.")

    _folder: Path = PrivateAttr(default=Path())

    def path_of(self, written: str) -> Path:
        """A path of the file, relative to the file's own folder."""
        return self._folder / written

    def in_folder(self, folder: Path) -> Settings:
        placed = self.model_copy()
        placed._folder = folder
        return placed


def load_settings(path: str | Path | None) -> Settings:
    """The settings of a file, or none at all.  Raises ConfigError."""
    if path is None:
        return Settings()
    return load_yaml_model(path, Settings).in_folder(Path(path).parent)
