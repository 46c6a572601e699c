"""Candidate words for prompts: syllables, short enough that most tokenizers hold many of them.

Consonant, vowel and an optional final consonant; none of it is text from anywhere.
"""

from __future__ import annotations

_FIRST = "bdfghjklmnprstvwz"
_MIDDLE = "aeiou"
_LAST = ("", "n", "l", "r", "s", "t", "d", "m")


def candidate_words() -> tuple[str, ...]:
    """680 different words, the open syllables first."""
    return tuple(first + middle + last for last in _LAST for middle in _MIDDLE for first in _FIRST)
