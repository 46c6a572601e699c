"""A sweep's runs: in order, each once, taken up where it stopped, judged, written down."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.conduct.run import Done, Order
from bench.errors import BenchError, ConfigError, RunFolderError, UsageError
from bench.judge.profile import Profile
from bench.judge.sweep import Step
from bench.model import Target
from bench.record.frame import open_run
from bench.record.plan_folder import PlanFolder
from bench.record.synthetic import SyntheticRun, write_synthetic_run
from bench.report.sweep_page import write_sweep_page
from bench.report.sweep_rows import markdown
from bench.report.words import Words
from bench.sweep import steps as made_in
from bench.sweep.baseline import check_alike, read_baseline
from bench.sweep.documents import as_json
from bench.sweep.order import Search, SweepOrder
from bench.sweep.steps import Interrupted, Sweeper
from bench.workload.arrivals import Closed, Poisson
from bench.workload.resolve import recipe_of_lengths

PEAK_RPS = 20.0
PROFILE = Profile.model_validate(
    {
        "name": "t",
        "title": {"zh": "试", "en": "test"},
        "window": {"rule": "whole"},
        "good": {"limits": ({"metric": "ttft_s", "bound": 0.5},)},
    }
)


def order_of(**fields: Any) -> SweepOrder:
    return SweepOrder(recipe=recipe_of_lengths(16, 8), profile=PROFILE, **fields)


@dataclass
class Server:
    """Too slow above 20/s; runs are written and not made.  `ends`: how the n-th run ends."""

    folder: PlanFolder
    ends: Mapping[int, str] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    judged_runs: int = 0

    def conduct(self, order: Order, _: object) -> Done:
        arrivals = order.recipe.arrivals
        assert isinstance(arrivals, Poisson | Closed)
        load = arrivals.rate_rps if isinstance(arrivals, Poisson) else float(arrivals.concurrency)
        end = self.ends.get(len(self.loads), "ok")
        self.loads.append(load)
        shape = SyntheticRun(
            requests=600,
            tokens_per_request=8,
            rate_rps=load,
            ttft_s=(2.0 if load > PEAK_RPS else 0.02, 0.1),
            killed=end == "killed",
            seed=len(self.loads),
        )
        name = f"run{len(list(order.folder.iterdir()))}"
        path = write_synthetic_run(order.folder / name, shape)
        return Done(path, {}, end == "interrupted")

    def note(self, text: str) -> None: ...
    def began(self, folder: Path, ready: Any) -> None: ...
    def second(self, totals: Any, elapsed_s: float) -> None: ...
    def step(self, number: int, load: float) -> None: ...

    def judged(self, run: Any, judgement: Any, step: Step) -> None:
        self.judged_runs += 1

    def sweep(self, order: SweepOrder) -> tuple[list[Step], bool]:
        means = Order(order.recipe, Target("http://127.0.0.1:1", "m"), self.folder.runs)
        return Sweeper(order, means, self.folder, self, self.pauses.append).make()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """`server(ends={1: "killed"})`: looks again at the folder that is there already."""

    def make(**fields: Any) -> Server:
        folder = PlanFolder(tmp_path / "s", kind="sweep")
        if not folder.path.exists():
            folder.begin({})
        found = Server(folder, **fields)
        monkeypatch.setattr(made_in, "conduct", found.conduct)
        return found

    return make


def test_a_list_is_made_in_ascending_order_with_pauses_between(
    server: Callable[..., Server],
) -> None:
    """Three rates are three runs, judged; the server rests before the second and the third."""
    made = server()
    steps, ended = made.sweep(order_of(rates_rps=(30.0, 5.0, 10.0), cool_down_s=7.0))
    assert ended
    assert made.loads == [step.load for step in steps] == [5.0, 10.0, 30.0]
    assert made.pauses == [7.0, 7.0]
    assert made.judged_runs == 3
    assert (made.folder.path / steps[0].run / "verdict.json").is_file()


def test_a_valid_run_is_not_made_again(server: Callable[..., Server]) -> None:
    """Interrupted in the second run, it goes on there; the run that was cut is no step."""
    order = order_of(rates_rps=(5.0, 10.0, 30.0))
    with pytest.raises(Interrupted):
        server(ends={1: "interrupted"}).sweep(order)
    again = server()
    steps, _ = again.sweep(order)
    assert again.loads == [10.0, 30.0]
    assert [step.load for step in steps] == [5.0, 10.0, 30.0]


def test_a_run_that_is_not_valid_is_made_once_more_and_counts_for_nothing(
    server: Callable[..., Server],
) -> None:
    """Twice not valid, it stays in the table as such; a later --resume tries it again."""
    order = order_of(rates_rps=(5.0, 10.0))
    made = server(ends={1: "killed", 2: "killed"})
    steps, ended = made.sweep(order)
    assert (made.loads, ended) == ([5.0, 10.0, 10.0], True)
    assert [step.valid for step in steps] == [True, False]
    found = as_json(order, steps, ended, open_run(made.folder.path / steps[0].run).manifest)
    assert [row["attained"] for row in found["steps"]] == ["met", "invalid"]
    assert (found["verdict"], found["metrics"]["max_goodput_rps"]["value"]) == ("undecided", 5.0)
    again = server()
    assert [step.valid for step in again.sweep(order)[0]] == [True, True]
    assert again.loads == [10.0]


def test_a_search_finds_the_peak_and_can_be_taken_up(server: Callable[..., Server]) -> None:
    """Around 20/s within a tenth; taken up again it makes no run and finds the same."""
    order = order_of(search=Search("max-goodput", start_rps=6.0))
    steps, ended = server().sweep(order)
    found = [step.load for step in steps if step.load <= PEAK_RPS]
    lost = [step.load for step in steps if step.load > PEAK_RPS]
    assert ended and max(found) <= PEAK_RPS < min(lost) <= max(found) * 1.1001
    again = server()
    assert [step.load for step in again.sweep(order)[0]] == [step.load for step in steps]
    assert again.loads == []


def test_a_search_leads_nowhere_from_a_run_that_is_not_valid(
    server: Callable[..., Server],
) -> None:
    """It ends there, and is not at its end."""
    made = server(ends={0: "killed", 1: "killed"})
    steps, ended = made.sweep(order_of(search=Search("max-goodput")))
    assert (len(steps), ended, len(made.loads)) == (1, False, 2)


def test_a_search_that_may_make_too_few_runs_is_not_at_its_end(
    server: Callable[..., Server],
) -> None:
    """Two rates that hold are no bracket."""
    order = order_of(search=Search("max-goodput", start_rps=2.0, most_runs=2))
    steps, ended = server().sweep(order)
    assert ([step.load for step in steps], ended) == ([2.0, 4.0], False)


def result(made: Server, order: SweepOrder, **more: Any) -> dict[str, Any]:
    """sweep.json of a sweep that is made."""
    steps, ended = made.sweep(order)
    manifest = open_run(made.folder.path / steps[0].run).manifest
    return as_json(order, steps, ended, manifest, **more)


def test_the_result_holds_no_number_that_is_not_known(server: Callable[..., Server]) -> None:
    """sweep.json is JSON without NaN; an end that is +∞ is named, a reason stands for a value."""
    found = json.loads(json.dumps(result(server(), order_of(rates_rps=(5.0,))), allow_nan=False))
    peak = found["metrics"]["max_goodput_rps"]
    assert (peak["value"], peak["low"], peak["high"], peak["infinite"]) == (
        5.0,
        5.0,
        None,
        ["high"],
    )
    assert found["metrics"]["scaling_coefficient"]["absent"]["en"]
    assert found["verdict"] == "pass"


def test_the_objective_decides(server: Callable[..., Server]) -> None:
    """Shown at 5/s and lost at 30/s: 5 is met, 30 is not, 10 is undecided."""
    verdicts = {
        rate: result(server(), order_of(rates_rps=(5.0, 30.0), require_rps=rate))["verdict"]
        for rate in (5.0, 10.0, 30.0)
    }
    assert verdicts == {5.0: "pass", 10.0: "undecided", 30.0: "fail"}


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(
    "loads", [{"rates_rps": (5.0, 30.0)}, {"concurrencies": (2, 4)}], ids=["open", "closed"]
)
def test_the_page_and_the_summary_name_every_step(
    server: Callable[..., Server], language: str, loads: dict[str, Any]
) -> None:
    """A row and a point for each step, in the language, and a figure for each curve."""
    made = server()
    found = result(made, order_of(**loads))
    page = write_sweep_page(found, made.folder.path / "sweep.html", language=language)
    text, table = page.read_text(encoding="utf-8"), markdown(found, Words(language))
    assert all(f'"sweep-{key}"' in text for key in ("throughput", "ttft", "attainment"))
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 3
    assert Words(language)("sweep.steps") in text
    assert bool(re.search("[\u4e00-\u9fff]", table)) == (language == "zh")
    assert "report.html" not in text.split("</nav>")[1].split("<script")[0]


def test_the_coefficient_needs_a_sweep_of_one_replica_made_alike(
    server: Callable[..., Server], tmp_path: Path
) -> None:
    """Held against itself four replicas scale by a quarter; other sweeps are refused."""
    made = server()
    one = order_of(rates_rps=(5.0,), replicas=1)
    found = result(made, one)
    made.folder.write("sweep.json", found)
    baseline = read_baseline(made.folder.path)
    check_alike(baseline, found["conditions"])
    four = result(made, order_of(rates_rps=(5.0,), replicas=4), baseline=baseline)
    assert four["metrics"]["scaling_coefficient"]["value"] == pytest.approx(0.25)
    with pytest.raises(UsageError, match="not made alike: workers"):
        check_alike(baseline, {**found["conditions"], "workers": 9})
    made.folder.write("sweep.json", {**found, "replicas": None})
    with pytest.raises(UsageError, match="one that does not say"):
        read_baseline(made.folder.path)
    with pytest.raises(RunFolderError, match="can't be read"):
        read_baseline(tmp_path)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({}, UsageError, "expected one of --rates"),
        ({"rates_rps": (1.0,), "concurrencies": (1,)}, UsageError, "expected one of --rates"),
        ({"rates_rps": (0.0, 1.0)}, UsageError, "above 0"),
        ({"rates_rps": (float("nan"),)}, UsageError, "above 0"),
        ({"concurrencies": (2, 2)}, UsageError, "twice"),
        ({"concurrencies": (2,), "require_rps": 1.0}, UsageError, "closed loop"),
        ({"search": Search("max-goodput"), "profile": None}, ConfigError, "good set"),
        ({"rates_rps": (1.0,), "profile": None, "require_rps": 1.0}, ConfigError, "good set"),
        ({"concurrencies": (2,), "arrivals": "poisson"}, UsageError, "closed loop"),
    ],
)
def test_what_can_not_be_made_is_refused_before_the_first_run(
    fields: dict[str, Any], error: type[BenchError], message: str
) -> None:
    """The message names the option."""
    order = SweepOrder(**{"recipe": recipe_of_lengths(16, 8), "profile": PROFILE, **fields})
    with pytest.raises(error, match=message):
        order.check()
