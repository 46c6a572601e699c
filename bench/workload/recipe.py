"""Recipes: what a workload is, as a YAML file says it.

A recipe names a source of requests, how they arrive, how long the run is, and what each request
asks for.  The models are its schema (`Recipe.model_json_schema()`); `docs/recipes.md` explains it.
`${NAME}` in `headers`, `tenants` and `sampling.extra` stands for an environment variable and stays
unexpanded in the model, so that hashes and manifests hold no secret.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from bench.model import Target, Timeouts
from bench.workload.arrivals import Arrivals, Closed, Recorded, Stages
from bench.workload.distributions import Distribution
from bench.yamlfile import EitherModel, StrictModel, expand_env, load_yaml_model

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
_TIMEOUTS = Timeouts()
_NOT_WRITTEN = "(not written)"
SEEDS = ("arrivals", "lengths", "content", "sampling")


class Title(StrictModel):
    zh: str
    en: str


# -- source ------------------------------------------------------------------------------------


class FitOptions(StrictModel):
    """How a trace is made to fit a server (see docs/traces.md)."""

    scale_input: Positive = 1.0
    scale_output: Positive = 1.0
    max_input: Count | None = Field(default=None, description="Tokens.")
    max_output: Count | None = Field(default=None, description="Tokens.")
    mode: Literal["clamp", "drop"] = Field(
        default="clamp", description="What happens above a maximum."
    )
    limit: Count | None = Field(default=None, description="Take only the first rows.")


class ReaderOptions(StrictModel):
    """Choices that a trace leaves open; the fields of bench.workload.readers.ReadOptions."""

    skip_bad: int = Field(default=0, ge=0, description="Bad rows that are skipped and counted.")
    keep_failures: bool = Field(default=False, description="BurstGPT: keep rows without output.")
    recorded_answers: bool = Field(
        default=False, description="ShareGPT: later turns hold recorded answers, not live ones."
    )
    duration_s: Positive | None = Field(default=None, description="ServeGen: what to generate.")
    rate_rps: Positive | None = Field(default=None, description="ServeGen: the aggregate rate.")


class TraceSource(StrictModel):
    """Rows of a trace file, or of a folder where the format is one."""

    kind: Literal["trace"]
    path: str = Field(min_length=1, description="Relative to the recipe's own folder.")
    format: str | None = Field(default=None, description="Detected from the content when absent.")
    options: ReaderOptions = ReaderOptions()
    fit: FitOptions = FitOptions()
    shared_prefix_tokens: int = Field(
        default=0,
        ge=0,
        description="Equal first tokens for rows whose trace doesn't say what is shared.",
    )


class SharedPrefix(StrictModel):
    """The first `tokens` of a session are those of one of `groups` prefixes, evenly drawn."""

    tokens: Count
    groups: Count = 1


class SyntheticSource(StrictModel):
    """Sessions drawn from distributions.

    `input_tokens` is what a turn adds (the first turn: after the shared prefix).  Each turn's
    prompt is the session so far with its recorded answers, so it grows by output and input.
    """

    kind: Literal["synthetic"]
    input_tokens: Distribution
    output_tokens: Distribution
    first_input_tokens: Distribution | None = Field(
        default=None, description="Of a session's first turn; input_tokens when absent."
    )
    shared_prefix: SharedPrefix | None = None
    turns: Distribution | None = Field(default=None, description="Per session; 1 when absent.")
    think_s: Distribution | None = Field(default=None, description="Between turns; 0 when absent.")
    max_input_tokens: Count | None = Field(
        default=None, description="A session ends before the turn that would exceed it."
    )


class TextSource(StrictModel):
    """A text file with one prompt per line that is not empty."""

    kind: Literal["text"]
    path: str = Field(min_length=1, description="Relative to the recipe's own folder.")
    output_tokens: Distribution | None = Field(
        default=None, description="Left to the server when absent."
    )


Source = Annotated[TraceSource | SyntheticSource | TextSource, Field(discriminator="kind")]

# -- recipe ------------------------------------------------------------------------------------


class Warmup(EitherModel):
    """The first part of the run, sent and recorded but reported apart: requests or seconds.

    It is inside `requests` and `duration_s`.  A session belongs to one phase as a whole.
    """

    either = ("requests", "duration_s")

    requests: Count | None = None
    duration_s: Positive | None = None


class Seeds(StrictModel):
    """Seeds that replace those derived from `seed`."""

    arrivals: int | None = Field(default=None, ge=0)
    lengths: int | None = Field(default=None, ge=0)
    content: int | None = Field(default=None, ge=0)
    sampling: int | None = Field(default=None, ge=0)


class Sampling(StrictModel):
    """What requests ask of the sampler.  Absent fields are not sent."""

    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = None
    send_seed: bool = Field(
        default=False, description="Send the `sampling` seed with every request."
    )
    extra: dict[str, Any] = Field(default_factory=dict, description="More fields of the body.")


ERRORS_PER_SLOT = 20


class Stop(StrictModel):
    """Conditions that end a run early."""

    max_errors: Count | None = None
    max_errors_in_a_row: Count | None = Field(
        default=None, description=f"Absent: {ERRORS_PER_SLOT} for each slot of a closed loop."
    )
    keep_going: bool = Field(
        default=False, description="A closed loop, too, ends at no number that is not given."
    )
    error_rate_above: float | None = Field(default=None, gt=0, lt=1, description="A fraction.")
    error_rate_for_s: Positive = 10.0


class TimeoutOptions(StrictModel):
    """Same fields as bench.model.Timeouts."""

    connect_s: Positive = _TIMEOUTS.connect_s
    first_byte_s: Positive = _TIMEOUTS.first_byte_s
    idle_s: Positive = _TIMEOUTS.idle_s
    total_s: Positive = _TIMEOUTS.total_s


class Recipe(StrictModel):
    """One workload: source, arrivals, extent, and what each request asks for."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    title: Title
    source: Source
    arrivals: Arrivals
    max_concurrency: Count | None = Field(
        default=None, description="Open loop: a request that finds no room is dropped and counted."
    )
    requests: Count | None = None
    duration_s: Positive | None = Field(default=None, description="No request starts after it.")
    warmup: Warmup | None = None
    seed: int = Field(default=0, ge=0)
    seeds: Seeds = Seeds()
    salt: str = Field(
        default="auto",
        min_length=1,
        max_length=64,
        description="auto: new in every run; none: no salt.",
    )
    prompt_length: Literal[
        "auto", "token_ids", "server_tokenize", "local_tokenizer", "estimate"
    ] = "auto"
    tokenizer_file: str | None = Field(
        default=None, description="tokenizer.json for local_tokenizer."
    )
    endpoint: Literal["chat", "completions", "responses", "tgi", "infer", "triton", "generate"] = (
        "chat"
    )
    sampling: Sampling = Sampling()
    headers: dict[str, str] = Field(default_factory=dict)
    tenants: tuple[dict[str, str], ...] = ()
    stop: Stop = Stop()
    timeouts: TimeoutOptions = TimeoutOptions()

    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        closed = isinstance(self.arrivals, Closed)
        if isinstance(self.arrivals, Recorded) and not isinstance(self.source, TraceSource):
            raise ValueError("arrivals.kind recorded needs a source of kind trace")
        if closed and self.max_concurrency is not None:
            raise ValueError("max_concurrency caps an open loop; a closed one has concurrency")
        if closed and self.warmup is not None and self.warmup.duration_s is not None:
            raise ValueError("a closed loop has no planned times: give warmup.requests instead")
        warm = self.warmup.requests if self.warmup else None
        if warm is not None and self.requests is not None and warm >= self.requests:
            raise ValueError(f"warmup.requests {warm} leaves none of requests {self.requests}")
        warm_s = self.warmup.duration_s if self.warmup else None
        if warm_s is not None and self.duration_s is not None and warm_s >= self.duration_s:
            raise ValueError(f"warmup.duration_s {warm_s:g} leaves none of {self.duration_s:g} s")
        endless = isinstance(self.source, SyntheticSource) and not isinstance(self.arrivals, Stages)
        if endless and self.requests is None and self.duration_s is None:
            raise ValueError("a synthetic source needs requests or duration_s")
        if len({frozenset(tenant) for tenant in self.tenants}) > 1 or {} in self.tenants:
            raise ValueError("tenants: each needs the same headers, and at least one")
        if self.prompt_length == "token_ids" and self.endpoint != "completions":
            raise ValueError("prompt_length token_ids needs endpoint completions")
        if self.prompt_length == "local_tokenizer" and self.tokenizer_file is None:
            raise ValueError("prompt_length local_tokenizer needs tokenizer_file")
        return self

    @property
    def stop_conditions(self) -> Stop:
        """`stop`, with what ends a closed loop where the recipe says nothing.

        Failures are faster than answers, so a closed loop sends a server that went away the rest
        of its plan within seconds.  An open loop keeps to its times, and outages are measured.
        """
        stop, arrivals = self.stop, self.arrivals
        if stop.keep_going or stop.max_errors_in_a_row or not isinstance(arrivals, Closed):
            return stop
        most = ERRORS_PER_SLOT * arrivals.concurrency
        return stop.model_copy(update={"max_errors_in_a_row": most})

    def in_folder(self, folder: Path) -> Recipe:
        """The recipe with its relative paths counted from `folder`."""
        placed = self.model_copy()
        placed._folder = folder
        return placed

    def path_of(self, written: str) -> Path:
        """A path of the recipe, made absolute or relative to the working directory."""
        return self._folder / written


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file.  Raises ConfigError with file, line, field, expected and got."""
    return load_yaml_model(path, Recipe).in_folder(Path(path).parent)


def named_seeds(recipe: Recipe) -> dict[str, int]:
    """The seeds of `SEEDS`: those given, else derived from `seed` by BLAKE2b of seed and name."""
    given = recipe.seeds.model_dump()
    return {
        name: _derived(recipe.seed, name) if given[name] is None else given[name] for name in SEEDS
    }


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 (hex) of the recipe's canonical JSON: sorted keys, no defaults, no header values."""
    fields = _without_header_values(recipe.model_dump(mode="json", exclude_defaults=True))
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def recipe_manifest(recipe: Recipe) -> dict[str, Any]:
    """The recipe as resolved, every default filled in, for a manifest; no header values."""
    resolved = recipe.model_copy(update={"stop": recipe.stop_conditions})
    return _without_header_values(resolved.model_dump(mode="json"))


