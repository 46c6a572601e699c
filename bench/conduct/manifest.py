"""What a run was made of, written before it starts."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import __version__
from bench.conduct.preflight import Ready
from bench.model import Manifest, RequestStyle
from bench.servers.families import family_named
from bench.servers.findings import ProbeResult
from bench.workload.recipe import named_seeds, recipe_manifest

if TYPE_CHECKING:
    from bench.conduct.run import Order


def manifest_of(order: Order, ready: Ready, tag: str, style: RequestStyle) -> Manifest:
    """The manifest of a run that is about to start; the folder names it and dates it."""
    target, found = ready.target, ready.probe
    return Manifest(
        run_id="",
        created_utc="",
        bench_version=__version__,
        command=order.command,
        host=host(),
        clocks={
            "instants": "CLOCK_MONOTONIC, ns",
            "arrivals": "kernel" if order.transport == "wire" else "user",
        },
        target={
            "url": target.base_url,
            "model": target.model,
            "endpoint": target.endpoint,
            "tls_verify": target.tls.verify,
            "timeouts": asdict(target.timeouts),
        },
        server=found.as_json(),
        workload={
            **ready.plan.manifest(_block_tokens(found)),
            "resolved": recipe_manifest(order.recipe),
        },
        load={
            "run_tag": tag,
            "workers": order.workers,
            "transport": order.transport,
            "pace": asdict(ready.pace),
            "warm_connections": ready.warm_connections,
            "style": asdict(style),
            "sampling": sorted(order.sampling),
        },
        profile=order.profile,
        seeds=named_seeds(order.recipe),
    )


def _block_tokens(found: ProbeResult) -> int | None:
    """The server's cache block: as its metrics say, else its family's default."""
    return found.metrics.block_tokens or family_named(found.server.family).block_tokens


def host() -> dict[str, Any]:
    """The measuring machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "name": socket.gethostname(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "cpu": _cpu_model(),
        "kernel": platform.release(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str | None:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return None
