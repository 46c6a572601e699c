"""The control plane: a few small requests that ask a server what it is.

Never used for load.  Every call has a time limit and a size limit, opens its own connection, and
refuses the paths that would stop, pause, flush or load a server.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
import orjson

from bench.address import parse_origin
from bench.errors import TargetError, UsageError
from bench.model import Target
from bench.servers.families import FORBIDDEN_PATHS
from bench.tls import tls_context

_MIB_MAX = 8
ANSWER_BYTES_MAX = _MIB_MAX * 2**20
CALL_S = 15.0
CALLS_AT_ONCE = 16
GENERATE_S = 60.0
_REDIRECTS_MAX = 3
_SHOWN_CHARACTERS = 200


class AnswerTooLargeError(TargetError):
    """An answer over the size limit; asking for less may help."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, whole.  Header names are lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def json(self) -> Any:
        """The body as JSON; None when it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def error_text(self) -> str:
        """What the server said went wrong, in one line.

        OpenAI: `error.message`; vLLM's 401, MindIE: `error`; SGLang: `message`; FastAPI: `detail`.
        """
        found = self.json()
        for key in ("error", "message", "detail"):
            if isinstance(found, dict) and key in found:
                found = found[key]
        text = found if isinstance(found, str) else self.body.decode("utf-8", "replace")
        return " ".join(text.split())[:_SHOWN_CHARACTERS]


class ControlClient:
    """Calls to one target; an async context manager."""

    def __init__(self, target: Target) -> None:
        self.root = parse_origin(target.base_url).url
        self._target = target
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        target = self._target
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=tls_context(target.tls), force_close=True, limit=CALLS_AT_ONCE
            ),
            timeout=aiohttp.ClientTimeout(total=CALL_S, connect=target.timeouts.connect_s),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, path_or_url: str) -> Reply:
        """GET a path of the target, or a whole URL; follows redirects on the same host.

        Raises TargetError when there is no answer.
        """
        url = self.url(path_or_url)
        for _ in range(_REDIRECTS_MAX):
            reply = await self._call("GET", url, None, CALL_S)
            if not 300 <= reply.status < 400:
                return reply
            onward = urljoin(url, reply.headers.get("location", ""))
            if urlsplit(onward).netloc != urlsplit(url).netloc or onward == url:
                raise TargetError(
                    f"GET {url}: status {reply.status}, sent on to {onward or 'nowhere'}",
                    "give that address as the target if it is the server you mean",
                )
            url = self.url(onward)
        raise TargetError(f"GET {url}: more than {_REDIRECTS_MAX} redirects")

    async def post(self, path: str, body: bytes, limit_s: float = CALL_S) -> Reply:
        """POST a JSON body to a path of the target; redirects are answers, not followed."""
        return await self._call("POST", self.url(path), body, limit_s)

    def url(self, path_or_url: str) -> str:
        """The whole URL.  Raises UsageError for a path that must never be asked for."""
        url = path_or_url if "://" in path_or_url else self.root + path_or_url
        path = urlsplit(url).path.rstrip("/")
        if any(path.endswith(forbidden) for forbidden in FORBIDDEN_PATHS):
            raise UsageError(
                f"{path} stops, pauses, empties or loads a server: never called",
                "give the address of its metrics or of its API",
            )
        return url

    async def _call(self, method: str, url: str, body: bytes | None, limit_s: float) -> Reply:
        assert self._session is not None, "use ControlClient as an async context manager"
        headers = {"Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if urlsplit(url).hostname == urlsplit(self.root).hostname:
            headers.update(self._target.headers)  # the key is for this host only
        timeout = aiohttp.ClientTimeout(
            total=limit_s, connect=min(limit_s, self._target.timeouts.connect_s)
        )
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                content = await _read(response.content, url)
                names = {name.lower(): value for name, value in response.headers.items()}
                return Reply(url, response.status, names, self._without_secrets(content))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(method, url, error, limit_s) from error

    def _without_secrets(self, content: bytes) -> bytes:
        """What came, but for the key: some servers quote it in their errors."""
        for secret in self._target.secrets:
            content = content.replace(secret.encode(), b"***")
        return content


async def _read(stream: aiohttp.StreamReader, url: str) -> bytes:
    pieces: list[bytes] = []
    total = 0
    async for piece in stream.iter_any():
        total += len(piece)
        if total > ANSWER_BYTES_MAX:
            raise AnswerTooLargeError(f"{url}: the answer is larger than {_MIB_MAX} MiB")
        pieces.append(piece)
    return b"".join(pieces)


def unreachable(method: str, url: str, error: BaseException, limit_s: float) -> TargetError:
    """A transport failure as a message and what to do about it."""
    where = f"{method} {url}"
    parts = urlsplit(url)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return TargetError(f"{where}: the host name {parts.hostname} is not known", "check the URL")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return TargetError(
            f"{where}: the server's certificate is not trusted "
            f"({getattr(error.certificate_error, 'verify_message', '') or error})",
            "give its CA with --ca FILE, or --insecure for a trial",
        )
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return TargetError(
            f"{where}: no TLS connection ({_tls_reason(error)})",
            "does the server speak plain http://, or ask for a client certificate "
            "(--cert FILE --key FILE)?",
        )
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return TargetError(
            f"{where}: no answer within {limit_s:g} s",
            "is the server still loading its model, or is a firewall in between?",
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or str(error.os_error)
        if isinstance(error.os_error, ConnectionRefusedError):
            return TargetError(
                f"{where}: connection refused by {parts.netloc}",
                "is the server running, and listening on that address and port?",
            )
        if isinstance(error.os_error, socket.gaierror):
            return TargetError(f"{where}: the host name {parts.hostname} is not known")
        return TargetError(f"{where}: can't connect to {parts.netloc} ({reason})")
    return TargetError(
        f"{where}: the connection broke ({error or type(error).__name__})",
        "does the server speak https://?"
        if parts.scheme == "http"
        else "does the server ask for a client certificate (--cert FILE --key FILE)?",
    )


def _tls_reason(error: BaseException) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return getattr(cause, "reason", None) or str(cause)


def refused(reply: Reply, what: str) -> TargetError:
    """An answer that is no success as a message and what to do about it."""
    said = f": {reply.error_text}" if reply.error_text else ""
    if "html" in reply.content_type or reply.body.lstrip()[:1] == b"<":
        return TargetError(
            f"{what} {reply.url}: an HTML page with status {reply.status}",
            "a proxy or web page answers there: check host, port and path",
        )
    hints = {
        401: "set OPENAI_API_KEY, or --api-key-env NAME, or --api-key-file PATH",
        403: "the key is known but may not do this",
        404: "does the URL have a path in front of /v1 that is missing or wrong, or is the model "
        "name (-m) unknown?",
        429: "the server is overloaded or limits this key: try again later",
        502: "a gateway answers, the server behind it does not",
        503: "the server is loading its model, or overloaded",
        504: "a gateway gave up waiting for the server",
    }
    return TargetError(
        f"{what} {reply.url}: status {reply.status}{said}", hints.get(reply.status, "")
    )
