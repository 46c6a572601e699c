"""Request bytes as HTTP/1.1 has them."""

from __future__ import annotations

import pytest

from bench.address import parse_origin
from bench.errors import ConfigError
from bench.load.http1 import request, request_head


def test_one_whole_request() -> None:
    """Line, headers, blank line, body; the length is the body's in bytes."""
    head = request_head(
        parse_origin("http://host:8000/team/v1"), "/v1/completions", {"Authorization": "Bearer k"}
    )
    lines, _, body = request(head, "tag-7", "é".encode()).partition(b"\r\n\r\n")
    assert body == b"\xc3\xa9"
    first, *headers = lines.split(b"\r\n")
    assert first == b"POST /team/v1/completions HTTP/1.1"
    named = dict(line.split(b": ", 1) for line in headers)
    assert named[b"Host"] == b"host:8000"
    assert named[b"Authorization"] == b"Bearer k"
    assert named[b"Content-Length"] == b"2"
    assert named[b"X-Request-Id"] == b"tag-7"
    assert named[b"Accept-Encoding"] == b"identity"


@pytest.mark.parametrize("name", ["accept", "HOST", "Content-type", "user-agent"])
def test_a_given_header_replaces_the_usual_one(name: str) -> None:
    """Names compare without case; none is sent twice."""
    head = request_head(parse_origin("http://host"), "/v1/completions", {name: "mine"})
    lines = head.decode().split("\r\n")[1:-1]
    names = [line.partition(":")[0].lower() for line in lines]
    assert sorted(names) == sorted(set(names))
    assert f"{name}: mine" in lines


@pytest.mark.parametrize(
    "headers", [{"X-A": "one\r\nX-B: two"}, {"X-A\n": "one"}, {"X A": "one"}, {"": "one"}]
)
def test_a_header_can_not_hold_another(headers: dict[str, str]) -> None:
    """A line break or a name that is none is refused; the value, perhaps a key, is not shown."""
    with pytest.raises(ConfigError) as caught:
        request_head(parse_origin("http://host"), "/v1/completions", headers)
    assert "two" not in caught.value.message + caught.value.hint


def test_a_header_outside_latin_1_is_refused() -> None:
    """HTTP/1.1 can't carry it (RFC 9110, 5.5)."""
    with pytest.raises(ConfigError, match="'X-Team'"):
        request_head(parse_origin("http://host"), "/v1/completions", {"X-Team": "推理"})


def test_lengths_and_ids_are_the_requests_own() -> None:
    """Each request tells its own, whatever headers were given."""
    with pytest.raises(ConfigError, match="'content-length'"):
        request_head(parse_origin("http://host"), "/v1/completions", {"content-length": "5"})
