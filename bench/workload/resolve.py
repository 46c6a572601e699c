"""From what a user names to a recipe: a shipped name, a recipe file, a trace, or options."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import ConfigError, UsageError
from bench.shipped import shipped
from bench.workload.recipe import Recipe, load_recipe
from bench.yamlfile import explain, nearest

_RECIPE_SUFFIXES = (".yaml", ".yml")
DEFAULT_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of the command line that replace parts of a recipe; None leaves it as it is.

    `arrivals`: "poisson", "constant", "gamma:CV", "weibull:CV" or "recorded".
    `warmup_requests`: 0 takes the recipe's warm-up away.  `keep_going`: errors in a row do not end
    the run.
    """

    rate_rps: float | None = None
    arrivals: str | None = None
    concurrency: int | None = None
    max_concurrency: int | None = None
    requests: int | None = None
    duration_s: float | None = None
    warmup_requests: int | None = None
    speed: float | None = None
    dequantize_s: float | None = None
    limit: int | None = None
    scale_input: float | None = None
    scale_output: float | None = None
    max_input: int | None = None
    max_output: int | None = None
    skip_bad: int | None = None
    format: str | None = None
    endpoint: str | None = None
    seed: int | None = None
    salt: str | None = None
    prompt_length: str | None = None
    tokenizer_file: str | None = None
    temperature: float | None = None
    keep_going: bool | None = None


def resolve_recipe(name_or_path: str | Path) -> Recipe:
    """The recipe that `-w` names: a `.yaml` file, a trace file or folder, or a shipped name.

    A trace becomes a recipe that replays it as recorded.  Raises ConfigError.
    """
    path = Path(name_or_path)
    if path.suffix in _RECIPE_SUFFIXES:
        return load_recipe(path)
    if path.exists():
        return recipe_of_trace(path)
    known = shipped_recipes()
    name = str(name_or_path)
    if name in known:
        return load_recipe(known[name])
    raise ConfigError(f"{name}: no such recipe or trace file", nearest(name, list(known)))


def shipped_recipes() -> dict[str, Path]:
    """Recipes that travel with the package, by name."""
    return {path.stem: path for path in sorted(shipped("workloads").glob("*.yaml"))}


def recipe_of_trace(path: Path) -> Recipe:
    """A recipe that replays a trace as recorded."""
    name = _safe_name(path.name)
    return _validated(
        {
            "name": name,
            "title": {"zh": f"轨迹 {name}", "en": f"Trace {name}"},
            "source": {"kind": "trace", "path": str(path)},
            "arrivals": {"kind": "recorded"},
        }
    )


def recipe_of_lengths(input_tokens: int, output_tokens: int) -> Recipe:
    """A recipe of equal requests, one at a time until `Overrides` says otherwise.

    Raises UsageError for a length below 1, which no request has.
    """
    for option, tokens in (("--input-tokens", input_tokens), ("--output-tokens", output_tokens)):
        if tokens < 1:
            raise UsageError(f"{option} {tokens}: expected 1 or more")
    return _validated(
        {
            "name": f"fixed-{input_tokens}-{output_tokens}",
            "title": {
                "zh": f"固定长度：输入 {input_tokens}，输出 {output_tokens} Token",
                "en": f"Fixed lengths: {input_tokens} tokens in, {output_tokens} out",
            },
            "source": {
                "kind": "synthetic",
                "input_tokens": {"kind": "fixed", "value": input_tokens},
                "output_tokens": {"kind": "fixed", "value": output_tokens},
            },
            "arrivals": {"kind": "closed", "concurrency": 1},
            "requests": DEFAULT_REQUESTS,
        }
    )


def override(recipe: Recipe, options: Overrides) -> Recipe:
    """The recipe with the options in place of its own.  Raises UsageError naming the option.

    `requests` and `duration_s` bound a run together: where only one is given, the recipe's other
    is dropped.
    """
    fields = recipe.model_dump(mode="json")
    given = {name: value for name, value in asdict(options).items() if value is not None}
    if ("requests" in given) != ("duration_s" in given):
        fields["requests"] = fields["duration_s"] = None
    for name in ("requests", "duration_s", "endpoint", "seed", "salt", "prompt_length",
                 "tokenizer_file", "max_concurrency"):  # fmt: skip
        if name in given:
            fields[name] = given[name]
    if "warmup_requests" in given:
        fields["warmup"] = (
            {"requests": given["warmup_requests"]} if given["warmup_requests"] else None
        )
    if given.get("keep_going"):
        fields["stop"] |= {"keep_going": True, "max_errors_in_a_row": None}
    if "temperature" in given:
        fields["sampling"]["temperature"] = given["temperature"]
    if "tokenizer_file" in given:
        # Relative to where the command is given, not to the recipe.
        fields["tokenizer_file"] = str(Path(given["tokenizer_file"]).absolute())
    _check_warmup(fields, given)
    _override_source(fields["source"], given)
    fields["arrivals"] = _overridden_arrivals(fields, given)
    if fields["arrivals"]["kind"] == "closed" and "max_concurrency" not in given:
        fields["max_concurrency"] = None
    return _validated(fields, given).in_folder(recipe.path_of(""))