def request_fields(recipe: Recipe, environ: Mapping[str, str]) -> dict[str, Any]:
    """Body fields of every request that the recipe asks for, `${NAME}` expanded."""
    sampling = recipe.sampling
    fields = sampling.model_dump(include={"temperature", "top_p", "top_k"}, exclude_none=True)
    if sampling.send_seed:
        fields["seed"] = named_seeds(recipe)["sampling"] % 2**31
    return {**fields, **expand_env(sampling.extra, environ, "sampling.extra")}


def with_recipe(target: Target, recipe: Recipe, environ: Mapping[str, str]) -> Target:
    """The target with the recipe's timeouts, headers and tenants, `${NAME}` expanded.

    The target's own headers win over the recipe's, a tenant's over both.  What looks at the server
    before the run does so as the first tenant.
    """
    headers: dict[str, str] = expand_env(recipe.headers, environ, "headers")
    tenants: list[dict[str, str]] = expand_env(list(recipe.tenants), environ, "tenants")
    addressed = replace(
        target,
        headers={**headers, **target.headers},
        tenants=tuple(tenants),
        timeouts=Timeouts(**recipe.timeouts.model_dump()),
    )
    return replace(addressed, headers=addressed.headers_of(0))


def _derived(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=6).digest(), "big")


def _without_header_values(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("headers"):
        fields["headers"] = dict.fromkeys(fields["headers"], _NOT_WRITTEN)
    if fields.get("tenants"):
        fields["tenants"] = [dict.fromkeys(each, _NOT_WRITTEN) for each in fields["tenants"]]
    return fields
