"""SLO profiles: what a run is held against (metric system §8, §9).

A profile is a YAML file.  It may extend another by name: fields it gives replace the parent's, and
its limits are added to the parent's, replacing those of the same metric, statistic and level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from bench.errors import ConfigError
from bench.judge.compare_samples import SUMS
from bench.judge.metric import Kind, Metric, Scope, Text
from bench.judge.metrics import METRICS
from bench.judge.score_weights import DIMENSIONS, SCENARIOS
from bench.judge.tokens import Deadlines
from bench.shipped import shipped
from bench.yamlfile import StrictModel, explain, load_yaml_model, nearest


def _known(kind: str, table: Mapping[str, object]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f'no {kind} is named "{name}"; {nearest(name, list(table))}')
        return name

    return AfterValidator(check)


MetricName = Annotated[str, _known("metric", METRICS)]
Dimension = Annotated[str, _known("dimension", DIMENSIONS)]
ScenarioName = Annotated[str, _known("scenario", SCENARIOS)]
Level = Literal["target", "alert", "excellent"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]

_QUANTILE = re.compile(r"p(\d{2})(\d{0,3})")
_LONGEST_CHAIN = 8
CURRENCY = "currency"
"""The unit of costs in the table of metrics; a profile says which currency."""


class Words(StrictModel):
    """The same words in Chinese and in English."""

    zh: str
    en: str

    @property
    def text(self) -> Text:
        return Text(self.zh, self.en)


class Limit(StrictModel):
    """One bound: `statistic` of `metric` at most (or at least, by the metric's direction) `bound`.

    `statistic` is p50 … p999 (p995 is 99.5 %), mean or max for metrics of requests and tokens, and
    value for those of the run.  Only `target` limits make the verdict; the others are listed.
    `window_s` is the time that the limit speaks of ("no restart in 60 min"): a run that is shorter
    does not pass it.
    """

    metric: MetricName
    statistic: str
    bound: float
    window_s: Positive | None = None
    level: Level = "target"
    source: str
    note: Words | None = None

    @model_validator(mode="after")
    def _can_be_judged(self) -> Limit:
        _refuse(_wrong_statistic(METRICS[self.metric], self.statistic))
        _refuse(_wrong_bound(METRICS[self.metric], self.bound))
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        return self.metric, self.statistic, self.level

    @property
    def quantile(self) -> float | None:
        return quantile_of(self.statistic)


class GoodLimit(StrictModel):
    """What one request has to meet to be good."""

    metric: MetricName
    bound: float

    @model_validator(mode="after")
    def _can_be_judged(self) -> GoodLimit:
        metric = METRICS[self.metric]
        if metric.scope is not Scope.REQUEST:
            _refuse(f"{metric.name} has no value of its own for each request")
        _refuse(_wrong_bound(metric, self.bound))
        return self


class Good(StrictModel):
    """The joint limits of goodput and the share of requests that has to meet them."""

    limits: Annotated[tuple[GoodLimit, ...], Field(min_length=1)]
    attainment: Share = 0.9
    source: str = ""


class WindowRule(StrictModel):
    """How warm-up and drain are cut: MSER-5, fixed seconds, or not at all."""

    rule: Literal["mser", "fixed", "whole"] = "mser"
    head_s: Annotated[float, Field(ge=0)] = 0.0
    tail_s: Annotated[float, Field(ge=0)] = 0.0


class FluidityDeadlines(StrictModel):
    """Etalon's deadlines: of the first token, and of each later one."""

    first_s: Positive
    later_s: Positive


class Prices(StrictModel):
    """What the serving accelerators cost, in the profile's currency."""

    accelerators: Annotated[int, Field(gt=0)]
    per_accelerator_hour: Positive


class ValidityLimits(StrictModel):
    """When a run can't be trusted (metric system §10)."""

    schedule_lag_p99_s: Positive = 0.005
    schedule_lag_of_ttft_fraction: Positive = 0.05
    sent_fraction: Share = 0.99
    loop_stall_s: Positive = 0.1
    uncertain_first_fraction: Positive = 0.01
    client_cpu_fraction: Positive = 0.9
    request_count_fraction: Positive = 0.01
    output_length_fraction: Positive = 0.05
    cache_excess_fraction: Positive = 0.05
    waive_output_length: bool = False


class Reference(StrictModel):
    """A published figure shown beside the run's own, and never judged."""

    title: Words
    metric: MetricName
    value: float
    source: str


class Compared(StrictModel):
    """A statistic that `bench compare` judges, and the least change of it that matters.

    `minimum_effect` is a fraction of the base's value; of a share (unit "fraction") it is points,
    so 0.01 is one percentage point.
    """

    metric: MetricName
    statistic: str
    minimum_effect: Share

    @model_validator(mode="after")
    def _can_be_judged(self) -> Compared:
        metric = METRICS[self.metric]
        _refuse(_wrong_statistic(metric, self.statistic))
        if metric.direction == "none":
            _refuse(f"{metric.name} has no better or worse")
        resampled = (
            self.statistic != "max" if metric.scope is Scope.REQUEST else metric.name in SUMS
        )
        if not resampled:
            _refuse(f"{metric.name} {self.statistic} has no samples in time to be resampled")
        return self


class Scored(StrictModel):
    """One metric of the composite score: 100 at `target`, 0 at `worst`, linear between.

    `coefficient` is the business coefficient of §5.4.4.
    """

    dimension: Dimension
    metric: MetricName
    statistic: str
    target: float
    worst: float
    coefficient: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    source: str

    @model_validator(mode="after")
    def _can_be_scored(self) -> Scored:
        metric = METRICS[self.metric]
        _refuse(_wrong_statistic(metric, self.statistic))
        if metric.direction == "none":
            _refuse(f"{metric.name} has no better or worse")
        lower = metric.direction == "lower"
        if self.target == self.worst or lower != (self.target < self.worst):
            side = "below" if lower else "above"
            _refuse(f"{metric.name}: expected a target {side} the worst bound, got {self.target:g}")
        return self

    @property
    def quantile(self) -> float | None:
        return quantile_of(self.statistic)


class Score(StrictModel):
    """The composite score (§5.4.4): a scenario gives the weights, these metrics the points."""

    scenario: ScenarioName
    metrics: Annotated[tuple[Scored, ...], Field(min_length=1)]


class Profile(StrictModel):
    """A profile, with what it extends merged in.

    `cold_start` is whether requests of the warm-up phase are judged.  `currency` (ISO 4217) is that
    of the prices and of every bound on a cost; the documents' are in dollars.  `good` limits define
    goodput.
    `compare` replaces what `bench compare` judges by default (`bench.judge.compare`).
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    title: Words
    extends: str | None = None
    description: Words | None = None
    limits: tuple[Limit, ...] = ()
    good: Good | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    window: WindowRule = WindowRule()
    cold_start: Literal["exclude", "include"] = "exclude"
    fluidity: FluidityDeadlines | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    prices: Prices | None = None
    score: Score | None = None
    validity: ValidityLimits = ValidityLimits()
    references: tuple[Reference, ...] = ()
    compare: tuple[Compared, ...] = ()

    @property
    def deadlines(self) -> Deadlines | None:
        found = self.fluidity
        return Deadlines(found.first_s, found.later_s) if found else None

    def unit_of(self, metric: str) -> str:
        """The metric's unit; of a cost the profile's currency."""
        unit = METRICS[metric].unit
        return self.currency if unit == CURRENCY else unit


def quantile_of(statistic: str) -> float | None:
    """0.995 of "p995"; None of what is no percentile."""
    found = _QUANTILE.fullmatch(statistic)
    return float(f"0.{found[1]}{found[2]}") if found else None


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or one by path, with what it extends.

    Raises ConfigError: no such profile, a wrong field, a limit that can't be judged.
    """
    profile = _load(name_or_path, Path(), ())
    check_profile(profile)
    return profile


def profile_of(manifest: Mapping[str, Any]) -> Profile | None:
    """The profile a run was made under, as its manifest holds it; None where it had none.

    Raises ConfigError where this release doesn't know it any more.
    """
    stored = manifest.get("profile")
    if stored is None:
        return None
    try:
        return Profile.model_validate_json(json.dumps(_with_currency(stored)))
    except ValidationError as error:
        what, hint = explain(error, Profile)
        raise ConfigError(
            f"the run's own profile can't be read: {what}", hint or "name a profile with -p"
        ) from None


def _with_currency(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """An older manifest's profile: the currency stood with the prices."""
    prices = dict(stored.get("prices") or {})
    if "currency" not in prices:
        return stored
    return {**stored, "currency": prices.pop("currency"), "prices": prices}


def shipped_profiles() -> list[str]:
    """Names of the profiles that travel with the package."""
    return sorted(path.stem for path in shipped("profiles").glob("*.yaml"))


def check_profile(profile: Profile) -> None:
    """Refuse a profile with a limit that no run could ever decide.  Raises ConfigError."""
    for limit in profile.limits:
        metric = METRICS[limit.metric]
        why = {
            "several runs": "it needs several runs; a profile judges one",
            "a client that queues": "no request ever has it",
            "good": "" if profile.good else "the profile defines no `good` limits",
            "fluidity": "" if profile.fluidity else "the profile gives no `fluidity` deadlines",
        }.get(metric.needs, "")
        if why:
            raise ConfigError(
                f"profile {profile.name}: a limit on {metric.name} can never be decided: {why}",
                "add what it needs, or take the limit out",
            )


def _load(name_or_path: str | Path, beside: Path, chain: tuple[str, ...]) -> Profile:
    path = _find(name_or_path, beside)
    if len(chain) >= _LONGEST_CHAIN or str(path) in chain:
        raise ConfigError(f"{path}: `extends` goes round: {' → '.join((*chain, str(path)))}")
    profile = load_yaml_model(path, Profile)
    if profile.extends is None:
        return profile
    parent = _load(profile.extends, path.parent, (*chain, str(path)))
    given = {name: getattr(profile, name) for name in profile.model_fields_set}
    _check_currency(profile, parent)
    return parent.model_copy(update={**given, "limits": _merged(parent.limits, profile.limits)})


def _check_currency(profile: Profile, parent: Profile) -> None:
    """Refuse to read a parent's bounds in another currency.  Raises ConfigError."""
    if "currency" not in profile.model_fields_set or profile.currency == parent.currency:
        return
    own = {limit.key for limit in profile.limits}
    costs = {limit.metric for limit in parent.limits if limit.key not in own}
    if "score" not in profile.model_fields_set and parent.score:
        costs |= {scored.metric for scored in parent.score.metrics}
    left = sorted(name for name in costs if METRICS[name].unit == CURRENCY)
    if left:
        raise ConfigError(
            f"profile {profile.name} counts in {profile.currency}, and what {parent.name} says of "
            f"{', '.join(left)} is in {parent.currency}",
            f"give these limits (and the score) again in {profile.currency}",
        )


def _find(name_or_path: str | Path, beside: Path) -> Path:
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        path = Path(text)
        return path if path.is_absolute() or not beside.parts else beside / path
    for folder in (beside, shipped("profiles")):
        path = folder / f"{text}.yaml"
        if folder.parts and path.is_file():
            return path
    raise ConfigError(f'no profile is named "{text}"', nearest(text, shipped_profiles()))


def _merged(parent: Sequence[Limit], child: Sequence[Limit]) -> tuple[Limit, ...]:
    limits = {limit.key: limit for limit in parent}
    limits.update({limit.key: limit for limit in child})
    return tuple(limits.values())


def _refuse(wrong: str) -> None:
    if wrong:
        raise ValueError(wrong)


def _wrong_statistic(metric: Metric, statistic: str) -> str:
    if metric.scope is Scope.RUN:
        expected, fits = "value", statistic == "value"
    else:
        expected = "p50 … p999, mean or max"
        fits = quantile_of(statistic) is not None or statistic in ("mean", "max")
    return "" if fits else f'{metric.name}: expected statistic {expected}, got "{statistic}"'


def _wrong_bound(metric: Metric, bound: float) -> str:
    """Bounds that every run meets or none can be shown to meet."""
    if metric.direction == "none":
        return f"{metric.name} has no better or worse to be limited"
    if metric.kind is Kind.PROPORTION:
        if not 0 < bound < 1:
            return f"{metric.name}: no number of requests can show a share of {bound:g}"
    elif metric.unit == "fraction" and metric.direction == "higher" and bound > 1:
        return f"{metric.name}: a fraction is at most 1, got {bound:g}"
    elif bound < 0 or (bound == 0 and metric.unit != "1"):
        return f"{metric.name}: expected a bound above 0, got {bound:g}"
    return ""
