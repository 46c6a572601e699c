"""What servers, traces and folders say, on a terminal: shown, never obeyed."""

from __future__ import annotations

import unicodedata

_TURNS_DIRECTION = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def visible(text: str) -> str:
    """`text` with its control characters as escapes: they could clear a screen or set a title.

    So are marks that turn the direction of writing, which can hide what is said.  Line ends and
    tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(character) if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cs") or character in _TURNS_DIRECTION


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
