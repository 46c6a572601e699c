"""What the run was: the manifest, line by line, so that it can be repeated."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.report.blocks import Block, Cell, Column, Table, absent
from bench.report.evidence import Evidence
from bench.report.numbers import DASH, significant

_PARTS = ("target", "server", "workload", "load", "profile", "seeds", "host", "clocks")
_LONGEST = 400
_EMPTY: tuple[Any, ...] = ("", {}, [])


def blocks(evidence: Evidence) -> list[Block]:
    words, manifest = evidence.words, evidence.run.manifest
    columns = [Column(words("conditions.name"), "code"), Column(words("column.value"), "long")]
    first = [
        (Cell(words("conditions.run")), Cell(str(manifest.get("run_id", "")))),
        (Cell(words("conditions.created")), Cell(str(manifest.get("created_utc", "")))),
        (Cell(words("conditions.version")), Cell(f"bench {manifest.get('bench_version', '')}")),
        (Cell(words("conditions.command")), Cell(shlex.join(manifest.get("command") or ()))),
    ]
    tables: list[Block] = [Table(words("conditions.this_run"), columns, first)]
    for part in _PARTS:
        content = manifest.get(part)
        if not content:
            rows = [(Cell(words("conditions.nothing")), absent(words("absent.not_recorded")))]
        else:
            rows = [(Cell(name), _value(evidence, value)) for name, value in _flat(content)]
        tables.append(Table(words(f"conditions.{part}"), columns, rows, folded=True))
    return tables


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values; a mapping of plain values is one line, without empty ones."""
    for key, value in tree.items():
        if isinstance(value, Sequence) and value and all(isinstance(v, Mapping) for v in value):
            yield from _flat({str(n): item for n, item in enumerate(value, 1)}, f"{prefix}{key}.")
        elif isinstance(value, Mapping) and value and not _nested(value):
            told = {name: item for name, item in value.items() if item not in _EMPTY}
            yield f"{prefix}{key}", [f"{name} {_plain(item)}" for name, item in told.items()]
        elif isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nested(tree: Mapping[str, Any]) -> bool:
    """Whether a mapping holds more than plain values, which would fit one line."""
    return any(isinstance(item, Mapping) and item for item in tree.values())


def _plain(value: Any) -> str:
    if value is None:
        return DASH
    return significant(value, 6) if isinstance(value, float) else str(value)


def _value(evidence: Evidence, value: Any) -> Cell:
    if value is None or value in _EMPTY:
        return absent(evidence.words("absent.not_recorded"))
    if isinstance(value, bool):
        return Cell(evidence.words("page.yes" if value else "page.no"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(_plain(item) for item in value)
    else:
        text = _plain(value)
    return Cell(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…", note=text[:4000])
