"""TLS to a target, for load and for the control plane alike."""

from __future__ import annotations

import ssl

from bench.errors import ConfigError
from bench.model import Tls


def tls_context(tls: Tls) -> ssl.SSLContext:
    """A client context that verifies certificate and host name unless told not to.

    Raises ConfigError for a PEM file that can't be read.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(file for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        raise ConfigError(
            f"TLS files {files}: {error}",
            "they must be readable PEM files, and the key must belong to the certificate",
        ) from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
