"""A server's own tokenizer, so that prompts have the lengths a plan asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import orjson

from bench.errors import TargetError
from bench.model import Message, Target
from bench.servers.client import ControlClient, Reply, refused
from bench.servers.family import Family


async def tokenize(client: ControlClient, family: Family, model: str, text: str) -> list[int]:
    """The token ids of `text`, without special tokens.

    Raises TargetError where the family or the server has no such endpoint.
    """
    reply = await _post(client, family, {"model": model, family.tokenize_field: text})
    found = reply.json()
    rows = found.get("tokens") if isinstance(found, dict) else found
    told = [row.get("id") if isinstance(row, dict) else row for row in rows or ()]
    ids = [token for token in told if isinstance(token, int)]
    if len(ids) != len(told) or (text and not ids):
        raise TargetError(f"POST {reply.url}: expected token ids, got {reply.error_text!r}")
    return ids


async def count_chat(
    client: ControlClient, family: Family, model: str, messages: Sequence[Message]
) -> int:
    """Tokens of a chat prompt with its template.

    Raises TargetError where the server can't tell.
    """
    reply = await _post(client, family, {"model": model, "messages": list(messages)})
    found = reply.json()
    count = found.get("count") if isinstance(found, dict) else None
    if not isinstance(count, int):
        raise TargetError(f"POST {reply.url}: expected a count, got {reply.error_text!r}")
    return count


async def _post(client: ControlClient, family: Family, fields: dict[str, Any]) -> Reply:
    if family.tokenize_path is None:
        raise TargetError(f"{family.title} has no tokenize endpoint")
    special = {} if "messages" in fields else {"add_special_tokens": False}
    reply = await client.post(family.tokenize_path, orjson.dumps(fields | special))
    if reply.status != 200:
        raise refused(reply, "POST")
    return reply


class ServerTokenizer:
    """The same as plain calls, for code that is not asynchronous; a context manager.

    `tokenize(text)` gives token ids, `count_chat(messages)` the length of a chat prompt; both
    raise TargetError.
    """

    def __init__(self, target: Target, family: Family) -> None:
        self._target = target
        self._family = family
        self._runner = asyncio.Runner()
        self._client = ControlClient(target)

    def __enter__(self) -> Self:
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._runner.run(self._client.__aexit__(kind, error, trace))
        finally:
            self._runner.close()

    def tokenize(self, text: str) -> list[int]:
        return self._runner.run(tokenize(self._client, self._family, self._target.model, text))

    def count_chat(self, messages: Sequence[Message]) -> int:
        return self._runner.run(
            count_chat(self._client, self._family, self._target.model, messages)
        )
