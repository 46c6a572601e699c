"""Making the runs of a sweep in order, each judged, resumable between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from bench.conduct.run import Order, Watch, conduct
from bench.judge.judgement import Judgement, judge
from bench.judge.sweep import Point, Step, attainment_points, bracket, step_of, sustained_points
from bench.record.frame import Run, open_run
from bench.record.plan_folder import PlanFolder
from bench.sweep.order import Search, SweepOrder
from bench.sweep.search import next_rate

ATTEMPTS = 2
"""A run that is not valid says nothing of the server, so it is made once more."""

Record = dict[str, Any]


class Progress(Watch, Protocol):
    """Who looks on while a sweep is made: a run's watch, and told of each step."""

    def step(self, number: int, load: float) -> None:
        """A run at a load begins."""

    def judged(self, run: Run, judgement: Judgement, step: Step) -> None:
        """A run was judged; its documents are written."""


class Interrupted(Exception):
    """The user stopped a run; what was made before is kept."""


class Sweeper:
    """Makes the steps of a sweep in its folder.  `order.recipe` and `.folder` are set per step.

    `pause` waits between two runs: the server's queues and clocks come to rest.
    """

    def __init__(
        self,
        sweep: SweepOrder,
        order: Order,
        folder: PlanFolder,
        watch: Progress,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sweep = sweep
        self._order = order
        self._folder = folder
        self._watch = watch
        self._pause = pause
        self._records = folder.records()
        self._made = 0

    def make(self) -> tuple[list[Step], bool]:
        """Every step in the order it was made, and whether the sweep came to its end.

        A list comes to its end with its last load; a search with a rate that held and one that did
        not, all runs valid.
        Raises Interrupted, and BenchError for what makes a run impossible.
        """
        search = self._sweep.search
        steps: list[Step] = []
        if search is None:
            return [self._step(load) for load in self._sweep.loads], True
        for rate in self._rates(search, steps):
            steps.append(self._step(rate))
        found = bracket(self._points(search, steps))
        return steps, None not in found and all(step.valid for step in steps)

    def _rates(self, search: Search, steps: list[Step]) -> Iterator[float]:
        """What to measure next; nothing after a run that is not valid: it leads nowhere."""
        while all(step.valid for step in steps):
            points = self._points(search, steps)
            if len(points) < len(steps):
                return
            rate = next_rate(points, search.start_rps, search.tolerance, search.most_runs)
            if rate is None:
                return
            yield rate

    def _points(self, search: Search, steps: list[Step]) -> list[Point]:
        if search.goal == "max-rate":
            return sustained_points(steps)
        assert self._sweep.attainment is not None
        return attainment_points(steps, self._sweep.attainment)

    def _step(self, load: float) -> Step:
        """The step at a load, made unless a valid run of it is there."""
        kind = "rate" if self._sweep.open_loop else "concurrency"
        profile = self._sweep.profile
        key = f"{kind}:{load:.6g}"
        record = self._records.get(key, {"key": key, "load": load, "runs": []})
        if record["runs"]:
            path = self._folder.path / record["runs"][-1]
            step = step_of(load, self._folder.link(path), judge(open_run(path), profile))
            if step.valid:
                return step
        for _ in range(ATTEMPTS):
            if self._made:
                self._pause(self._sweep.cool_down_s)
            step = self._run(load, record)
            if step.valid:
                break
        return step

    def _run(self, load: float, record: Record) -> Step:
        self._made += 1
        self._watch.step(self._made, load)
        order = replace(self._order, recipe=self._sweep.recipe_at(load), folder=self._folder.runs)
        done = conduct(order, self._watch)
        if done.interrupted:
            raise Interrupted
        record["runs"].append(self._folder.link(done.path))
        self._folder.keep(record)
        run = open_run(done.path)
        judgement = judge(run, self._sweep.profile)
        judgement.write(done.path)
        step = step_of(load, self._folder.link(done.path), judgement)
        self._watch.judged(run, judgement, step)
        return step
