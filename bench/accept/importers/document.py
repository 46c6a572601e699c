"""JSON documents of other tools, with errors that say which file and what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from bench.errors import ConfigError


def json_object(path: Path, tool: str) -> dict[str, Any]:
    """The file as a JSON object.  Raises ConfigError."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path}: not readable as JSON of {tool}: {error}") from None
    if not isinstance(found, dict):
        raise wrong(path, tool, f"expected a JSON object, got {type(found).__name__}")
    return found


def wrong(path: Path, tool: str, what: str) -> ConfigError:
    return ConfigError(f"{path}: not a result of {tool}: {what}")
