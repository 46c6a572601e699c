"""Where a server is: its base URL in the spellings people use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from bench.errors import ConfigError

_ENDPOINT = re.compile(r"(/v1)?(/chat/completions|/completions|/models)?/*$")
_PATH_SAFE = "/%:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a base URL, and the path in front of `/v1`."""

    tls: bool
    host: str
    port: int
    prefix: str

    @property
    def authority(self) -> str:
        """Host and port as a URL and the Host header have them (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """What paths like `/v1/models` are put behind."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"


def parse_origin(url: str) -> Origin:
    """Takes `http://host:8000`, with or without a path, a slash, `/v1` or a whole endpoint.

    Raises ConfigError for another scheme, a missing host, credentials, a query or a fragment.
    """
    try:
        parts = urlsplit(url.strip())
        port, hostname = parts.port, parts.hostname or ""
        host = hostname.encode("ascii" if hostname.isascii() else "idna").decode()
    except ValueError as error:
        raise ConfigError(f"target URL {_shown(url)!r}: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigError(
            f"target URL {_shown(url)!r}: expected http:// or https://",
            f"did you mean {_guessed(_shown(url))}?" if "://" not in url else "",
        )
    if not host:
        guessed = _guessed(_shown(url))
        hint = f"did you mean {guessed}?" if urlsplit(guessed).netloc else "e.g. http://host:8000"
        raise ConfigError(f"target URL {_shown(url)!r}: expected a host", hint)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "target URL: expected no user or password in it",
            "use --api-key-env NAME or --api-key-file PATH, so that no run folder holds a secret",
        )
    if parts.query or parts.fragment:
        raise ConfigError(f"target URL {_shown(url)!r}: expected no query or fragment")
    tls = parts.scheme == "https"
    prefix = _ENDPOINT.sub("", quote(parts.path, safe=_PATH_SAFE))
    return Origin(tls, host, port or (443 if tls else 80), prefix)


def _guessed(url: str) -> str:
    """A URL without a whole scheme, with one."""
    torn = re.match(r"(https?)?[:/]+", url)
    if torn is None:
        return f"http://{url}"
    return f"{torn[1] or 'http'}://{url[torn.end() :]}"


def _shown(url: str) -> str:
    """The URL without what may be a secret: user, password, query."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]
