"""nightly.yaml: what is measured every night, against what, and what it is held against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from bench.yamlfile import StrictModel, load_yaml_model

Count = Annotated[int, Field(ge=1)]


class NightlyTarget(StrictModel):
    """The server under test.  The key is read from the environment; it is never written."""

    url: str = Field(min_length=1)
    model: str = Field(default="", description="The only one served when empty.")
    api_key_env: str | None = Field(default=None, description="Name of a variable.")
    headers: dict[str, str] = Field(default_factory=dict, description="${ENV} is expanded.")
    ca: str | None = None
    insecure: bool = False


class BaselineRule(StrictModel):
    """What a night is held against: the last accepted nights, or a pinned baseline by name."""

    nights: Count = 14
    pinned: str | None = None


class Nightly(StrictModel):
    """One series of nights.

    Relative paths count from the file's own folder.  `folder` gets the runs, the nights and the
    pages; `baselines` the pinned baselines, small files that can be committed.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    target: NightlyTarget
    workload: str = Field(min_length=1, description="A shipped recipe, a recipe file or a trace.")
    profile: str | None = None
    rounds: Annotated[int, Field(ge=2)] = 5
    warmup_rounds: Annotated[int, Field(ge=0)] = 1
    workers: Count = 1
    transport: Literal["auto", "wire", "portable"] = "auto"
    folder: str = "reports/nightly"
    baselines: str = "baselines"
    baseline: BaselineRule = BaselineRule()
    objectives: bool = Field(
        default=False, description="A round that fails its profile fails the night."
    )
    reports: bool = Field(
        default=True, description="An HTML report for each round, linked from index.html."
    )
    lang: Literal["auto", "zh", "en"] = "auto"

    _beside: Path = PrivateAttr(default=Path())

    def in_folder(self, folder: Path) -> Nightly:
        """The configuration with its relative paths counted from `folder`."""
        placed = self.model_copy()
        placed._beside = folder
        return placed

    @property
    def path(self) -> Path:
        """Where nights are kept."""
        return self._beside / self.folder

    @property
    def baselines_path(self) -> Path:
        return self._beside / self.baselines

    def named_file(self, name_or_path: str) -> str:
        """A recipe or profile: a shipped name as it is, a path from the file's own folder."""
        beside = self._beside / name_or_path
        return str(beside) if beside.exists() else name_or_path


def load_nightly(path: str | Path) -> Nightly:
    """Read a nightly.yaml.  Raises ConfigError with file, line, field, expected and got."""
    return load_yaml_model(path, Nightly).in_folder(Path(path).parent)
