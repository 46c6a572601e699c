"""Whether what a run folder's JSON files hold has the shape that its readers rely on.

A file of another shape was torn, flipped a bit or was edited: it is told as damaged, where reading
on would end in a traceback or in a wrong number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COUNTS = ("ok", "dropped", "aborted")
_OBJECTS = ("host", "clocks", "target", "server", "workload", "load", "seeds")


def is_manifest(value: Mapping[str, Any]) -> bool:
    """The parts that are objects are objects, as far as they are there."""
    return all(isinstance(value.get(name, {}), dict) for name in _OBJECTS)


def is_end(value: Mapping[str, Any]) -> bool:
    """The balance is of counts, and what the workers say of themselves is of numbers."""
    failed, planned = value.get("failed"), value.get("planned")
    client = value.get("client", {})
    workers = client.get("workers", []) if isinstance(client, dict) else None
    return (
        all(_is_count(value.get(name)) for name in _COUNTS)
        and (planned is None or _is_count(planned))
        and isinstance(failed, dict)
        and all(map(_is_count, failed.values()))
        and all(_is_count(value.get(name, 0)) for name in ("start_ns", "end_ns"))
        and isinstance(value.get("dead_workers", []), list)
        and isinstance(workers, list)
        and all(isinstance(worker, dict) and _of_numbers(worker) for worker in workers)
        and _is_number(client.get("cpu_s"))
    )


def is_line(value: Mapping[str, Any]) -> bool:
    """A journal's line has an event and its instant; a second's values are numbers."""
    event = value.get("event")
    if not isinstance(event, str) or not _is_count(value.get("at_ns")):
        return False
    counted = [part for name, part in value.items() if name != "event"]
    if event == "scrapes" and not _is_count(value.get("done", 0)):
        return False
    return event not in ("second", "start") or all(
        isinstance(part, int | float) for part in counted
    )


def _of_numbers(values: Mapping[str, Any]) -> bool:
    return all(_is_number(value) for value in values.values())


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
