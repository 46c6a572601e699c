"""The HTTP/1.1 requests that the engine sends (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench import __version__
from bench.address import Origin
from bench.errors import ConfigError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN = frozenset({"content-length", "transfer-encoding", "connection", "x-request-id"})


def request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What is sent with every request: `headers`, and the usual ones that they do not replace.

    Compressed events could only be read late, so that no compression is asked for.  Raises
    ConfigError for a header that can't be sent, without showing its value.
    """
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or name.lower() in _OWN:
            raise ConfigError(
                f"header {name!r} can't be given", "it is no name, or each request has its own"
            )
        if re.search(r"[\0\r\n]|[^\0-\xff]", value):
            raise ConfigError(
                f"header {name!r}: its value has a line break or a character outside Latin-1",
                "remove it; RFC 9110, 5.5 says what a value may hold",
            )
    given = {name.lower() for name in headers}
    usual = {
        "User-Agent": f"bench/{__version__}",
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
    }
    return {name: value for name, value in usual.items() if name.lower() not in given} | dict(
        headers
    )


def request_head(origin: Origin, path: str, headers: Mapping[str, str]) -> bytes:
    """Everything of a POST request's head that does not change from request to request.

    Raises ConfigError for a header that can't be sent.
    """
    named = request_headers(headers)
    if "host" not in {name.lower() for name in named}:
        named = {"Host": origin.authority, **named}
    lines = [f"{name}: {value}" for name, value in named.items()]
    return "\r\n".join([f"POST {origin.prefix}{path} HTTP/1.1", *lines, ""]).encode("latin-1")


def request(head: bytes, request_id: str, body: bytes) -> bytes:
    """One whole request."""
    return b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        head,
        request_id.encode("latin-1"),
        len(body),
        body,
    )
