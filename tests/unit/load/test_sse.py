"""Event streams are taken apart as the standard says, and a little more kindly."""

from __future__ import annotations

import pytest

from bench.load.sse import Split, StrayText, last_payload, split_events

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("stream", "payloads"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\n", [b"a"]),  # MindIE's Triton dialect
        (b"data:  a\n\n", [b" a"]),  # only one space belongs to the field
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", []),  # a field without a value is an empty one
        (b"data: \n\n", []),
        (b"data:\n\ndata: a\n\n", [b"a"]),
        (b": ping\n\ndata: a\n\n", [b"a"]),
        (b": ping\ndata: a\n\n", [b"a"]),
        (b"event: message\nid: 7\nretry: 3000\ndata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r:\n", [b"a", b"b"]),
        (b"data: a\n\r\ndata: b\r\n\n", [b"a", b"b"]),
        (BOM + b"data: a\n\n", [b"a"]),
        ("data: \u2028\u2029\x85é\n\n".encode(), ["\u2028\u2029\x85é".encode()]),
    ],
)
def test_payloads(stream: bytes, payloads: list[bytes]) -> None:
    """Fields, line ends, comments and the byte order mark; Unicode's line ends are none."""
    assert split_events(stream).payloads == payloads


def test_ends_are_behind_the_blank_line() -> None:
    """Each payload comes with the offset at which it was complete; the rest is left."""
    stream = b": ping\n\ndata: a\n\ndata: bb\n\ndata: c\n"
    assert split_events(stream) == Split([b"a", b"bb"], [17, 27], 27)
    assert split_events(stream.replace(b"\n", b"\r\n")) == Split([b"a", b"bb"], [21, 33], 33)


@pytest.mark.parametrize("stream", [b"data: a", b"data: a\n", b"data: a\r", b"data: a\r\n\r", b""])
def test_an_event_without_its_blank_line_is_not_complete(stream: bytes) -> None:
    """Nothing is used up; a carriage return at the end may still be half a line end."""
    assert split_events(stream).payloads == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_plain_text_ends_the_events(end: bytes) -> None:
    """What came before stray text is kept, what comes behind it is not read."""
    lines = [b"data: a", b"", b"Engine callback timeout: 600", b"", b"data: b", b"", b""]
    split = split_events(end.join(lines))
    assert (split.payloads, split.stray) == ([b"a"], b"Engine callback timeout: 600")


@pytest.mark.parametrize(
    ("tail", "payload"),
    [(b"data: a", b"a"), (b"data: a\r\n", b"a"), (b": bye", None), (b"\n", None), (b"", None)],
)
def test_the_last_event_may_lack_its_blank_line(tail: bytes, payload: bytes | None) -> None:
    """Some servers end so, and the last event often holds the finish reason or an error."""
    assert last_payload(tail) == payload


def test_a_tail_of_plain_text_is_stray() -> None:
    """An error text without an end of line is told as such."""
    with pytest.raises(StrayText) as caught:
        last_payload(b"Failed to get engine response")
    assert caught.value.text == b"Failed to get engine response"
