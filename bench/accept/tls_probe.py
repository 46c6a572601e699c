"""What a TLS endpoint negotiates, and how long its certificate lasts."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

from bench.accept.failures import failure
from bench.model import Target, Tls
from bench.tls import tls_context

_CONNECT_S = 10.0
_DAY_S = 86_400


def look_at_tls(target: Target) -> dict[str, Any]:
    """Version, cipher, trust and days left; `https` false for a plain target.

    A certificate that is not trusted is looked at again without checking it, for its version.
    Raises ActivityFailed where no TLS connection comes about at all.
    """
    if not target.base_url.startswith("https"):
        return {"https": False}
    checked = Tls(target.tls.ca_file, target.tls.cert_file, target.tls.key_file, verify=True)
    unchecked = Tls(target.tls.ca_file, target.tls.cert_file, target.tls.key_file, verify=False)
    try:
        return {"https": True, "trusted": True, "error": None, **_handshake(target, checked)}
    except ssl.SSLCertVerificationError as error:
        seen = _handshake(target, unchecked)
        return {"https": True, "trusted": False, "error": error.verify_message, **seen}


def _handshake(target: Target, tls: Tls) -> dict[str, Any]:
    parts = urlsplit(target.base_url)
    assert parts.hostname is not None
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), _CONNECT_S) as plain,
            tls_context(tls).wrap_socket(plain, server_hostname=parts.hostname) as secured,
        ):
            version, cipher = secured.version(), secured.cipher()
            certificate = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError:
        raise
    except OSError as error:
        raise failure("no_tls", url=target.base_url, said=error) from error
    ends = certificate.get("notAfter")
    left_s = ssl.cert_time_to_seconds(ends) - time.time() if isinstance(ends, str) else None
    return {
        "version": version,
        "cipher": cipher[0] if cipher else None,
        "days_left": None if left_s is None else int(left_s // _DAY_S),
    }
