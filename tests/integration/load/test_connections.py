"""Connections that fail, break, are refused, reused and replaced."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bench.errors import TargetError
from bench.load.files import FILES_BESIDE_CONNECTIONS
from bench.load.pace import Pace
from bench.model import Outcome, Timeouts

GUARD_S = 30.0

Replayed = Callable[..., Any]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


# -- no connection ---------------------------------------------------------------------------


def test_a_port_where_nothing_listens(replayed: Replayed, transport: str) -> None:
    """Each request is refused, and the loop ends."""
    trial = replayed(transport, f"http://127.0.0.1:{unused_port()}", 20)
    assert trial.classes == ["connect_refused"] * 20


def test_warming_up_where_nothing_listens(replayed: Replayed, transport: str) -> None:
    """Before the start it is the user's to know: the error names the address."""
    port = unused_port()
    with pytest.raises(TargetError, match=f"127.0.0.1.*{port}"):
        replayed(transport, f"http://127.0.0.1:{port}", warm=2)


def no_such_host(*arguments: Any, **options: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_host_without_an_address(
    replayed: Replayed, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known before the start; where aiohttp looks it up again, each request has the class."""
    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with pytest.raises(TargetError, match=r"no\.such\.host"):
        replayed(transport, "http://no.such.host:8000", warm=1)
    if transport == "portable":
        assert replayed(transport, "http://no.such.host:8000", 2).classes == ["dns", "dns"]


def test_a_connection_that_is_never_made(replayed: Replayed, transport: str) -> None:
    """A listener whose queue is full answers no SYN: the limit to connect ends it."""
    limits = Timeouts(connect_s=0.3, first_byte_s=20, idle_s=20, total_s=20)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        queued = [socket.socket() for _ in range(4)]
        for one in queued:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        trial = replayed(transport, f"http://127.0.0.1:{port}", timeouts=limits)
        for one in queued:
            one.close()
    assert trial.one.error_class == "connect_timeout"
    assert trial.one.sent_ns is None


def test_the_first_address_that_answers_is_used(
    replayed: Replayed, serving: Any, sound: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`localhost` may be ::1 first, where most servers do not listen."""
    found = socket.getaddrinfo("127.0.0.1", 1, type=socket.SOCK_STREAM)[0]

    def both(host: str, port: int, **options: Any) -> Any:
        refusing = (*found[:4], ("127.0.0.2", unused_port()))
        return [refusing, (*found[:4], ("127.0.0.1", port))]

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(sound)

    with serving(script) as server:
        monkeypatch.setattr(socket, "getaddrinfo", both)
        trial = replayed("wire", f"http://localhost:{server.port}", warm=1)
    assert trial.one.outcome is Outcome.OK


def refusing_connect(code: int) -> type[socket.socket]:
    """A socket whose connect(2) ends at once with this errno(3)."""

    class Refusing(socket.socket):
        def connect(self, address: Any) -> None:
            raise OSError(code, os.strerror(code))

        def connect_ex(self, address: Any) -> int:
            return code

    return Refusing


def refusing_socket(code: int) -> type[socket.socket]:
    """A socket(2) that fails with this errno(3); the loop's own pair of sockets is left alone."""

    class Refusing(socket.socket):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            if len(arguments) < 4 and "fileno" not in options:
                raise OSError(code, os.strerror(code))
            super().__init__(*arguments, **options)

    return Refusing


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_no_file_left_for_a_connection(
    replayed: Replayed, transport: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client out of open files fails its requests with a class of its own, and goes on."""
    url = f"http://127.0.0.1:{unused_port()}"
    monkeypatch.setattr(socket, "socket", refusing_socket(code))
    trial = replayed(transport, url, 300, pace=Pace(concurrency=100, ramp_s=0))
    assert trial.counters.failed_by_class == {"no_socket": 300}
    assert os.strerror(code) in (trial.exchanges[0].error_text or "")


def test_files_are_left_for_the_record(
    replayed: Replayed, serving: Any, sound: bytes, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections stop short of the limit: a worker without a file left could not write down."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (FILES_BESIDE_CONNECTIONS + 3, -1))
    refused = threading.Event()

    def script(peer: Any) -> None:
        peer.read_request()
        assert refused.wait(GUARD_S)
        peer.send(sound)

    async def until_refused(replay: Any) -> None:
        while replay.counters.failed < 5:
            await asyncio.sleep(0)
        refused.set()

    with serving(script) as server:
        pace = Pace(concurrency=8, ramp_s=0)
        trial = replayed(transport, server.url, 8, pace=pace, beside=until_refused)
    assert trial.counters.failed_by_class == {"no_socket": 5}
    assert trial.counters.ok == server.connections == 3


def test_no_port_left_for_a_connection(
    replayed: Replayed, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does one whose local ports to the server's address are all in use."""
    url = f"http://127.0.0.1:{unused_port()}"
    monkeypatch.setattr(socket, "socket", refusing_connect(errno.EADDRNOTAVAIL))
    trial = replayed(transport, url, 300, pace=Pace(concurrency=100, ramp_s=0))
    assert trial.counters.failed_by_class == {"no_socket": 300}


def test_no_way_to_the_server(
    replayed: Replayed, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network without a route is not the client's lack of sockets."""
    url = f"http://127.0.0.1:{unused_port()}"
    monkeypatch.setattr(socket, "socket", refusing_connect(errno.ENETUNREACH))
    assert replayed(transport, url, 3).classes == ["connect_failed"] * 3


def test_no_file_left_to_look_a_host_up(
    replayed: Replayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a name is looked up again, a resolver without a file is no missing address."""

    def no_file(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "getaddrinfo", no_file)
    assert replayed("portable", "http://no.such.host:8000").classes == ["no_socket"]


def test_a_redirect_is_not_followed_before_the_start_either(
    replayed: Replayed, serving: Any, sound: bytes, transport: str
) -> None:
    """A server that sends its callers elsewhere has answered; nothing else is asked."""
    elsewhere = f"http://127.0.0.1:{unused_port()}/sleep"
    away = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n".encode()

    def script(peer: Any) -> None:
        while True:
            _, body = peer.read_message()
            peer.send(sound if body else away)

    with serving(script) as server:
        trial = replayed(transport, server.url, warm=1)
    assert trial.one.outcome is Outcome.OK


# -- connections that break --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize(
    ("sent", "error_class"),
    [
        (b"", "disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Ty", "disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", "disconnected_mid_body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "disconnected_mid_body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nda", "disconnected_mid_body"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 50\r\n\r\n", "disconnected_mid_body"),
    ],
)
def test_a_connection_that_ends_early(
    replayed: Replayed, serving: Any, transport: str, how: str, sent: bytes, error_class: str
) -> None:
    """Reset or closed, the place where it ended is the class; nothing is asked again."""

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(sent)
        if how == "reset":
            peer.reset()

    with serving(script) as server:
        trial = replayed(transport, server.url)
    assert (trial.one.error_class, trial.one.reconnects) == (error_class, 0)
    assert server.connections == 1


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_stale_connection_is_replaced(
    replayed: Replayed, serving: Any, sound: bytes, transport: str, how: str
) -> None:
    """Ended by the server when the second request came: one new connection, counted."""

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(sound)
        peer.read_request()
        if how == "reset":
            peer.reset()

    with serving(script) as server:
        trial = replayed(transport, server.url, 2)
    assert [exchange.reconnects for exchange in trial.exchanges] == [0, 1]
    assert (trial.counters.ok, trial.counters.reconnects) == (2, 1)
    assert server.connections == 2


def test_one_reconnect_and_no_more(
    replayed: Replayed, serving: Any, sound: bytes, transport: str
) -> None:
    """A server that closes the new connection as well has failed the request."""

    def script(peer: Any) -> None:
        peer.read_request()
        if peer.number == 1:
            peer.send(sound)
            peer.read_request()

    with serving(script) as server:
        trial = replayed(transport, server.url, 2)
    assert trial.classes == [None, "disconnected"]
    assert trial.exchanges[1].reconnects == 1
    assert server.connections == 2


def test_no_reconnect_once_something_was_answered(
    replayed: Replayed, serving: Any, sound: bytes, transport: str
) -> None:
    """The server may have done the work: asking again would count it twice."""

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(sound)
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")

    with serving(script) as server:
        trial = replayed(transport, server.url, 2)
    assert trial.classes == [None, "disconnected_mid_body"]
    assert server.connections == 1


def test_a_server_that_says_close_is_believed(
    replayed: Replayed, serving: Any, sound: bytes, transport: str
) -> None:
    """Its connection is not used again, so that no request is lost to it."""

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(sound.replace(b"\r\n", b"\r\nConnection: Close\r\n", 1))
        peer.until_closed()

    with serving(script) as server:
        trial = replayed(transport, server.url, 3)
    assert (trial.counters.ok, trial.counters.reconnects, server.connections) == (3, 0, 3)


def test_a_server_restart(replayed: Replayed, serving: Any, sound: bytes, transport: str) -> None:
    """All connections go down at once; those in flight fail, later ones find the new server."""
    all_in = threading.Barrier(5)

    def script(peer: Any) -> None:
        peer.read_request()
        if peer.number <= 4:
            all_in.wait(20)
            peer.reset()
        peer.send(sound)
        peer.read_request()

    def restart() -> None:
        all_in.wait(20)

    with serving(script) as server:
        other = threading.Thread(target=restart)
        other.start()
        trial = replayed(transport, server.url, 12, pace=Pace(concurrency=4))
        other.join()
    assert trial.counters.failed_by_class == {"disconnected": 4}
    assert trial.counters.ok == 8
