"""Small requests that try a server: strangers, too long an input, models, regions, Prometheus.

Each returns what the activity's record keeps as `observed`: plain values, no secret.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from bench.accept.failures import failure
from bench.errors import TargetError
from bench.load.dialects.table import dialect_named, path_of
from bench.model import RequestStyle, Target, Turn
from bench.servers.client import GENERATE_S, ControlClient, Reply
from bench.servers.findings import ProbeResult
from bench.servers.identify import list_models

_PLAIN = RequestStyle(ignore_eos=False, stream=False)
_WRONG_KEY = {"Authorization": "Bearer a-key-that-was-never-issued"}
_REGION_CALLS = 10
_QUERIES = ("up", "sum(up)", "count({__name__=~'.+:.*|.+_total'})")
_DAY_S = 86_400
_AGES_DAYS = (1, 7, 30, 90, 180, 365, 730)


async def keys(target: Target, found: ProbeResult) -> dict[str, Any]:
    """The status of a request without a key, and of one with a wrong key."""
    return {
        name: await _status(replace(target, headers=headers), found, "Hello", 1)
        for name, headers in (("no_key", {}), ("wrong_key", _WRONG_KEY))
    }


async def over_long(target: Target, found: ProbeResult) -> dict[str, Any]:
    """An input a quarter longer than the context, and whether the server still answers."""
    if found.max_model_len is None:
        return {"input_tokens": None, "status": None, "alive": None}
    tokens = found.max_model_len * 5 // 4 + 64
    status = await _status(target, found, "a " * tokens, 1)
    alive = await _status(target, found, "Hello", 1)
    return {"input_tokens": tokens, "status": status, "alive": alive == 200}


async def models(target: Target, found: ProbeResult) -> dict[str, Any]:
    """Seconds to the first answer of every listed model, all asked at once; None without one."""

    async def first_answer(model: str) -> dict[str, Any]:
        began = time.monotonic()
        status = await _status(replace(target, model=model), found, "Hello", 1, model)
        took_s = time.monotonic() - began
        return {"model": model, "took_s": took_s if status == 200 else None, "status": status}

    async with ControlClient(target) as client:
        listed = [card.id for card in (await list_models(client))[0]]
    return {"models": await asyncio.gather(*map(first_answer, listed or [found.model]))}


async def regions(urls: Mapping[str, str]) -> dict[str, Any]:
    """Seconds of TCP connects to each region's address, one after the other; None: no connect."""

    async def connect(url: str) -> float | None:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        began = time.monotonic()
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, port), 5.0)
        except (OSError, TimeoutError):
            return None
        took_s = time.monotonic() - began
        writer.close()
        return took_s

    return {
        "regions": {
            name: [await connect(url) for _ in range(_REGION_CALLS)] for name, url in urls.items()
        }
    }


async def prometheus(base_url: str) -> dict[str, Any]:
    """How long range queries over a day take, and how old the oldest sample found is."""
    now = int(time.time())
    query_s = []
    async with ControlClient(Target(base_url=base_url, model="")) as client:
        for query in _QUERIES:
            began = time.monotonic()
            reply = await client.get(
                f"/api/v1/query_range?query={quote(query)}&start={now - _DAY_S}&end={now}&step=60"
            )
            if reply.status != 200:
                said = reply.error_text
                raise failure("prometheus", url=reply.url, status=reply.status, said=said)
            query_s.append(time.monotonic() - began)
        there = [
            days
            for days in _AGES_DAYS
            if _has_samples(
                await client.get(f"/api/v1/query?query=count(up)&time={now - days * _DAY_S}")
            )
        ]
    return {"query_s": query_s, "oldest_days": max(there, default=None)}


def _has_samples(reply: Reply) -> bool:
    found = reply.json()
    return bool(isinstance(found, dict) and (found.get("data") or {}).get("result"))


async def post_chat(
    client: ControlClient, target: Target, model: str, prompt: str, output_tokens: int
) -> Reply:
    """One short answer, whole.  Raises TargetError where there is none."""
    turn = Turn(0, None, None, None, output_tokens)
    dialect = dialect_named(target.endpoint)
    body = dialect.encode(model, prompt, turn, _PLAIN, {"temperature": 0})
    return await client.post(path_of(dialect, model), body, GENERATE_S)


async def _status(
    target: Target, found: ProbeResult, prompt: str, output_tokens: int, model: str = ""
) -> int:
    """The answer's status; 0 where the connection broke instead."""
    async with ControlClient(target) as client:
        try:
            reply = await post_chat(client, target, model or found.model, prompt, output_tokens)
        except TargetError:
            return 0
    return reply.status


async def first_status(target: Target, found: ProbeResult) -> int:
    """The status of a request for one token; 0 where there is no answer."""
    return await _status(target, found, "Hello", 1)
