"""What each worker of a run is given."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.conduct.preflight import Ready, shares
from bench.load.pace import Pace
from bench.load.worker import Job
from bench.model import RequestStyle
from bench.record.folder import RunFolder

if TYPE_CHECKING:
    from bench.conduct.run import Order

_LEAST_SPARE, _MOST_SPARE = 2, 64


def jobs_of(order: Order, ready: Ready, folder: RunFolder, tag: str) -> list[Job]:
    workers = order.workers
    paces = shares(ready.pace, workers)
    warm = -(-ready.warm_connections // workers)
    cpus = sorted(os.sched_getaffinity(0)) if order.pin_cpus else []
    style = style_of(order, ready, tag)
    return [
        Job(
            worker=worker,
            workers=workers,
            run_tag=tag,
            target=ready.target,
            style=style,
            pace=paces[worker],
            workload=ready.plan.shard(worker, workers),
            sink=folder.sink(),
            warm_connections=warm,
            spare_connections=_spare(paces[worker], warm),
            transport=order.transport,
            sampling=dict(order.sampling),
            cpu=cpus[worker % len(cpus)] if cpus else None,
        )
        for worker in range(workers)
    ]


def _spare(pace: Pace, warm_connections: int) -> int:
    """Connections to keep idle: a request that is due by the clock finds none given back for it."""
    if pace.concurrency is not None:
        return _LEAST_SPARE
    return min(_MOST_SPARE, max(_LEAST_SPARE, warm_connections // 4))


def style_of(order: Order, ready: Ready, tag: str) -> RequestStyle:
    """How requests are asked: as the probe saw it work, with the run's cache salt.

    That field keeps the server's cache of this run apart.  The prompts' own salt does the same for
    servers without it, but not for a chat template's beginning.
    """
    style, salt = ready.probe.style, order.recipe.salt
    if style.cache_salt is None or salt == "none":
        return replace(style, cache_salt=None)
    return replace(style, cache_salt=tag if salt == "auto" else salt)
