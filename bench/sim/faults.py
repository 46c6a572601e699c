"""Fault injection as data: which requests are answered wrongly, and how.

A fault is written `KIND[:SELECTOR][:PARAM=VALUE]...`.  Selectors: a probability (`0.05`),
`every=N` (each Nth request), `at=N[,N...]` (those requests, the first is 1), `at=Xs-Ys` (requests
received in that window, seconds since the server started); without one, every request.  Several
faults may meet in one request.  The request header `x-sim-fault` takes the same texts without
selectors, separated by commas.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.errors import UsageError
from bench.sim.shape import SOUND, StreamShape

HEADER = "x-sim-fault"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind does to the shape; `params` names what may be set, and the field it sets."""

    what: str
    shape: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


_AFTER = {"after": "after"}
OF_THE_SERVER = ("refuse", "restart", "slow_steps")
"""Kinds that happen to the whole server in a window, not to a request."""

KINDS: dict[str, Kind] = {
    "refuse": Kind("Stop listening and cut every connection; needs a window `at=Xs-Ys`."),
    "restart": Kind(
        "The same, and come back with an empty cache and every counter at 0; needs a window."
    ),
    "slow_steps": Kind(
        "Steps take `factor` (5) times as long; needs a window.",
        {"factor": 5},
        {"factor": "factor"},
    ),
    "reset_before_headers": Kind(
        "Reset the connection instead of answering.", {"refusing": "reset_before_headers"}
    ),
    "reset_mid_headers": Kind(
        "Reset the connection inside the response's head.", {"refusing": "reset_mid_headers"}
    ),
    "reset_mid_body": Kind("Reset after some tokens.", {"ending": "reset"}, _AFTER),
    "truncate": Kind(
        "Close inside a chunk after some tokens: the chunked body is not terminated.",
        {"ending": "truncate"},
        _AFTER,
    ),
    "early_end": Kind(
        "End the body properly after some tokens, with no finish, usage or [DONE].",
        {"ending": "early_end"},
        _AFTER,
    ),
    "stall": Kind(
        "Fall silent after some tokens, for `seconds` (an hour), then go on.",
        {"ending": "stall"},
        _AFTER | {"seconds": "stall_s"},
    ),
    "slow_first_byte": Kind(
        "Wait `seconds` (1) before the response's head.",
        {"first_byte_delay_s": 1.0},
        {"seconds": "first_byte_delay_s"},
    ),
    "silent_close": Kind(
        "Close the connection after the response, having promised to keep it.",
        {"close_silently": True},
    ),
    "redirect": Kind("Answer 307 to another path.", {"status": 307, "location": "/elsewhere"}),
    "ignore_stream": Kind("Answer a stream request with one JSON body.", {"ignore_stream": True}),
    "gzip": Kind("Compress the body, asked for or not.", {"gzip": True}),
    "endless": Kind("Go on past max_tokens, up to the context's end.", {"endless": True}),
    "no_done": Kind("Leave out [DONE].", {"done": False}),
    "text_line": Kind(
        "After some tokens, a line of plain text that is no event, and the end of the body.",
        {"spoiler": "text_line"},
        _AFTER,
    ),
    "bad_json": Kind(
        "After some tokens, an event whose JSON is cut short.", {"spoiler": "bad_json"}, _AFTER
    ),
    "error_event": Kind(
        "After some tokens, an error object, [DONE], and the end, all under status 200.",
        {"spoiler": "error"},
        _AFTER,
    ),
    "huge_event": Kind(
        "Pad the event after some tokens to `bytes` (10,000,000).",
        {"spoiler": "huge"},
        _AFTER | {"bytes": "event_bytes"},
    ),
    "split_utf8": Kind(
        "Text outside ASCII, each event written in two parts, split inside a character.",
        {"split_utf8": True},
    ),
    "empty_text": Kind(
        "Every other token, the first included, has empty text; its letters come with the next.",
        {"empty_text": True},
    ),
    "zero_tokens": Kind("Finish at once, with no token.", {"zero_tokens": True}),
    "wrong_count": Kind(
        "Add `tokens` (7) to usage.completion_tokens.",
        {"count_offset": 7},
        {"tokens": "count_offset"},
    ),
    "no_usage": Kind("Never send usage.", {"usage": "none"}),
    "usage_in_finish": Kind("Send usage beside the finish reason.", {"usage": "finish"}),
    "double_role": Kind("Send the role frame twice.", {"role_frames": 2}),
    "no_role": Kind("Send no role frame.", {"role_frames": 0}),
    "reasoning": Kind(
        "The first `tokens` (8) tokens are in `reasoning`.",
        {"first_field": "reasoning", "field_tokens": 8},
        {"tokens": "field_tokens"},
    ),
    "reasoning_content": Kind(
        "The first `tokens` (8) tokens are in `reasoning_content`.",
        {"first_field": "reasoning_content", "field_tokens": 8},
        {"tokens": "field_tokens"},
    ),
    "tool_calls": Kind(
        "All tokens are the arguments of a tool call.",
        {"first_field": "tool_calls", "field_tokens": 1 << 62},
    ),
    "multi_token": Kind(
        "Each event carries `tokens` (4) tokens, as speculative decoding does.",
        {"tokens_per_event": 4},
        {"tokens": "tokens_per_event"},
    ),
    "comments": Kind("A comment line `: ping` before each event.", {"comments": True}),
    "crlf": Kind("Lines end in CR LF.", {"line_end": b"\r\n"}),
    "event_lines": Kind("An `event: message` line in each event.", {"event_line": b"message"}),
    "no_space": Kind("No space after `data:`.", {"data_prefix": b"data:"}),
}

