"""JUnit XML: test cases of one suite or several.

A document type declaration is refused: test reports have none, and entities could be expanded
without end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from bench.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Cases:
    """How many test cases there were; `failed` names those with a failure or an error."""

    total: int
    skipped: int
    failed: tuple[str, ...]


def read_cases(path: Path, name_pattern: str = "") -> Cases:
    """The cases whose `classname.name` matches the regular expression.  Raises ConfigError."""
    try:
        text = path.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise ConfigError(f"{path}: a JUnit file has no document type declaration")
        root = ElementTree.fromstring(text)
    except (OSError, ElementTree.ParseError) as error:
        raise ConfigError(f"{path}: not readable as JUnit XML: {error}") from None
    if root.tag not in ("testsuites", "testsuite"):
        raise ConfigError(f"{path}: not JUnit XML: the root is <{root.tag}>")
    cases = [
        (name, case)
        for case in root.iter("testcase")
        if re.search(name_pattern, name := f"{case.get('classname', '')}.{case.get('name', '')}")
    ]
    return Cases(
        total=len(cases),
        skipped=sum(case.find("skipped") is not None for _, case in cases),
        failed=tuple(
            name
            for name, case in cases
            if case.find("failure") is not None or case.find("error") is not None
        ),
    )
