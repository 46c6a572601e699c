"""How an answer differs from a sound stream.  A fault, or a family's habit, is a few fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["reset", "truncate", "early_end", "stall"]
Spoiler = Literal["text_line", "bad_json", "error", "huge"]
Refusing = Literal["reset_before_headers", "reset_mid_headers"]


@dataclass(frozen=True, slots=True)
class StreamShape:
    """The form of one answer.  The defaults are a sound stream as vLLM writes it."""

    fault: str = ""  # the kinds that made it so, for the truth record

    # Instead of an answer.
    status: int = 200
    body: Literal["json", "string", "html", "plain"] = "json"
    location: str = ""
    retry_after_s: float | None = None
    refusing: Refusing | None = None

    # Before and beside the stream.
    first_byte_delay_s: float = 0.0
    ignore_stream: bool = False
    gzip: bool = False
    close_silently: bool = False
    endless: bool = False

    # Lines.
    data_prefix: bytes = b"data: "
    event_line: bytes = b""
    line_end: bytes = b"\n"
    comments: bool = False
    split_utf8: bool = False

    # Events.
    role_frames: int = 1
    first_field: str = "content"  # the delta's field of the first `field_tokens` tokens
    field_tokens: int = 0
    tokens_per_event: int = 1
    empty_text: bool = False
    zero_tokens: bool = False
    usage: Literal["own", "finish", "none"] = "own"
    count_offset: int = 0
    done: bool = True

    # At the token `after`.
    after: int = 2
    spoiler: Spoiler | None = None
    event_bytes: int = 10_000_000
    ending: Ending | None = None
    stall_s: float = 3600.0


SOUND = StreamShape()