_STATUS = re.compile(r"http_([45]\d\d)(?:_(json|string|html|plain))?")
STATUS_HELP = "http_STATUS[_json|_string|_html|_plain]"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and when it happens.  Without a selector, always."""

    kind: str
    shape: Mapping[str, Any]
    probability: float | None = None
    every: int | None = None
    ordinals: frozenset[int] | None = None
    window_s: tuple[float, float] | None = None

    @property
    def selective(self) -> bool:
        """Whether it has a selector."""
        selectors = (self.probability, self.every, self.ordinals, self.window_s)
        return any(selector is not None for selector in selectors)

    def applies(self, ordinal: int, elapsed_s: float, draw: random.Random) -> bool:
        """Whether it happens to the request number `ordinal` (from 1), received at `elapsed_s`."""
        if self.probability is not None:
            return draw.random() < self.probability
        if self.every is not None:
            return ordinal % self.every == 0
        if self.ordinals is not None:
            return ordinal in self.ordinals
        if self.window_s is not None:
            return self.window_s[0] <= elapsed_s < self.window_s[1]
        return True


class FaultPlan:
    """The server's faults, drawn for each request in the order they are received."""

    def __init__(self, texts: Iterable[str], seed: int) -> None:
        faults = [parse_fault(text) for text in texts]
        self._faults = [fault for fault in faults if fault.kind not in OF_THE_SERVER]
        self.of_the_server = [fault for fault in faults if fault.kind in OF_THE_SERVER]
        self._draw = random.Random(seed)
        self._ordinal = 0

    def shape(self, elapsed_s: float, header: str | None) -> StreamShape:
        """The shape of the next request's answer.  Raises UsageError for a wrong header."""
        self._ordinal += 1
        chosen = [
            fault for fault in self._faults if fault.applies(self._ordinal, elapsed_s, self._draw)
        ]
        if header:
            chosen += parse_header(header)
        return apply(chosen) if chosen else SOUND


def apply(faults: Iterable[Fault]) -> StreamShape:
    """The sound shape with these faults in it, later ones over earlier ones."""
    shape = SOUND
    for fault in faults:
        name = f"{shape.fault}+{fault.kind}" if shape.fault else fault.kind
        shape = replace(shape, **fault.shape, fault=name)
    return shape


def parse_header(text: str) -> list[Fault]:
    """The faults of an `x-sim-fault` header.  Raises UsageError."""
    faults = [parse_fault(part.strip()) for part in text.split(",") if part.strip()]
    for fault in faults:
        if fault.selective:
            raise UsageError(
                f"fault {fault.kind} in the header {HEADER} can't have a selector",
                "give it to the server with --fault",
            )
    return faults


def parse_fault(text: str) -> Fault:
    """Read `KIND[:SELECTOR][:PARAM=VALUE]...`.  Raises UsageError."""
    name, *parts = text.split(":")
    kind = _kind(name)
    shape = dict(kind.shape)
    selector: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if equals and key in kind.params:
            shape[kind.params[key]] = _parameter(text, kind.params[key], value)
        elif not selector:
            selector = _selector(text, key, value if equals else None)
        else:
            raise UsageError(f"fault {text!r}: {part!r} is a second selector", "keep one of them")
    if name in OF_THE_SERVER and "window_s" not in selector:
        raise UsageError(
            f"fault {text!r}: {name} needs a window", f"write for example {name}:at=2s-5s"
        )
    return Fault(name, shape, **selector)


def _kind(name: str) -> Kind:
    status = _STATUS.fullmatch(name)
    if status:
        return Kind(
            "Answer with this status.",
            {"status": int(status[1]), "body": status[2] or "json"},
            {"retry_after": "retry_after_s"},
        )
    if name not in KINDS:
        known = ", ".join([STATUS_HELP, *KINDS])
        raise UsageError(f"fault kind {name!r} is not known", f"known kinds: {known}")
    return KINDS[name]


def _selector(text: str, key: str, value: str | None) -> dict[str, Any]:
    if value is None:
        probability = _number(text, key)
        if not 0 <= probability <= 1:
            raise UsageError(f"fault {text!r}: {key} is not a probability", "give one from 0 to 1")
        return {"probability": float(probability)}
    window = re.fullmatch(r"([\d.]+)s-([\d.]+)s", value)
    if key == "at" and window:
        start_s, end_s = float(_number(text, window[1])), float(_number(text, window[2]))
        if end_s <= start_s:
            raise UsageError(f"fault {text!r}: the window is empty", "write at=Xs-Ys with X < Y")
        return {"window_s": (start_s, end_s)}
    if key == "at" and re.fullmatch(r"\d+(,\d+)*", value):
        return {"ordinals": frozenset(map(int, value.split(",")))}
    if key == "every" and re.fullmatch(r"[1-9]\d*", value):
        return {"every": int(value)}
    raise UsageError(
        f"fault {text!r}: {key}={value} is neither a selector nor a parameter of this kind",
        "selectors: a probability, every=N, at=N[,N...], at=Xs-Ys",
    )


def _parameter(text: str, name: str, value: str) -> float | int:
    number = _number(text, value)
    if name.endswith("_s"):
        return number
    if number != int(number) or (name in ("tokens_per_event", "factor") and number < 1):
        raise UsageError(f"fault {text!r}: {value} is not a whole number of at least 1")
    return int(number)


def _number(text: str, value: str) -> float | int:
    try:
        number = int(value) if value.isdigit() else float(value)
    except ValueError:
        raise UsageError(f"fault {text!r}: {value!r} is not a number") from None
    if not 0 <= number < math.inf:
        raise UsageError(f"fault {text!r}: {value} is not a number of 0 or more")
    return number
