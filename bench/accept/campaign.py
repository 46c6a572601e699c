"""Making a plan's activities in order, each once, resumable between them.

A record is written after every run, so that an acceptance that was stopped goes on where it was:
an activity that is done is not made again; one that was not possible or failed is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from bench.accept import probes
from bench.accept.acceptance import SERVER
from bench.accept.failures import failure, why_of
from bench.accept.hooks import launch_hook, run_hook
from bench.accept.hostile import load_hostile, try_hostile
from bench.accept.loads import Load, Loader, NotPossible
from bench.accept.plan import Plan
from bench.accept.settings import Settings
from bench.accept.tls_probe import look_at_tls
from bench.conduct.run import Watch
from bench.errors import BenchError
from bench.model import Target
from bench.record.plan_folder import PlanFolder
from bench.servers.discover import discover
from bench.servers.findings import ProbeResult
from bench.servers.probe import probe
from bench.servers.scrape import ScrapeTarget
from bench.sweep.steps import Interrupted

_READY_POLL_S = 0.1

Record = dict[str, Any]


class Progress(Watch, Protocol):
    """Who looks on while an acceptance is made: a run's watch, and told of each activity."""

    def activity(self, position: int, total: int, key: str, serves: Sequence[str]) -> None:
        """An activity begins."""


@dataclass(frozen=True, slots=True)
class Means:
    """How to load: the target (its headers may hold secrets), and as `conduct.run.Order` has it."""

    target: Target
    workers: int = 1
    transport: str = "wire"
    family: str | None = None
    metrics_url: str | None = None
    scrape_urls: Sequence[str] = ()
    command: tuple[str, ...] = field(default=())


def conduct_plan(
    plan: Plan,
    settings: Settings,
    folder: PlanFolder,
    means: Means,
    scale: float,
    progress: Progress,
) -> bool:
    """Make what is not made yet.  Returns False when the user stopped it.

    Raises TargetError when the server can't be used at the start, ConfigError for wrong recipes.
    """
    found, scrapes = asyncio.run(_look(means, progress))
    load = Load(plan.checklist, settings, folder, means.target, found, scale,
                workers=means.workers, transport=means.transport, family=means.family,
                metrics_url=means.metrics_url, scrapes=scrapes, command=means.command)  # fmt: skip
    folder.keep({
        "key": SERVER,
        "state": "done",
        "observed": {
            "family": found.server.family,
            "title": found.server.title,
            "version": found.server.version,
            "model": found.model,
        },
    })  # fmt: skip
    loader = Loader(load, progress)
    records = folder.records()
    for position, (key, serves) in enumerate(plan.activities.items(), 1):
        record = records.get(key)
        if record is not None and record["state"] == "done":
            continue
        progress.activity(position, len(plan.activities), key, serves)
        if not _make(key, record, loader, folder):
            return False
    return True


async def _look(means: Means, progress: Progress) -> tuple[ProbeResult, list[ScrapeTarget]]:
    target = means.target
    found = await probe(
        target, family=means.family, metrics_url=means.metrics_url, announce=progress.note
    )
    return found, [await discover(target, url) for url in means.scrape_urls]


def _make(key: str, begun: Record | None, loader: Loader, folder: PlanFolder) -> bool:
    """One activity and its record; False when it was interrupted."""
    began, started = datetime.now(UTC), time.monotonic()
    record: Record = {
        "key": key,
        "state": "partial",
        "began_utc": began.isoformat(timespec="seconds"),
        "runs": [],
        "observed": {},
    }
    if begun is not None and begun["state"] in ("partial", "failed"):
        record = {name: value for name, value in begun.items() if name != "why"}
    try:
        kind, _, name = key.partition(":")
        if kind == "scenario":
            loader.make(name, record)
        else:
            record["observed"] = _PROBES[key](loader.load)
        record["state"] = "done"
    except NotPossible as lacking:
        record |= {"state": "missing", "missing": lacking.code}
    except Interrupted:
        return False
    except BenchError as error:
        record |= {"state": "failed", "why": why_of(error).as_json()}
    record["took_s"] = round(time.monotonic() - started, 3)
    folder.keep(record)
    return True


def _time_to_ready(load: Load) -> Mapping[str, Any]:
    """Stops the service where there is a hook for it, starts it, waits for its first token."""
    hooks = load.settings.hooks
    if hooks.start is None:
        raise NotPossible("hooks.start")
    if hooks.stop is not None:
        run_hook("stop", hooks.stop, hooks.limit_s)
    if asyncio.run(_answers(load)):
        raise failure("answers_already")
    began = time.monotonic()
    launch_hook(hooks.start)
    while time.monotonic() - began < hooks.limit_s:
        if asyncio.run(_answers(load)):
            return {"ready_s": time.monotonic() - began}
        time.sleep(_READY_POLL_S)
    return {"ready_s": None}


async def _answers(load: Load) -> bool:
    """Whether the service gives one token now."""
    return await probes.first_status(load.target, load.found) == 200


def _hostile(load: Load) -> Mapping[str, Any]:
    own = load.settings.hostile
    prompts = load_hostile(load.settings.path_of(own) if own else None)
    return asyncio.run(try_hostile(load.target, load.found, prompts))


def _regions(load: Load) -> Mapping[str, Any]:
    if not load.settings.regions:
        raise NotPossible("regions")
    return asyncio.run(probes.regions(load.settings.regions))


def _prometheus(load: Load) -> Mapping[str, Any]:
    if load.settings.prometheus is None:
        raise NotPossible("prometheus")
    return asyncio.run(probes.prometheus(load.settings.prometheus))


_PROBES: Mapping[str, Callable[[Load], Mapping[str, Any]]] = {
    "probe:keys": lambda load: asyncio.run(probes.keys(load.target, load.found)),
    "probe:over_long": lambda load: asyncio.run(probes.over_long(load.target, load.found)),
    "probe:tls": lambda load: look_at_tls(load.target),
    "probe:models": lambda load: asyncio.run(probes.models(load.target, load.found)),
    "probe:hostile": _hostile,
    "probe:regions": _regions,
    "probe:prometheus": _prometheus,
    "hook:start": _time_to_ready,
}
"""Activities that are no load, by key."""
