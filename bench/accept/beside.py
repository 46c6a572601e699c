"""What is looked at while a load runs: the health endpoint, the alerts of a Prometheus server.

Threads of the parent process, which is idle during a run; the load is in processes of its own.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from bench.accept.failures import failure
from bench.model import Target
from bench.servers.families import FAMILIES, family_named
from bench.tls import tls_context

HEALTH_INTERVAL_S = 0.25
ALERT_INTERVAL_S = 1.0
CALL_S = 5.0
_GENERATING = ("/health_generate", "/health/timed")
_SILENT = {"vllm": "/health", "vllm-ascend": "/health", "llamacpp": "/health"}
"""Health endpoints that are known to generate nothing, by family."""


def get(url: str, tls: ssl.SSLContext | None, limit_s: float = CALL_S) -> tuple[int, bytes]:
    """GET on a connection of its own, without any key.  Raises OSError or HTTPException."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=limit_s, context=tls
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=limit_s)
    try:
        path = parts.path or "/"
        connection.request("GET", f"{path}?{parts.query}" if parts.query else path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def health_url(given: str | None, family: str, root: str) -> str | None:
    """Where to poll; None where no endpoint is known that generates nothing.

    Raises ActivityFailed for an endpoint that generates, or that the family forbids.
    """
    path = given or _SILENT.get(family)
    if path is None:
        return None
    known = family_named(family).forbidden if family in {f.name for f in FAMILIES} else ()
    plain = urlsplit(path).path.rstrip("/")
    if any(plain.endswith(forbidden) for forbidden in (*_GENERATING, *known)):
        raise failure("health", path=plain, family=family)
    return path if "://" in path else root + path


class Poller(threading.Thread):
    """Calls `look` every `interval_s` on an absolute schedule until it is ended."""

    def __init__(self, look: Callable[[], None], interval_s: float) -> None:
        super().__init__(name="poller", daemon=True)
        self._look = look
        self._interval_s = interval_s
        self._over = threading.Event()

    def run(self) -> None:
        start = time.monotonic()
        tick = 0
        while not self._over.wait(max(0.0, start + tick * self._interval_s - time.monotonic())):
            self._look()
            tick = int((time.monotonic() - start) / self._interval_s) + 1

    def end(self) -> None:
        self._over.set()
        if self.ident is not None:
            self.join()


class Health:
    """Polls a health endpoint; `observed` is what the activity's record keeps."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        self._url = url
        self._tls = tls
        self._latency_s: list[float] = []
        self._failed = 0
        self.poller = Poller(self._look, HEALTH_INTERVAL_S)

    @property
    def observed(self) -> dict[str, Any]:
        return {"url": self._url, "latency_s": self._latency_s, "failed": self._failed}

    def _look(self) -> None:
        began_ns = time.monotonic_ns()
        try:
            status, _ = get(self._url, self._tls)
        except (OSError, http.client.HTTPException):
            status = 0
        if status == 200:
            self._latency_s.append((time.monotonic_ns() - began_ns) / 1e9)
        else:
            self._failed += 1


class Alerts:
    """Watches a Prometheus server for the first alert that fires after `since` is set."""

    def __init__(self, base_url: str, since: threading.Event) -> None:
        self._url = f"{base_url.rstrip('/')}/api/v1/alerts"
        self._since = since
        self._before: set[str] = set()
        self._began: float | None = None
        self.first_s: float | None = None
        self.poller = Poller(self._look, ALERT_INTERVAL_S)

    def _look(self) -> None:
        try:
            status, body = get(self._url, None)
            alerts = json.loads(body)["data"]["alerts"] if status == 200 else []
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return
        firing = {json.dumps(a["labels"], sort_keys=True) for a in alerts if a["state"] == "firing"}
        if not self._since.is_set():
            self._before = firing
            return
        self._began = self._began or time.monotonic()
        if self.first_s is None and firing - self._before:
            self.first_s = time.monotonic() - self._began


def tls_of(target: Target) -> ssl.SSLContext | None:
    """The target's TLS settings, None for plain http."""
    return tls_context(target.tls) if target.base_url.startswith("https") else None
