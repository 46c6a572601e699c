"""Every word a report shows, looked up by key in one language."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = ("zh", "en")
_FOLDER = Path(__file__).parent / "words"


class Words:
    """The words of one language; call it with a dotted key and the values of its placeholders.

    A key that is not there raises KeyError: a page with a hole is a bug, not a page.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._entries = entries(language)

    def __call__(self, key: str, **values: object) -> str:
        text = self._entries[key]
        return text.format_map(values) if values else text

    def known(self, key: str) -> bool:
        """Whether the language has this key; for names that come from outside the project."""
        return key in self._entries


@cache
def entries(language: str) -> Mapping[str, str]:
    """The flat table of one language: dotted key → text."""
    text = (_FOLDER / f"{language}.yaml").read_text(encoding="utf-8")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return dict(_flat(yaml.load(text, loader)))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def choose_language(asked: str, environment: Mapping[str, str] | None = None) -> str:
    """`zh` or `en`; `auto` reads LC_ALL, LC_MESSAGES and LANG, in POSIX's order of precedence."""
    if asked != "auto":
        return asked
    environment = os.environ if environment is None else environment
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"
