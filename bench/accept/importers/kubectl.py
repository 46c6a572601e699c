"""`kubectl get nodes|pods -o json`: a v1 List of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.accept.importers.document import json_object, wrong

TOOL = "kubectl get -o json"

Objects = list[dict[str, Any]]


def read_objects(path: Path, kind: str) -> Objects:
    """The objects of one kind ("Node", "Pod").  Raises ConfigError where there is none."""
    found = json_object(path, TOOL)
    items = found.get("items") if found.get("kind", "").endswith("List") else [found]
    if not isinstance(items, list):
        raise wrong(path, TOOL, 'no list "items"')
    objects = [item for item in items if isinstance(item, dict) and item.get("kind") == kind]
    if not objects:
        raise wrong(path, TOOL, f"no object of kind {kind}")
    return objects


def not_ready(nodes: Objects) -> list[str]:
    """Names of nodes whose condition Ready is not True."""
    return [_name(node) for node in nodes if not _is_ready(node)]


def allocatable(nodes: Objects, resource: str) -> int:
    """How many of a resource the nodes offer; names that begin with it (MIG profiles) count."""
    return sum(
        int(count)
        for node in nodes
        for name, count in ((node.get("status") or {}).get("allocatable") or {}).items()
        if name.startswith(resource)
    )


def image_bytes(nodes: Objects, image: str) -> list[int]:
    """Sizes of the images whose name contains `image`, as the nodes state them."""
    return [
        int(entry["sizeBytes"])
        for node in nodes
        for entry in (node.get("status") or {}).get("images") or ()
        if "sizeBytes" in entry and any(image in name for name in entry.get("names") or ())
    ]


def may_be_root(pods: Objects) -> list[str]:
    """`pod/container` of containers that are not forbidden to run as root."""
    found = []
    for pod in pods:
        spec = pod.get("spec") or {}
        whole = spec.get("securityContext") or {}
        for container in _containers(spec):
            own = {**whole, **(container.get("securityContext") or {})}
            if own.get("runAsNonRoot") is not True and not own.get("runAsUser"):
                found.append(f"{_name(pod)}/{container.get('name', '?')}")
    return found


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("initContainers", "containers"):
        yield from spec.get(key) or ()


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _name(thing: Mapping[str, Any]) -> str:
    return str((thing.get("metadata") or {}).get("name", "?"))
