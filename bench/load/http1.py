"""The HTTP/1.1 requests that the engine sends, and where to (RFC 9112)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench import __version__
from bench.errors import ConfigError, TargetError
from bench.model import Tls


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a base URL, and the path prefix before `/v1/...`."""

    tls: bool
    host: str
    port: int
    prefix: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse_origin(base_url: str) -> Origin:
    """Takes `http://host:port`, with or without a path, a trailing slash or `/v1`.

    Raises ConfigError when it is no http or https URL.
    """
    try:
        parts = urlsplit(base_url if "://" in base_url else f"http://{base_url}")
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"target URL {base_url!r}: {error}", "write http://host:port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"target URL {base_url!r}: expected http://host:port or https://host:port",
            "for example: -t http://127.0.0.1:8000",
        )
    tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return Origin(tls, parts.hostname, port or (443 if tls else 80), prefix)


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


def tls_context(tls: Tls) -> ssl.SSLContext:
    """A client context that verifies unless told not to; raises ConfigError for bad files."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"TLS files {tls.ca_file or ''} {tls.cert_file or ''} {tls.key_file or ''}: {error}",
            "they must be readable PEM files; the key must belong to the certificate",
        ) from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
