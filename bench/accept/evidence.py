"""Evidence that is not measured here: statements of people, result files of other tools.

An evidence folder holds YAML files, each with the `targets` it is of and a list `evidence`.  Every
entry names the item and part it speaks for.  A statement holds until it expires; an imported file
is read when it is judged.  What is of another service decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from bench.address import parse_origin
from bench.errors import ConfigError
from bench.judge.checklist import Checklist
from bench.yamlfile import StrictModel, load_yaml_model, nearest


def _plain_link(link: str) -> str:
    """A web address or a relative path: nothing that a browser would execute."""
    if not re.match(r"https?://[^\s/]|[^:\s]+$", link):
        raise ValueError(f'expected an http(s) URL or a relative path, got "{link}"')
    return link


def _service(url: str) -> str:
    try:
        return parse_origin(url).url
    except ConfigError as error:
        raise ValueError(error.message) from None


Link = Annotated[str, AfterValidator(_plain_link)]
Name = Annotated[str, Field(min_length=1)]


class Statement(StrictModel):
    """A person's signed word: who says what, since when, shown where, until when."""

    kind: Literal["attested"]
    item: Name
    part: Name
    result: Literal["pass", "fail"]
    by: Name
    at: date
    statement: Name
    link: Link
    expires: date

    @model_validator(mode="after")
    def _in_order(self) -> Statement:
        if self.expires <= self.at:
            raise ValueError(f"expires {self.expires} is not after at {self.at}")
        return self


class Imported(StrictModel):
    """Another tool's result file, and the one to compare it with where the check compares."""

    kind: Literal["imported"]
    item: Name
    part: Name
    file: Link
    before: Link | None = Field(default=None, description="The baseline's file.")


class EvidenceFile(StrictModel):
    """`targets`: the base URLs of the service that it speaks of, as an acceptance may name them."""

    targets: Annotated[tuple[Annotated[str, AfterValidator(_service)], ...], Field(min_length=1)]
    evidence: tuple[Annotated[Statement | Imported, Field(discriminator="kind")], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All entries of a folder that speak of the target.

    `today` is the day on which expiry is judged; `elsewhere`: item and part → the other services
    that there is evidence of.
    """

    folder: Path
    statements: Sequence[Statement]
    imported: Sequence[Imported]
    today: date
    elsewhere: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def statement(self, item: str, part: str) -> Statement | None:
        """The latest statement on a part; one that holds before one that has expired."""
        found = [s for s in self.statements if (s.item, s.part) == (item, part)]
        return max(found, key=lambda s: (not self.expired(s), s.at), default=None)

    def expired(self, statement: Statement) -> bool:
        return statement.expires < self.today

    def files(self, item: str, part: str) -> list[Imported]:
        return [entry for entry in self.imported if (entry.item, entry.part) == (item, part)]


def read_evidence(folder: Path | None, checklist: Checklist, today: date, target: str) -> Evidence:
    """Read every `*.yaml` of the folder; None is no evidence.  `target` is the service's base URL.

    Raises ConfigError: a wrong file, an item or part the checklist does not have, a statement
    dated in the future, an imported file that is not there.
    """
    if folder is None:
        return Evidence(Path(), (), (), today)
    parts = {item.id: [part.name for part in item.how] for item in checklist.items}
    statements: list[Statement] = []
    imported: list[Imported] = []
    elsewhere: dict[tuple[str, str], str] = {}
    service = parse_origin(target).url
    for path in sorted(folder.glob("*.y*ml")):
        found = load_yaml_model(path, EvidenceFile)
        for entry in found.evidence:
            _check_names(path, entry, parts)
            if service not in found.targets:
                elsewhere[entry.item, entry.part] = ", ".join(found.targets)
                continue
            if isinstance(entry, Statement):
                if entry.at > today:
                    raise ConfigError(f"{path}: {entry.item}: dated {entry.at}, in the future")
                statements.append(entry)
            else:
                _check_files(path, entry)
                imported.append(entry)
    return Evidence(folder, statements, imported, today, elsewhere)


def _check_names(path: Path, entry: Statement | Imported, parts: dict[str, list[str]]) -> None:
    if entry.item not in parts:
        hint = nearest(entry.item, list(parts))
        raise ConfigError(f'{path}: the checklist has no item "{entry.item}"', hint)
    if entry.part not in parts[entry.item]:
        known = ", ".join(parts[entry.item])
        raise ConfigError(
            f'{path}: item {entry.item} has no part "{entry.part}"', f"its parts: {known}"
        )


def _check_files(path: Path, entry: Imported) -> None:
    for name in filter(None, (entry.file, entry.before)):
        if "://" in name or not (path.parent / name).is_file():
            raise ConfigError(
                f"{path}: {entry.item}: no file {path.parent / name}",
                "name a file relative to the evidence folder",
            )
