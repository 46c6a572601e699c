"""Making the runs of a scenario: repeats, the rounds of a pair, a rate search, an outage."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.accept.beside import Alerts, Health, Poller, health_url, tls_of
from bench.accept.failures import failure
from bench.accept.hooks import Outage
from bench.accept.points import as_record, points_of
from bench.accept.scenario import profile_of, recipe_of, runs_of
from bench.accept.settings import Settings, Side
from bench.conduct.preflight import Ready
from bench.conduct.run import Order, Watch, conduct
from bench.conduct.tally import Totals
from bench.judge.checklist import PEAK, Checklist, Scenario
from bench.judge.judgement import judge
from bench.judge.profile import Profile
from bench.judge.sweep import bracket, step_of
from bench.model import Target
from bench.record.frame import open_run
from bench.record.plan_folder import PlanFolder
from bench.servers.findings import ProbeResult
from bench.servers.scrape import ScrapeTarget
from bench.sweep.search import next_rate
from bench.sweep.steps import ATTEMPTS, Interrupted
from bench.workload.recipe import Recipe, request_fields, with_recipe

DEFAULT_START_RPS = 1.0
_BREAK_AT = 1 / 3
_BROKEN_FOR = 1 / 4

Record = dict[str, Any]


class NotPossible(Exception):
    """The settings lack what an activity needs; `code` names it in `missing.MISSING`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Load:
    """Everything that runs need; `found` is what the probe said of the target."""

    checklist: Checklist
    settings: Settings
    folder: PlanFolder
    target: Target
    found: ProbeResult
    scale: float
    workers: int
    transport: str
    family: str | None
    metrics_url: str | None
    scrapes: Sequence[ScrapeTarget]
    command: tuple[str, ...]


class Beside:
    """A run's watch that also starts what happens beside it: polls, and an induced failure.

    Polls start just before the clock; the failure counts from the clock, so it begins when the
    first second of the run is told.
    """

    def __init__(self, watch: Watch, pollers: Sequence[Poller], outage: Outage | None) -> None:
        self._watch = watch
        self._pollers = pollers
        self._outage = outage

    def note(self, text: str) -> None:
        self._watch.note(text)

    def began(self, folder: Path, ready: Ready) -> None:
        self._watch.began(folder, ready)
        for poller in self._pollers:
            poller.start()

    def second(self, totals: Totals, elapsed_s: float) -> None:
        self._watch.second(totals, elapsed_s)
        if self._outage is not None:
            self._outage.begin(elapsed_s)

    def end(self) -> None:
        if self._outage is not None:
            self._outage.end()
        for poller in self._pollers:
            poller.end()


