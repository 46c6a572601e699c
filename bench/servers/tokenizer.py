"""A server's own tokenizer, so that prompts have the lengths a plan asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from bench.errors import TargetError
from bench.model import Message
from bench.servers.client import ControlClient, Reply, refused
from bench.servers.family import Family


async def tokenize(client: ControlClient, family: Family, model: str, text: str) -> list[int]:
    """The token ids of `text`, without special tokens.

    Raises TargetError where the family or the server has no such endpoint.
    """
    return await _ids(client, family, model, text, special=False)


async def count_chat(
    client: ControlClient, family: Family, model: str, messages: Sequence[Message]
) -> int:
    """Tokens of a chat prompt with its template.

    Raises TargetError where the server can't tell.
    """
    if family.template_path is not None:
        reply = await _post(client, family.template_path, {"messages": list(messages)})
        prompt = (reply.json() or {}).get("prompt")
        if not isinstance(prompt, str):
            raise TargetError(f"POST {reply.url}: expected a prompt, got {reply.error_text!r}")
        return len(await _ids(client, family, model, prompt, special=True))
    reply = await _post(client, family.tokenize_path, {"model": model, "messages": list(messages)})
    found = reply.json()
    count = found.get("count") if isinstance(found, dict) else None
    if not isinstance(count, int):
        raise TargetError(f"POST {reply.url}: expected a count, got {reply.error_text!r}")
    return count


async def _ids(
    client: ControlClient, family: Family, model: str, text: str, *, special: bool
) -> list[int]:
    # llama.cpp's name of the wish, and everybody else's.
    wishes = {"add_special": special, "add_special_tokens": special}
    reply = await _post(
        client, family.tokenize_path, {"model": model, family.tokenize_field: text, **wishes}
    )
    found = reply.json()
    told = found.get("tokens") if isinstance(found, dict) else None
    ids = [token for token in told or () if isinstance(token, int)]
    if told is None or len(ids) != len(told) or (text and not ids):
        raise TargetError(f"POST {reply.url}: expected token ids, got {reply.error_text!r}")
    return ids


async def _post(client: ControlClient, path: str | None, fields: dict[str, Any]) -> Reply:
    if path is None:
        raise TargetError("this kind of server has no tokenize endpoint")
    reply = await client.post(path, orjson.dumps(fields))
    if reply.status != 200:
        raise refused(reply, "POST")
    return reply
