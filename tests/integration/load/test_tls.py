"""TLS: what is trusted and by whom, and kernel receive times through it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError, TargetError
from bench.load.pace import Pace
from bench.model import Outcome, Timeouts, Tls

Replayed = Callable[..., Any]

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
CA_CONFIG = """
[ca]
default_ca = here
[here]
database = index.txt
serial = serial
new_certs_dir = .
policy = any
default_md = sha256
[any]
commonName = supplied
"""


class Certificates:
    """A CA, and certificates of it in one folder, made with the `openssl` command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ca.cnf").write_text(CA_CONFIG)
        (folder / "index.txt").touch()
        (folder / "serial").write_text("01\n")
        for name in ("ca", "other"):
            self._openssl(
                "req", "-x509", *CURVE, "-days", "2", "-keyout", f"{name}.key", "-out",
                f"{name}.pem", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign",
            )  # fmt: skip

    def issue(self, name: str, alternative: str, ends: str = "20990101000000Z") -> None:
        """A certificate for `alternative` that was valid from 2020 until `ends`."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        self._openssl(
            "req", *CURVE, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
        )
        self._openssl(
            "ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
            "-startdate", "20200101000000Z", "-enddate", ends, "-extfile", f"{name}.ext",
            "-in", f"{name}.csr", "-out", f"{name}.pem", "-notext",
        )  # fmt: skip

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    def server(self, name: str, *, client: bool = False) -> ssl.SSLContext:
        """A server's context with this certificate, which asks for the client's or not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self[f"{name}.pem"], self[f"{name}.key"])
        if client:
            context.load_verify_locations(self["ca.pem"])
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificates]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.issue("server", "IP:127.0.0.1")
    made.issue("client", "DNS:client")
    made.issue("elsewhere", "DNS:elsewhere.example")
    made.issue("expired", "IP:127.0.0.1", ends="20210101000000Z")
    yield made


def answers(sound: bytes) -> Callable[[Any], None]:
    """A script that answers as long as it is asked."""

    def script(peer: Any) -> None:
        while True:
            peer.read_request()
            peer.send(sound)

    return script


def https(server: Any) -> str:
    return f"https://127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    ("name", "trusted"),
    [("server", "other.pem"), ("server", None), ("elsewhere", "ca.pem"), ("expired", "ca.pem")],
    ids=["another CA", "a private CA", "another host", "expired"],
)
def test_a_certificate_that_is_not_trusted(
    replayed: Replayed,
    serving: Any,
    sound: bytes,
    transport: str,
    certificates: Certificates,
    name: str,
    trusted: str | None,
) -> None:
    """Each is the class of TLS; before the start it is told to the user."""
    tls = Tls(ca_file=certificates[trusted] if trusted else None)
    with serving(answers(sound), certificates.server(name)) as server:
        trial = replayed(transport, https(server), 2, tls=tls)
        assert trial.classes == ["tls", "tls"]
        assert "certificate" in trial.exchanges[0].error_text.lower()
        with pytest.raises(TargetError, match="certificate"):
            replayed(transport, https(server), tls=tls, warm=1)


def test_a_trusted_server(
    replayed: Replayed, serving: Any, sound: bytes, transport: str, certificates: Certificates
) -> None:
    """One handshake serves all requests of a connection."""
    tls = Tls(ca_file=certificates["ca.pem"])
    with serving(answers(sound), certificates.server("server")) as server:
        trial = replayed(transport, https(server), 5, tls=tls)
    assert (trial.counters.ok, trial.connections, server.connections) == (5, 1, 1)
    assert all(exchange.output_tokens == 2 for exchange in trial.exchanges)


def test_insecure_trusts_anyone(
    replayed: Replayed, serving: Any, sound: bytes, transport: str, certificates: Certificates
) -> None:
    """Neither the name nor the date nor the CA is checked."""
    with serving(answers(sound), certificates.server("expired")) as server:
        trial = replayed(transport, https(server), tls=Tls(verify=False))
    assert trial.one.outcome is Outcome.OK