class Loader:
    """Makes scenarios; a record gets each run as soon as it is made."""

    def __init__(self, load: Load, watch: Watch) -> None:
        self.load = load
        self._watch = watch

    def make(self, name: str, record: Record) -> None:
        """All runs of a scenario that the record does not have yet.

        Raises NotPossible, Interrupted, BenchError.
        """
        scenario = self.load.checklist.scenarios[name]
        makers: dict[str, Callable[[str, Scenario, Record], None]] = {
            "load": self._repeats,
            "search": self._search,
            "pair": self._pair,
            "outage": self._outage,
        }
        makers[scenario.kind](name, scenario, record)

    def _repeats(self, name: str, scenario: Scenario, record: Record) -> None:
        recipe = self._recipe(name, scenario)
        while len(record["runs"]) < runs_of(scenario, self.load.scale):
            health = self._health()
            self._run(recipe, name, record, pollers=[health.poller] if health else [])
            if health:
                _add_health(record["observed"], health.observed)
            self.load.folder.keep(record)

    def _search(self, name: str, scenario: Scenario, record: Record) -> None:
        settings = self.load.settings.search
        start_rps = settings.start_rps or self._baseline_rps()
        most = runs_of(scenario, self.load.scale)
        points = record["observed"].setdefault("points", [])
        while True:
            rate = next_rate(points_of(points), start_rps, settings.tolerance_fraction, most)
            if rate is None:
                return
            points.append(self._valid_point(rate, name, scenario, record))
            self.load.folder.keep(record)

    def _valid_point(
        self, rate_rps: float, name: str, scenario: Scenario, record: Record
    ) -> dict[str, Any]:
        """A run that is not valid says nothing of the server: it is made once more, then given up.

        Raises NotValidError.
        """
        recipe = self._recipe(name, scenario, rate_rps)
        for _ in range(ATTEMPTS):
            point = self._point(rate_rps, self._run(recipe, name, record), name)
            if not point["broken"]:
                return point
        raise failure("search_not_valid", rate_rps=rate_rps, rules=", ".join(point["broken"]))

    def _point(self, rate_rps: float, run: Path, name: str) -> dict[str, Any]:
        profile = self._profile(name)
        if profile.good is None:
            raise failure("no_good_set", profile=profile.name)
        judged = judge(open_run(run), profile)
        judged.write(run)
        step = step_of(rate_rps, self.load.folder.link(run), judged)
        return as_record(step, profile.good.attainment)

    def _pair(self, name: str, scenario: Scenario, record: Record) -> None:
        pair = self.load.settings.pairs.get(name)
        if pair is None:
            raise NotPossible("pair")
        rounds = record["observed"].setdefault("rounds", [])
        if pair.before.url is None:
            rounds[:] = self._stored_rounds(pair.before.runs, pair.after.runs)
            record["runs"] = [link for both in rounds for link in both]
            return
        recipe = self._recipe(name, scenario)
        while len(rounds) < runs_of(scenario, self.load.scale):
            # Which side goes first alternates, so that a drift favours neither.
            sides = {"before": pair.before, "after": pair.after}
            order = list(sides) if len(rounds) % 2 == 0 else list(reversed(sides))
            made = {s: self._run(recipe, name, record, self._side(sides[s])) for s in order}
            rounds.append([self.load.folder.link(made[s]) for s in sides])
            self.load.folder.keep(record)

    def _stored_rounds(self, before: Sequence[str], after: Sequence[str]) -> list[list[str]]:
        if len(before) != len(after):
            raise failure("uneven_pair", before=len(before), after=len(after))
        place = self.load.settings.path_of
        link = self.load.folder.link
        return [
            [link(open_run(place(b)).path), link(open_run(place(a)).path)]
            for b, a in zip(before, after, strict=True)
        ]

    def _side(self, side: Side) -> Target:
        assert side.url is not None
        return replace(self.load.target, base_url=side.url, model=side.model)

    def _outage(self, name: str, scenario: Scenario, record: Record) -> None:
        hooks = self.load.settings.hooks
        if hooks.break_ is None:
            raise NotPossible("hooks.break")
        recipe = self._recipe(name, scenario)
        if recipe.duration_s is None:
            raise failure("no_duration", name=name)
        outage = Outage(hooks, recipe.duration_s * _BREAK_AT, recipe.duration_s * _BROKEN_FOR)
        pollers = []
        alerts = None
        if self.load.settings.prometheus:
            alerts = Alerts(self.load.settings.prometheus, outage.broken)
            pollers.append(alerts.poller)
        record["runs"] = []
        self._run(recipe, name, record, pollers=pollers, outage=outage)
        if outage.error is not None:
            raise outage.error
        if outage.broken_s is None or outage.restored_s is None:
            raise failure("ended_first")
        record["observed"] = {
            "hooks": {"broken_s": outage.broken_s, "restored_s": outage.restored_s},
            **({"alert_s": alerts.first_s} if alerts else {}),
        }

    def _recipe(self, name: str, scenario: Scenario, rate_rps: float | None = None) -> Recipe:
        load = self.load
        if scenario.rate_of_peak is not None:
            rate_rps = scenario.rate_of_peak * self._peak()
        return recipe_of(
            name, scenario, load.settings, load.scale,
            rate_rps=rate_rps, endpoint=load.target.endpoint,
        )  # fmt: skip

    def _peak(self) -> float:
        record = self.load.folder.records().get(f"scenario:{PEAK}", {})
        low, _ = bracket(points_of((record.get("observed") or {}).get("points", ())))
        if low is None:
            raise NotPossible("peak")
        return low

    def _baseline_rps(self) -> float:
        """What the baseline's closed loop reached is a rate to begin a search at."""
        record = self.load.folder.records().get("scenario:baseline", {})
        if not record.get("runs"):
            return DEFAULT_START_RPS
        run = open_run(self.load.folder.path / record["runs"][-1])
        value = judge(run).summary["metrics"]["request_rps"]["value"]
        return value or DEFAULT_START_RPS

    def _health(self) -> Health | None:
        load = self.load
        url = health_url(load.settings.health, load.found.server.family, load.found.url)
        return Health(url, tls_of(load.target)) if url else None

    def _profile(self, name: str) -> Profile:
        return profile_of(name, self.load.checklist, self.load.settings)

    def _run(
        self,
        recipe: Recipe,
        name: str,
        record: Record,
        target: Target | None = None,
        pollers: Sequence[Poller] = (),
        outage: Outage | None = None,
    ) -> Path:
        """One run; its folder's link goes into the record."""
        load = self.load
        other = target is not None and target.base_url != load.target.base_url
        target = target or replace(load.target, model=load.found.model)
        order = Order(
            recipe=recipe,
            target=with_recipe(target, recipe, os.environ),
            folder=load.folder.runs,
            command=load.command,
            sampling=request_fields(recipe, os.environ),
            profile=self._profile(name).model_dump(mode="json"),
            workers=load.workers,
            transport=load.transport,
            family=load.family,
            metrics_url=None if other else load.metrics_url,
            scrapes=load.scrapes,
        )
        beside = Beside(self._watch, pollers, outage)
        try:
            done = conduct(order, beside)
        finally:
            beside.end()
        if done.interrupted:
            raise Interrupted
        record["runs"].append(load.folder.link(done.path))
        return done.path


def _add_health(observed: Record, seen: Mapping[str, Any]) -> None:
    """Polls of several repeats are one sample."""
    health = observed.setdefault("health", {"url": seen["url"], "latency_s": [], "failed": 0})
    health["latency_s"] += seen["latency_s"]
    health["failed"] += seen["failed"]