def _check_warmup(fields: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuses an option that leaves nothing behind the recipe's own warm-up."""
    if "warmup_requests" in given:
        return
    for name, unit in (("requests", "requests"), ("duration_s", "s")):
        warm = (fields["warmup"] or {}).get(name)
        if name in given and warm is not None and warm >= given[name]:
            raise UsageError(
                f"{_option(name)} {given[name]:g} leaves nothing to judge: the recipe's warm-up "
                f"takes the first {warm:g} {unit}",
                "--warmup 0 takes it away, --warmup N makes it N requests",
            )


def _override_source(source: dict[str, Any], given: dict[str, Any]) -> None:
    for_trace = ("limit", "scale_input", "scale_output", "max_input", "max_output")
    used = [name for name in (*for_trace, "skip_bad", "format") if name in given]
    if used and source["kind"] != "trace":
        raise UsageError(f"{_option(used[0])} fits a trace, and this recipe has none")
    for name in used:
        if name in for_trace:
            source["fit"][name] = given[name]
        elif name == "skip_bad":
            source["options"]["skip_bad"] = given[name]
        else:
            source["format"] = given[name]


def _overridden_arrivals(fields: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    arrivals: dict[str, Any] = fields["arrivals"]
    rate_rps, concurrency = given.get("rate_rps"), given.get("concurrency")
    pattern = given.get("arrivals")
    if concurrency is not None:
        if rate_rps is not None or pattern is not None:
            raise UsageError(
                "--concurrency is a closed loop, --rate and --arrivals are an open one",
                "give one of them; --max-concurrency caps an open loop",
            )
        ramp_s = arrivals.get("ramp_s")
        arrivals = {"kind": "closed", "concurrency": concurrency, "ramp_s": ramp_s}
    elif pattern is not None:
        if pattern == "recorded" and rate_rps is not None:
            raise UsageError(
                "--arrivals recorded keeps the trace's own times, and --rate replaces them",
                "give one of them; --speed X replays recorded times X times as fast",
            )
        arrivals = _pattern(pattern, arrivals if rate_rps is None else {"rate_rps": rate_rps})
    elif rate_rps is not None:
        if "rate_rps" in arrivals:
            arrivals = {**arrivals, "rate_rps": rate_rps}
        else:
            arrivals = {"kind": "poisson", "rate_rps": rate_rps}
    for name in ("speed", "dequantize_s"):
        if name in given:
            if arrivals["kind"] != "recorded":
                raise UsageError(
                    f"{_option(name)} changes recorded times, and these are {arrivals['kind']}"
                )
            arrivals = {**arrivals, name: given[name]}
    return arrivals


def _pattern(pattern: str, rate: dict[str, Any]) -> dict[str, Any]:
    """`gamma:2.5` and the like as the fields of a recipe's arrivals."""
    kind, _, argument = pattern.partition(":")
    takes_cv = kind in ("gamma", "weibull")
    if kind == "recorded" and not argument:
        return {"kind": kind}
    if kind not in ("poisson", "constant", "gamma", "weibull") or takes_cv != bool(argument):
        raise UsageError(
            f"--arrivals {pattern}: expected poisson, constant, gamma:CV, weibull:CV or recorded",
            "for example --arrivals gamma:2.5",
        )
    if "rate_rps" not in rate:
        raise UsageError(f"--arrivals {pattern} needs --rate")
    made = {"kind": kind, "rate_rps": rate["rate_rps"]}
    if takes_cv:
        try:
            made["cv"] = float(argument)
        except ValueError:
            raise UsageError(f'--arrivals {pattern}: expected a number, got "{argument}"') from None
    return made


def _validated(fields: dict[str, Any], given: Collection[str] = ()) -> Recipe:
    """The recipe of `fields`; what is wrong with one of the `given` is told by its option."""
    try:
        return Recipe.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        message, hint = explain(error, Recipe)
        where = error.errors()[0]["loc"]
        if where and where[-1] in given:
            message = f"{_option(str(where[-1]))}: {message.partition(': ')[2]}"
        raise UsageError(message, hint) from None


def _option(name: str) -> str:
    return "--" + name.removesuffix("_s").removesuffix("_rps").replace("_", "-")


def _safe_name(file_name: str) -> str:
    stem = re.sub(r"(\.(jsonl|json|csv|gz|zst|parquet|txt))+$", "", file_name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64] or "trace"