def test_mutual_tls(
    replayed: Replayed, serving: Any, sound: bytes, transport: str, certificates: Certificates
) -> None:
    """With its certificate the client is answered, without it every request fails as TLS.

    TLS 1.3 refuses a client behind the handshake: asyncio, which writes before it reads, may lose
    the alert to the broken pipe.
    """
    known = Tls(certificates["ca.pem"], certificates["client.pem"], certificates["client.key"])
    unknown = Tls(certificates["ca.pem"])
    with serving(answers(sound), certificates.server("server", client=True)) as server:
        assert replayed(transport, https(server), 3, tls=known).counters.ok == 3
        refused = set(replayed(transport, https(server), 5, tls=unknown).classes)
    assert refused == {"tls"} or (transport == "portable" and refused <= {"tls", "disconnected"})


def test_a_server_that_speaks_no_tls(replayed: Replayed, serving: Any, transport: str) -> None:
    """It answers in plain HTTP, or closes at once."""

    def plain(peer: Any) -> None:
        peer.sock.recv(65_536)
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    def closes(peer: Any) -> None:
        peer.sock.recv(65_536)

    for script in (plain, closes):
        with serving(script) as server:
            assert replayed(transport, https(server)).classes == ["tls"]


def test_refused_is_refused_over_tls_too(replayed: Replayed, serving: Any, transport: str) -> None:
    """No handshake was begun."""
    with serving(lambda peer: None) as server:
        port = server.port
    assert replayed(transport, f"https://127.0.0.1:{port}").classes == ["connect_refused"]


def test_a_handshake_that_does_not_go_on(replayed: Replayed, serving: Any, transport: str) -> None:
    """The limit to connect holds for TCP and TLS together."""
    limits = Timeouts(connect_s=0.3, first_byte_s=20, idle_s=20, total_s=20)
    with serving(lambda peer: peer.until_closed()) as server:
        trial = replayed(transport, https(server), timeouts=limits)
    assert trial.classes == ["connect_timeout"]


def test_large_bodies_both_ways(
    replayed: Replayed, serving: Any, transport: str, certificates: Certificates
) -> None:
    """Megabytes of request and one event of megabytes pass through the records of TLS."""
    size = 3_000_000
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"y" * size)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    received: list[int] = []

    def script(peer: Any) -> None:
        received.append(len(peer.read_request()["messages"][0]["content"]))
        body = event + b"data: [DONE]\n\n"
        peer.send(head % len(body), body)
        peer.until_closed()

    tls = Tls(ca_file=certificates["ca.pem"])
    with serving(script, certificates.server("server")) as server:
        trial = replayed(transport, https(server), tls=tls, text="x" * size)
    assert (trial.counters.ok, received) == (1, [size])
    assert trial.one.body_bytes > size


@pytest.mark.parametrize("encrypted", [False, True])
def test_arrivals_are_when_the_kernel_had_the_bytes(
    replayed: Replayed, serving: Any, certificates: Certificates, encrypted: bool
) -> None:
    """A client that is busy while a token arrives reads it late and still times it right.

    The token is sent while the client's thread does nothing but wait for it to be sent, so that
    its arrival lies before the wait's end, and its reading behind it.
    """
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    last = event + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    begun, may_send, sent = threading.Event(), threading.Event(), threading.Event()
    busy_until_ns: list[int] = []

    def script(peer: Any) -> None:
        peer.read_request()
        peer.send(head % len(event + last), event)
        begun.set()
        assert may_send.wait(20)
        peer.send(last)
        sent.set()
        peer.until_closed()

    async def beside(replay: Any) -> None:
        while not begun.is_set():
            await asyncio.sleep(0)
        may_send.set()
        assert sent.wait(20)
        busy_until_ns.append(time.monotonic_ns())

    context = certificates.server("server") if encrypted else None
    with serving(script, context) as server:
        url = https(server) if encrypted else server.url
        trial = replayed(
            "wire", url, tls=Tls(ca_file=certificates["ca.pem"]),
            pace=Pace(concurrency=1), beside=beside,
        )  # fmt: skip
    assert trial.one.outcome is Outcome.OK
    assert trial.one.last_ns < busy_until_ns[0]


def test_a_file_that_is_no_certificate_is_a_users_mistake(
    replayed: Replayed, tmp_path: Path, transport: str
) -> None:
    """A wrong PEM is told with its path."""
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        replayed(transport, "https://127.0.0.1:1", tls=Tls(ca_file=str(wrong)))
