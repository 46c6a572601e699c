"""What a stream amounts to does not depend on how its reads were cut, nor on which were put off."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any
from unittest.mock import patch

import httptools
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import flight as flight_module
from bench.load.conclude import conclude
from bench.load.flight import Flight
from bench.model import Exchange, Outcome, Turn

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
READ_NS = 1_000


def content(text: str, total: int | None = None, *, key: str = "content") -> bytes:
    """An event, with the running usage of `total` output tokens where that is given."""
    choice = {"index": 0, "delta": {key: text}, "finish_reason": None}
    event: dict[str, Any] = {"id": "chat-1", "choices": [choice]}
    if total is not None:
        counts = {"total_tokens": 9 + total, "completion_tokens": total}
        event["usage"] = {"prompt_tokens": 9, **counts}
    return b"data: " + orjson.dumps(event) + b"\n\n"


FINISH = (
    b'data: {"id":"chat-1","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
    b"data: [DONE]\n\n"
)
TEXTS = st.sampled_from(
    [
        "a",
        " b",
        "你",
        "x",
        "y",
        "z",
        " w",
        "1,2",
        "completion_tokens",
        '"',
        "\\n",
        "\n",
        "\\",
        "\x1f",
        '{"a": "b\\"}',
        "}]}",
        "",
        "long text",
        " c",
    ]
)
CHANGED = b': ping\n\ndata: {"id":"chat-1","choices":[{"delta":{"content":"z"}}]}\n\n'


@st.composite
def chunked_streams(draw: st.DrawFn) -> list[bytes]:
    """The chunks of a stream: mostly an event each, some with two, some with half of one."""
    events, total = [], 0
    counted = draw(st.booleans())
    reasoned = draw(st.integers(0, 20))
    for number in range(draw(st.integers(1, 80))):
        total += draw(st.sampled_from([1, 1, 1, 1, 3, 0]))
        key = "reasoning_content" if number < reasoned else "content"
        events.append(content(draw(TEXTS), total if counted else None, key=key))
    if draw(st.booleans()):
        events.insert(draw(st.integers(0, len(events))), CHANGED)
    chunks: list[bytes] = []
    for event in [*events, FINISH]:
        how = draw(st.sampled_from(["own", "own", "own", "own", "own", "own", "joined", "cut"]))
        if how == "joined" and chunks:
            chunks[-1] += event
        elif how == "cut":
            middle = draw(st.integers(1, len(event) - 1))
            chunks += [event[:middle], event[middle:]]
        else:
            chunks.append(event)
    return [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]


def taken(
    reads: list[bytes], *, postpone: bool, decode_every: int = 1, parse_every: int = 32
) -> tuple[Exchange, str]:
    """The record and the text of a flight that is fed as the wire transport does it."""
    flight = Flight(Turn(0, None, None, None, None), 0, 0, "r")
    flight.answer.text, flight.parse_every = [], parse_every
    flight.parser = httptools.HttpResponseParser(flight)
    for number, read in enumerate(reads, 1):
        at_ns = number * READ_NS
        if postpone and flight.regular_end and read.endswith(flight.regular_end):
            if not flight.postpone(read, at_ns, at_ns - READ_NS):
                flight.parse()
        else:
            flight.receive(read, at_ns, at_ns - READ_NS)
        if number % decode_every == 0:
            flight.decode()
    assert flight.complete
    flight.hang_up()
    return conclude(flight), "".join(flight.answer.text)


@st.composite
def reads(draw: st.DrawFn) -> list[bytes]:
    """A whole response as it is read: chunk by chunk, some chunks at a time, or cut anywhere."""
    parts = [HEAD, *draw(chunked_streams()), b"0\r\n\r\n"]
    whole, ends = b"".join(parts), list(accumulate(map(len, parts)))
    match draw(st.sampled_from(["chunks", "groups", "anywhere"])):
        case "chunks":
            return parts
        case "groups":
            edges = [end for end in ends[:-1] if draw(st.integers(0, 3))]
        case _:
            edges = draw(st.lists(st.integers(1, len(whole) - 1), max_size=12))
    return [whole[low:high] for low, high in pairwise(sorted({0, *edges, len(whole)}))]


@given(reads(), st.integers(1, 5), st.integers(1, 32))
def test_postponed_reads_give_the_same_record(
    received: list[bytes], decode_every: int, parse_every: int
) -> None:
    """Arrivals, tokens, counts and text are those of a flight that parses every read at once."""
    with patch("bench.load.dialects.openai.form_of", return_value=None):
        plain = taken(received, postpone=False)  # every event is parsed
    assert plain == taken(received, postpone=False)
    postponed = taken(received, postpone=True, decode_every=decode_every, parse_every=parse_every)
    assert plain == postponed
    assert plain[0].outcome is Outcome.OK or plain[0].error_class == "empty"


def test_reads_of_a_running_stream_are_postponed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the first plain events none is parsed by itself."""
    parsed: list[int] = []
    parse = Flight.parse
    monkeypatch.setattr(
        Flight, "parse", lambda self: (parsed.append(len(self.unparsed)), parse(self))
    )
    events = [content("a")] * (2 * flight_module.UNPARSED_READS + 12)
    sent = [b"%x\r\n%b\r\n" % (len(event), event) for event in [*events, FINISH]]
    got, _ = taken([HEAD, *sent, b"0\r\n\r\n"], postpone=True)
    assert parsed == [flight_module.UNPARSED_READS, flight_module.UNPARSED_READS, 10]
    assert list(got.arrival_ns) == [(2 + number) * READ_NS for number in range(len(events))]
