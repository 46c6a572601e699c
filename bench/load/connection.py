"""One connection of the wire transport: a non-blocking socket, perhaps TLS over it, one flight."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import struct
import time
from typing import Any

import httptools

from bench.load.flight import Flight

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python's socket module has no name for it
_RTT_AND_RETRANSMITS = struct.Struct("68xI28xI")  # struct tcp_info, linux/tcp.h
_NOTHING = memoryview(b"")
_TLS_RECORD_BYTES = 16_384
_READ = select.EPOLLIN | select.EPOLLRDHUP
_READ_WRITE = _READ | select.EPOLLOUT


class Connection:
    """States: connecting, handshaking (TLS), idle, busy (a flight is on it), closed.

    `connected`: TCP is; `open`: a request can be sent.
    """

    __slots__ = (
        "_epoll",
        "_out",
        "_retransmits",
        "_tls",
        "_tls_in",
        "_tls_out",
        "_wants_write",
        "connected",
        "encrypted",
        "fd",
        "flight",
        "idle_since_ns",
        "in_flow",
        "open",
        "opened_ns",
        "recvmsg_into",
        "served",
        "sock",
    )

    def __init__(
        self,
        epoll: select.epoll,
        family: int,
        address: tuple[Any, ...],
        context: ssl.SSLContext | None,
        server_hostname: str,
        now_ns: int,
    ) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock = sock
        self.fd = sock.fileno()
        self.recvmsg_into = sock.recvmsg_into
        self.connected = False
        self.open = False
        self.opened_ns = now_ns
        self.idle_since_ns = now_ns
        self.served = 0
        self.flight: Flight | None = None
        self.in_flow = False
        self._out = _NOTHING
        self._retransmits = 0
        self.encrypted = context is not None
        self._tls: ssl.SSLObject | None = None
        if context is not None:
            self._tls_in, self._tls_out = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(
                self._tls_in, self._tls_out, server_hostname=server_hostname
            )
        self._epoll = epoll
        self._wants_write = True
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(code, os.strerror(code))
        epoll.register(self.fd, _READ_WRITE)

    @property
    def sending(self) -> bool:
        """Whether a part of the request is not in the kernel yet."""
        return bool(self._out)

    def on_writable(self) -> None:
        """Goes on with connecting or sending.  Raises OSError, ssl.SSLError."""
        if not self.connected:
            self._check_connected()
        if not self.open and self._tls is not None:
            self._handshake()
            return
        self.open = True
        self._flush()

    def _check_connected(self) -> None:
        if error := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
        self.connected = True

    def _handshake(self) -> None:
        """A step of the TLS handshake."""
        assert self._tls is not None
        try:
            self._tls.do_handshake()
            self.open = True
        except ssl.SSLWantReadError:
            pass
        finally:
            self._queue(self._tls_out.read())
        self._flush()

    def _queue(self, ciphertext: bytes) -> None:
        if ciphertext:
            self._out = memoryview(bytes(self._out) + ciphertext)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Plain bytes of what arrived; also takes the handshake on.  Raises ssl.SSLError."""
        assert self._tls is not None
        self._tls_in.write(ciphertext)
        if not self.open:
            self._handshake()
            if not self.open:
                return b""
        parts: list[bytes] = []
        try:
            while self._tls_in.pending or self._tls.pending():  # reading more would raise
                if not (part := self._tls.read(_TLS_RECORD_BYTES)):
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            pass
        if self._tls_out.pending:  # an answer to a key update
            self._queue(self._tls_out.read())
            self._flush()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def start(self, flight: Flight) -> None:
        """Sends the flight's request, or what the kernel takes of it.  Raises OSError."""
        self.flight = flight
        flight.parser = httptools.HttpResponseParser(flight)
        flight.connection_requests = self.served
        if self._tls is None:
            self._out = memoryview(flight.request)
        else:
            self._tls.write(flight.request)
            self._queue(self._tls_out.read())
        self._flush()

    def _flush(self) -> None:
        """Sends what is left, and notes on the flight when the last of its request was handed over.

        The instant is the one before the call: a fast server's answer may be there behind it.
        """
        before_ns = 0
        while self._out:
            before_ns = time.monotonic_ns()
            try:
                sent = self.sock.send(self._out)
            except BlockingIOError:
                self._want_write(True)
                return
            except (BrokenPipeError, ConnectionResetError):
                # the server may have answered before it closed: reading will tell
                self._want_write(False)
                return
            self._out = self._out[sent:]
        self._out = _NOTHING
        self._want_write(False)
        flight = self.flight
        if not before_ns or flight is None or flight.parser is None:
            return  # that was the handshake's
        if flight.sent_ns is None:
            flight.sent_ns = before_ns

    def watch_in(self, epoll: select.epoll) -> None:
        """Moves to another epoll set.  Not while something is left to send."""
        self.unwatch()
        self._epoll = epoll
        epoll.register(self.fd, _READ)

    def unwatch(self) -> None:
        """Leaves the epoll set it is in."""
        self._epoll.unregister(self.fd)

    def _want_write(self, wanted: bool) -> None:
        if wanted != self._wants_write:
            self._wants_write = wanted
            self._epoll.modify(self.fd, _READ_WRITE if wanted else _READ)

    def take_tcp_figures(self, flight: Flight) -> None:
        """Round-trip time, and retransmits since the last request of this connection."""
        figures = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        rtt_us, retransmits = _RTT_AND_RETRANSMITS.unpack(figures)
        flight.rtt_ns = rtt_us * 1000
        flight.retransmits = retransmits - self._retransmits
        self._retransmits = retransmits
