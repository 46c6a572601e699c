"""Where a server is: its base URL in the spellings people use."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from bench.errors import UsageError

_ENDPOINT = re.compile(r"(/v1)?(/chat/completions|/completions|/models)?/*$")


def root_url(url: str) -> str:
    """Scheme, host and path in front of `/v1`, without a slash at the end.

    Takes `http://host:8000`, `http://host:8000/`, `http://host:8000/v1` and a whole endpoint URL.
    Raises UsageError for another scheme, a missing host, credentials, a query or a fragment.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https"):
        raise UsageError(
            f"target URL {_shown(url)!r}: expected http:// or https://",
            f"did you mean http://{_shown(url)}?" if "://" not in url else "",
        )
    if not parts.hostname:
        raise UsageError(f"target URL {_shown(url)!r}: expected a host", "e.g. http://host:8000")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "target URL: expected no user or password in it",
            "use --api-key-env NAME or --api-key-file PATH, so that no run folder holds a secret",
        )
    if parts.query or parts.fragment:
        raise UsageError(f"target URL {_shown(url)!r}: expected no query or fragment")
    try:
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"target URL {_shown(url)!r}: {error}") from None
    return f"{parts.scheme}://{parts.netloc}{_ENDPOINT.sub('', parts.path)}"


def _shown(url: str) -> str:
    """The URL without what may be a secret: user, password, query."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]
