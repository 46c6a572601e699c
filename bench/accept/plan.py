"""A checklist and a deployment's settings become a plan: what to do once, and what to ask of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from bench.accept.checks import CHECKS
from bench.accept.checks.check import Check, Parameters
from bench.accept.settings import Settings
from bench.errors import ConfigError
from bench.judge.checklist import BASES, PEAK, Basis, Checklist, Item, Part, Way
from bench.judge.metric import Text
from bench.judge.profile import Limit
from bench.yamlfile import explain, nearest


@dataclass(frozen=True, slots=True)
class Question:
    """One check of one part, its parameters read."""

    item: Item
    part: Part
    basis: Basis
    check: Check
    parameters: Parameters

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the activities it looks at."""
        return (*self.check.needs, *(f"scenario:{s}" for s in self.parameters.scenarios()))


@dataclass(frozen=True, slots=True)
class Plan:
    """`activities`: key → ids of the items it serves, in the order they are made.  `limits`:
    scenario → bounds its runs are judged against.  `skipped`: item → why it is not applicable."""

    checklist: Checklist
    questions: Sequence[Question]
    activities: Mapping[str, Sequence[str]]
    limits: Mapping[str, Sequence[Limit]]
    skipped: Mapping[str, Text]


def plan_of(checklist: Checklist, settings: Settings) -> Plan:
    """Raises ConfigError: an unknown item, check, parameter, scenario or basis."""
    skipped = _skipped(checklist, settings)
    every = [_question(checklist, *found) for found in checklist.ways()]
    questions = [question for question in every if question.item.id not in skipped]
    limits: dict[str, list[Limit]] = {}
    for question in questions:
        for scenario in question.parameters.scenarios():
            limits.setdefault(scenario, []).extend(question.parameters.limits())
    return Plan(checklist, questions, _activities(checklist, questions), limits, skipped)


def _skipped(checklist: Checklist, settings: Settings) -> dict[str, Text]:
    ids = [item.id for item in checklist.items]
    for name in (*settings.choose, *settings.skip):
        if name not in ids:
            raise ConfigError(
                f'checklist {checklist.name} has no item "{name}"', nearest(name, ids)
            )
    reasons = {id_: Text(reason, reason) for id_, reason in settings.skip.items()}
    if settings.choose:
        left_out = Text("未被选中（choose）。", "Not among the items chosen (choose).")
        reasons |= {id_: left_out for id_ in ids if id_ not in (*settings.choose, *reasons)}
    return reasons


def _question(checklist: Checklist, item: Item, part: Part, way: Way) -> Question:
    where = f"checklist {checklist.name}: {item.id}.{part.name}"
    check = CHECKS.get(way.check)
    if check is None:
        raise ConfigError(
            f'{where}: no check is named "{way.check}"', nearest(way.check, list(CHECKS))
        )
    basis = BASES[way.basis]
    if basis not in check.bases:
        known = ", ".join(sorted(check.bases))
        raise ConfigError(f"{where}: {check.name} is {known}, not {basis.value}")
    try:
        parameters = check.parameters.model_validate_json(json.dumps(way.parameters))
    except ValidationError as error:
        message, hint = explain(error, check.parameters)
        raise ConfigError(f"{where}: {check.name}: {message}", hint) from None
    for scenario in parameters.scenarios():
        if scenario not in checklist.scenarios:
            hint = nearest(scenario, list(checklist.scenarios))
            raise ConfigError(f'{where}: no scenario is named "{scenario}"', hint)
    return Question(item, part, basis, check, parameters)


def _activities(checklist: Checklist, questions: Sequence[Question]) -> dict[str, list[str]]:
    """Probes, then loads in the checklist's order, then what takes the service away."""
    serves: dict[str, list[str]] = {}
    for question in questions:
        for key in question.needs:
            ids = serves.setdefault(key, [])
            if question.item.id not in ids:
                ids.append(question.item.id)
    scenarios = checklist.scenarios
    if any(scenarios[name].rate_of_peak for name in scenarios if f"scenario:{name}" in serves):
        serves.setdefault(f"scenario:{PEAK}", [])
    calm = [f"scenario:{name}" for name, s in scenarios.items() if s.kind != "outage"]
    outages = [f"scenario:{name}" for name, s in scenarios.items() if s.kind == "outage"]
    probes = sorted(key for key in serves if key.startswith("probe:"))
    order = [*probes, *calm, *outages, "hook:start"]
    return {key: serves[key] for key in order if key in serves}
