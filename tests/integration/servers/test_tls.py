"""TLS to the server: its CA, a client certificate, and what is said when one is missing."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

from bench.errors import TargetError, UsageError
from bench.model import Target, Tls
from bench.servers.client import ControlClient
from bench.tls import tls_context


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and a certificate of it for the server and for the client."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    authority = ("-addext", "keyUsage=critical,keyCertSign")
    openssl(
        folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem",
        "-subj", "/CN=test CA", *authority,
    )  # fmt: skip
    (folder / "address").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(
            folder, "req", *curve[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/CN={name}",
        )  # fmt: skip
        openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "address",
        )  # fmt: skip
    return folder


def get_status(certificates: Path, tls: Tls, client_required: bool = True) -> int:
    """The status of one GET to a TLS server, which asks for a client certificate."""

    async def respond(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def run() -> int:
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem")
        )
        context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED if client_required else ssl.CERT_NONE
        app = web.Application()
        app.router.add_get("/v1/models", respond)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]
        try:
            async with ControlClient(Target(f"https://127.0.0.1:{port}", "m", tls=tls)) as client:
                return (await client.get("/v1/models")).status
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_mutual_tls_with_all_files(certificates: Path) -> None:
    """MindIE's default: a CA to trust, and a certificate to be trusted with."""
    tls = Tls(*(str(certificates / name) for name in ("ca.pem", "client.pem", "client.key")))
    assert get_status(certificates, tls) == 200


def test_a_missing_client_certificate_is_named(certificates: Path) -> None:
    """The server's refusal is read as what it is, with the options that help."""
    with pytest.raises(TargetError) as caught:
        get_status(certificates, Tls(ca_file=str(certificates / "ca.pem")))
    assert "--cert FILE --key FILE" in caught.value.hint


def test_an_unknown_authority_is_named(certificates: Path) -> None:
    """A certificate of a private CA is refused until that CA is given."""
    with pytest.raises(TargetError, match="certificate is not trusted") as caught:
        get_status(certificates, Tls(), client_required=False)
    assert "--ca FILE" in caught.value.hint


def test_insecure_trusts_anyone(certificates: Path) -> None:
    """For a trial the certificate is not checked at all."""
    assert get_status(certificates, Tls(verify=False), client_required=False) == 200


def test_a_file_that_is_no_certificate_is_a_users_mistake(tmp_path: Path) -> None:
    """A wrong PEM is told with its path, without a traceback."""
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    with pytest.raises(UsageError, match=r"ca\.pem"):
        tls_context(Tls(ca_file=str(wrong)))
