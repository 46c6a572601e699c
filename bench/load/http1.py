"""The HTTP/1.1 requests that the engine sends, and where to (RFC 9112)."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from bench import __version__
from bench.address import Origin
from bench.errors import ConfigError, TargetError


def resolve(origin: Origin) -> tuple[int, tuple[str, int]]:
    """Address family and socket address of the origin; raises TargetError when DNS has none."""
    try:
        found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TargetError(
            f"host {origin.host!r} has no address: {error.strerror}",
            "check the spelling of the target URL and this machine's DNS",
        ) from None
    family, _, _, _, address = found[0]
    return int(family), (str(address[0]), int(address[1]))


def request_head(origin: Origin, path: str, headers: Mapping[str, str]) -> bytes:
    """Everything of a POST request's head that does not change from request to request."""
    lines = [
        f"POST {origin.prefix}{path} HTTP/1.1",
        f"Host: {origin.authority}",
        f"User-Agent: bench/{__version__}",
        "Accept: text/event-stream, application/json",
        "Content-Type: application/json",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    for line in lines:
        if "\r" in line or "\n" in line:
            name = line.partition(":")[0]
            raise ConfigError(f"header {name!r} holds a line break", "remove it from the value")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def request(head: bytes, request_id: str, body: bytes) -> bytes:
    """One whole request."""
    return b"%bX-Request-Id: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        head,
        request_id.encode("latin-1"),
        len(body),
        body,
    )
