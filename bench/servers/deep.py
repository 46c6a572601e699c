"""Looking closer, with a handful of short generations: only on request (`bench probe --deep`)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from bench.errors import TargetError
from bench.model import RequestStyle, Target
from bench.servers.client import ControlClient
from bench.servers.trial import Trial, ask

REQUESTS = 6
"""Generations a deep look asks for, at most."""

_CACHE_PROMPT_WORDS = 400
_CONTROL_TOKENS = 64
_TOKEN_IDS = tuple(range(20, 36))
_WORDS = ("river", "stone", "window", "yellow", "seven", "market", "paper", "winter")


@dataclass(frozen=True, slots=True)
class Closer:
    """What the closer look found; None where it could not be told.

    `repeat_prompt_tokens`, `repeat_cached_tokens`: of the second of two equal prompts.
    `salt_isolates`: the same prompt under another `cache_salt` found nothing in the cache.
    `ignore_eos`: True where the same prompt ended early without it and ran on with it; None where
    it never ended early, so that nothing is proven.
    `token_ids_prompt`: a prompt of token ids was taken; `token_ids_exact`: and counted as long as
    it is.
    """

    repeat_prompt_tokens: int | None
    repeat_cached_tokens: int | None
    salt_isolates: bool | None
    ignore_eos: bool | None
    token_ids_prompt: bool | None
    token_ids_exact: bool | None


async def look_closer(
    client: ControlClient, target: Target, style: RequestStyle, takes_salt: bool
) -> Closer:
    """Runs the closer look.  A request that fails leaves its answer unknown."""
    prompt = _fresh_prompt()
    salts = [secrets.token_hex(8) if takes_salt else None for _ in range(2)]
    await _try(client, target, prompt, 1, replace(style, cache_salt=salts[0]))
    again = await _try(client, target, prompt, 1, replace(style, cache_salt=salts[0]))
    cached = _cached(again)
    isolates = None
    if takes_salt and cached:
        apart = await _try(client, target, prompt, 1, replace(style, cache_salt=salts[1]))
        isolates = None if (found := _cached(apart)) is None else found < cached
    taken, exact = await _token_ids(client, target, style)
    return Closer(
        repeat_prompt_tokens=again.shape.prompt_tokens if again and again.shape else None,
        repeat_cached_tokens=cached,
        salt_isolates=isolates,
        ignore_eos=await _ignore_eos(client, target, style),
        token_ids_prompt=taken,
        token_ids_exact=exact,
    )


async def _ignore_eos(client: ControlClient, target: Target, style: RequestStyle) -> bool | None:
    """Compares a prompt that invites a short answer with and without `ignore_eos`."""
    if not style.ignore_eos:
        return None
    prompt = "Answer with one word only: which colour does grass have?"
    control = await _try(client, target, prompt, _CONTROL_TOKENS, replace(style, ignore_eos=False))
    if control is None or control.shape is None or control.shape.finish_reason != "stop":
        return None
    forced = await _try(client, target, prompt, _CONTROL_TOKENS, style)
    if forced is None or forced.shape is None:
        return None
    return forced.shape.output_tokens == _CONTROL_TOKENS


async def _token_ids(
    client: ControlClient, target: Target, style: RequestStyle
) -> tuple[bool | None, bool | None]:
    completions = replace(target, endpoint="completions")
    try:
        trial = await ask(client, completions, list(_TOKEN_IDS), 1, style)
    except TargetError:
        return False, None
    counted = trial.shape.prompt_tokens if trial.shape else None
    return True, None if counted is None else counted == len(_TOKEN_IDS)


async def _try(
    client: ControlClient, target: Target, prompt: str, tokens: int, style: RequestStyle
) -> Trial | None:
    try:
        return await ask(client, target, prompt, tokens, style)
    except TargetError:
        return None


def _cached(trial: Trial | None) -> int | None:
    return trial.shape.cached_tokens if trial is not None and trial.shape is not None else None


def _fresh_prompt() -> str:
    """Text that no cache can hold yet: it begins with random words."""
    nonce = secrets.token_bytes(_CACHE_PROMPT_WORDS)
    return " ".join(_WORDS[byte % len(_WORDS)] for byte in nonce)
