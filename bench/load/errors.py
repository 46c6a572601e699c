"""The closed set of reasons why a request did not end well: an exchange's `error_class`.

Both transports give the same class for the same fault.  Beside these names there is one family,
`http_<status>`, for every status that is neither 200 nor a redirect.
"""

from __future__ import annotations

import errno
import re

ERROR_CLASSES = {
    # no connection
    "dns": "the target's host name has no address",
    "connect_refused": "nothing listens at the target's address and port",
    "connect_timeout": "no connection within connect_s",
    "connect_failed": "no connection for another reason, such as no route",
    "no_socket": "the client's own lack: no file descriptor or no local port left",
    "tls": "the TLS handshake failed: certificate, host name, version or client certificate",
    # no whole answer
    "first_byte_timeout": "nothing within first_byte_s: no head, or no event behind it",
    "idle_timeout": "no further event within idle_s; comments do not count",
    "total_timeout": "not over within total_s",
    "disconnected": "closed or reset before the response's head was whole",
    "disconnected_mid_body": "closed or reset inside the response's body",
    "malformed_http": "the bytes are not HTTP/1.1",
    # another answer
    "redirect": "status 3xx; redirects are not followed",
    "bad_encoding": "the body's Content-Encoding is unknown, or its bytes do not follow it",
    "not_json": "status 200, and the body is neither an event stream nor a JSON object",
    "malformed_event": "an event of the stream is not the JSON object expected",
    "error_in_answer": "status 200, then an error object, stray text, or finish reason abort/error",
    "truncated": "the stream ended in order, with neither finish reason nor [DONE]",
    "runs_on": "far more than was asked for: events past twice max_tokens, or a body too large",
    "empty": "the answer holds no token",
    # never sent, or not to the end: dropped and aborted exchanges
    "no_room": "dropped: the cap on open requests was reached",
    "earlier_turn_dropped": "dropped: an earlier turn of the session was",
    "earlier_turn_failed": "aborted: the turn quotes an answer that failed",
    "cut": "aborted: still open when the run ended",
}

_NO_SOCKET = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL})
_STATUS = re.compile(r"http_[1-9]\d\d")


def is_error_class(name: str) -> bool:
    """Whether the name is in the set."""
    return name in ERROR_CLASSES or _STATUS.fullmatch(name) is not None


def class_of_connect(error: OSError) -> str:
    """The class of an attempt to connect that failed with this errno(3)."""
    if error.errno in _NO_SOCKET:
        return "no_socket"
    return "connect_refused" if error.errno == errno.ECONNREFUSED else "connect_failed"
