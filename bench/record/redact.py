"""Keeps secrets out of everything that a run folder holds.

Three nets: values under keys that name a secret; userinfo, query secrets and credentials inside
texts; and the known secrets of this run, wherever they occur.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

REMOVED = "***"

_SECRET_KEY = re.compile(
    r"(?:authorization|api_?key|(?:^|_|access|auth|bearer|refresh|session|id)token|passwo?r?d|"
    r"passphrase|secret|secret_?key|private_?key|cookie|credentials?)$"
)

_CREDENTIALS = (
    re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^/?#\s]*(@)"),
    re.compile(
        r"(?i)([?&][\w.-]*(?:key|token|auth|passw(?:or)?d|secret|sig|signature)=)[^&#\s\"']+()"
    ),
    re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic)\s+)?[^\s\"',;]+()"),
    re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{6,}()"),
    re.compile(r"(?i)(\bapi[-_ ]?key[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&]+()"),
    re.compile(r"()\bsk-[\w-]{8,}()"),
)

_SHORTEST_SECRET = 6  # a shorter one would match inside ordinary words


def redact(value: Any, secrets: Iterable[str] = ()) -> Any:
    """A copy of a JSON-like value without secrets; `***` stands where one was.

    `secrets` are the run's own (keys, header values) and are removed from every text of six or more
    characters.  Mappings become dicts, tuples lists.
    """
    return _redact(value, tuple(s for s in secrets if len(s) >= _SHORTEST_SECRET))


def _redact(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact_text(value, secrets)
    if isinstance(value, Mapping):
        return {
            key: REMOVED if names_secret(key) and _is_secret(item) else _redact(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(item, secrets) for item in value]
    return value


def redact_text(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` without credentials and without any of `secrets`."""
    for secret in secrets:
        text = _without_beginning(text.replace(secret, REMOVED), secret)
    for pattern in _CREDENTIALS:
        text = pattern.sub(rf"\1{REMOVED}\2", text)
    return text


def _without_beginning(text: str, secret: str) -> str:
    """`text` without the beginning of a secret at its end, where a longer text was cut."""
    for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
        if text.endswith(secret[:length]):
            return text[:-length] + REMOVED
    return text


def names_secret(key: Any) -> bool:
    """Whether a field or header of this name holds a secret."""
    return isinstance(key, str) and bool(_SECRET_KEY.search(key.lower().replace("-", "_")))


def _is_secret(value: Any) -> bool:
    return isinstance(value, str | bytes) and bool(value)
