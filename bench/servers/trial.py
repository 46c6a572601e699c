"""Asking for one short answer, and finding out which optional request fields the server refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.load.dialects.table import dialect_named, path_of
from bench.model import Prompt, RequestStyle, Target, Turn
from bench.servers.client import GENERATE_S, ControlClient, Reply, refused
from bench.servers.shape import StreamShape, read_stream

REFUSALS = (400, 422)
_GREEDY: Mapping[str, Any] = {"temperature": 0}

Without = Callable[[RequestStyle], RequestStyle]

_WITHOUT: Mapping[str, Without] = {
    "cache_salt": lambda style: replace(style, cache_salt=None),
    "return_token_ids": lambda style: replace(style, return_token_ids=False),
    "continuous_usage_stats": lambda style: replace(style, continuous_usage=False),
    "min_tokens": lambda style: replace(style, min_tokens=False),
    "ignore_eos": lambda style: replace(style, ignore_eos=False),
    "stream_options": lambda style: replace(style, include_usage=False, continuous_usage=False),
    "max_tokens": lambda style: replace(style, max_tokens_field="max_completion_tokens"),
}
"""How to ask without a field, the least needed first: the order when no refusal names one."""

_OPTIONAL = tuple(name for name in _WITHOUT if name != "max_tokens")


@dataclass(frozen=True, slots=True)
class Trial:
    """One streamed answer, the style it was asked with, and the fields that had to go.

    `refused` are fields the server does not take.  `left_out` are fields that went before it
    relented without having said which one it minds: whether it takes them is not known.
    `shape` is None when the server answered a stream request with a body that is no stream.
    """

    style: RequestStyle
    shape: StreamShape | None
    reply: Reply
    refused: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


async def ask(
    client: ControlClient,
    target: Target,
    prompt: Prompt,
    output_tokens: int,
    style: RequestStyle,
) -> Trial:
    """Sends one streamed request, again with fewer fields as long as the server refuses it.

    A refused request generates nothing.  Raises TargetError for any other failure.
    """
    turn = Turn(0, None, None, None, output_tokens)
    dialect = dialect_named(target.endpoint)
    style = replace(style, ignore_eos=style.ignore_eos and dialect.ignore_eos)
    named: list[str] = []
    guessed: list[str] = []
    while True:
        body = dialect.encode(target.model, prompt, turn, style, _GREEDY)
        reply = await client.post(path_of(dialect, target.model), body, GENERATE_S)
        if reply.status == 200:
            streamed = dialect.framing.streamed(reply.content_type.encode())
            shape = read_stream(reply.body, dialect) if streamed else None
            refusals = (*named, *guessed[-1:])
            return Trial(style, shape, reply, refusals, tuple(guessed[:-1]))
        if reply.status not in REFUSALS:
            raise refused(reply, "POST")
        sent = [name for name in _OPTIONAL if name.encode() in body]
        if names := _named(reply, sent, style):
            named += names
        elif sent:
            names = sent[:1]
            guessed += names
        else:
            raise refused(reply, "POST")
        for name in names:
            style = _WITHOUT[name](style)


def _named(reply: Reply, sent: list[str], style: RequestStyle) -> list[str]:
    """The fields the refusal speaks of."""
    said = reply.body.decode("utf-8", "replace")
    names = [name for name in sent if name in said]
    if "continuous_usage_stats" in names and "stream_options" in names:
        names.remove("stream_options")  # only said where the other one stands
    if not names and style.max_tokens_field == "max_tokens" and "max_completion_tokens" in said:
        return ["max_tokens"]
    return names
