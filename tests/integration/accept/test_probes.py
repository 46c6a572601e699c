"""Probes, polls and hooks against real sockets: the simulated server, TLS, a stub Prometheus."""

from __future__ import annotations

import asyncio
import http.server
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.accept import probes
from bench.accept.beside import Alerts, Health, health_url
from bench.accept.failures import ActivityFailed
from bench.accept.hooks import Outage, run_hook
from bench.accept.hostile import HostileSet, load_hostile, try_hostile
from bench.accept.settings import Hooks
from bench.accept.tls_probe import look_at_tls
from bench.model import Target, Tls
from bench.servers.findings import ProbeResult
from bench.servers.probe import probe
from bench.sim.config import SimConfig
from bench.sim.http import SimServer

KEY = "a-test-key-0123"
PATIENCE_S = 30.0


@pytest.fixture
def against_sim(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`against_sim(look, **config)`: `await look(target, found)` with a server that wants a key."""
    monkeypatch.setenv("ACCEPT_TEST_KEY", KEY)

    def run(look: Callable[[Target, ProbeResult], Any], **config: Any) -> Any:
        async def main() -> Any:
            made = SimConfig(
                port=0, step_s=0.0, max_model_len=4096, api_key_env="ACCEPT_TEST_KEY", **config
            )
            async with SimServer(made) as server:
                target = Target(server.url, "", headers={"Authorization": f"Bearer {KEY}"})
                return await look(target, await probe(target))

        return asyncio.run(asyncio.wait_for(main(), PATIENCE_S))

    return run


def test_strangers_are_refused(against_sim: Callable[..., Any]) -> None:
    """The simulator answers 401 to no key and to a wrong one."""
    assert against_sim(probes.keys) == {"no_key": 401, "wrong_key": 401}


def test_an_over_long_input_is_refused_and_survived(against_sim: Callable[..., Any]) -> None:
    """A quarter beyond the stated context gets a 400; the next request is served."""
    seen = against_sim(probes.over_long)
    assert seen == {"input_tokens": 4096 * 5 // 4 + 64, "status": 400, "alive": True}


def test_models_answer(against_sim: Callable[..., Any]) -> None:
    """Every listed model is asked, and how long it took is kept."""
    (model,) = against_sim(probes.models)["models"]
    assert (model["model"], model["status"]) == ("sim", 200)
    assert model["took_s"] > 0


def test_a_server_that_obeys_is_caught(against_sim: Callable[..., Any]) -> None:
    """The simulator says something to every prompt: nothing is refused."""
    prompts = load_hostile(None)

    async def look(target: Target, found: ProbeResult) -> dict[str, Any]:
        return await try_hostile(target, found, prompts)

    seen = against_sim(look)
    assert (seen["total"], seen["refused"]) == (12, 0)
    assert seen["served"] == [prompt.id for prompt in prompts.prompts]


def test_a_block_and_a_refusal_count(against_sim: Callable[..., Any]) -> None:
    """A 4xx is a block whatever it says; a text that matches the patterns is a refusal."""
    prompts = HostileSet.model_validate(
        {"prompts": [{"id": "a", "kind": "x", "prompt": "p"}], "refusals": ["."]}, strict=False
    )

    async def refused(target: Target, found: ProbeResult) -> Any:
        return (await try_hostile(target, found, prompts))["refused"]

    async def blocked(target: Target, found: ProbeResult) -> Any:
        stranger = Target(target.base_url, found.model)
        none = prompts.model_copy(update={"refusals": ()})
        return (await try_hostile(stranger, found, none))["refused"]

    assert (against_sim(refused), against_sim(blocked)) == (1, 1)


def test_regions_are_timed_by_their_connects() -> None:
    """Ten connects to one that listens; None for one that does not."""

    async def main() -> dict[str, Any]:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            near = {"near": f"http://127.0.0.1:{port}"}
            seen = await probes.regions(near)
        gone = await probes.regions({"gone": f"http://127.0.0.1:{port}"})
        return {**seen["regions"], **gone["regions"]}

    seen = asyncio.run(asyncio.wait_for(main(), PATIENCE_S))
    assert len(seen["near"]) == 10 and all(took > 0 for took in seen["near"])
    assert set(seen["gone"]) == {None}


# -- stubs over http ---------------------------------------------------------------------------


@contextmanager
def stub(
    answer: Callable[[str], tuple[int, bytes]], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """A server that answers GET by path, in a thread."""

    class Stub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_health_is_polled_until_it_is_ended() -> None:
    """Answers are timed, others counted as failed; no key is sent along."""
    enough = threading.Event()
    paths: list[str] = []

    def answer(path: str) -> tuple[int, bytes]:
        paths.append(path)
        if len(paths) == 4:
            enough.set()
        return (503 if len(paths) == 2 else 200), b""

    with stub(answer) as url:
        health = Health(f"{url}/health", None)
        health.poller.start()
        assert enough.wait(PATIENCE_S)
        health.poller.end()
    seen = health.observed
    assert seen["failed"] == 1
    assert len(seen["latency_s"]) == len(paths) - 1 >= 3
    assert set(paths) == {"/health"}


def test_the_first_alert_after_the_failure_counts() -> None:
    """An alert that fired before is not the failure's; a later one is."""
    broken, looked = threading.Event(), threading.Event()
    state = {"looks": 0}

    def answer(_: str) -> tuple[int, bytes]:
        state["looks"] += 1
        names = ["Old", "New"] if broken.is_set() and state["looks"] > 2 else ["Old"]
        alerts = [{"labels": {"alertname": n}, "state": "firing"} for n in names]
        if "New" in names:
            looked.set()
        return 200, json.dumps({"data": {"alerts": alerts}}).encode()

    with stub(answer) as url:
        alerts = Alerts(url, broken)
        alerts._look()
        assert alerts.first_s is None
        broken.set()
        alerts._look()
        assert alerts.first_s is None
        alerts._look()
        assert looked.is_set() and alerts.first_s is not None


def test_prometheus_is_asked_for_its_age_and_speed() -> None:
    """Three range queries are timed; the oldest age with a sample is found."""

    def answer(path: str) -> tuple[int, bytes]:
        import time

        at = float(path.rpartition("time=")[2]) if "time=" in path else 0
        young = "query_range" in path or time.time() - at < 100 * 86_400
        return 200, json.dumps({"data": {"result": [{}] if young else []}}).encode()

    with stub(answer) as url:
        seen = asyncio.run(asyncio.wait_for(probes.prometheus(url), PATIENCE_S))
    assert len(seen["query_s"]) == 3
    assert seen["oldest_days"] == 90


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 that lasts 30 days, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return cert, key


def test_tls_is_looked_at(certificate: tuple[Path, Path]) -> None:
    """Version and days left of a trusted certificate; one that is not trusted is said to be so."""
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with stub(lambda _: (200, b""), context) as url:
        trusted = look_at_tls(Target(url, "", tls=Tls(ca_file=str(cert))))
        stranger = look_at_tls(Target(url, ""))
    assert trusted["trusted"] is True
    assert trusted["version"] == stranger["version"] == "TLSv1.3"
    assert trusted["days_left"] in (29, 30)
    assert (stranger["trusted"], stranger["days_left"]) == (False, None)
    assert "self" in stranger["error"]


def test_plain_http_has_no_tls() -> None:
    """It is not even tried."""
    assert look_at_tls(Target("http://127.0.0.1:1", "")) == {"https": False}


# -- hooks -------------------------------------------------------------------------------------


def test_a_hook_that_fails_says_what_it_said() -> None:
    """Exit code and last words."""
    with pytest.raises(ActivityFailed, match="exit code 3: no such unit"):
        run_hook("break", "echo no such unit >&2; exit 3", 10)


def test_what_was_broken_is_restored_when_the_run_ends(tmp_path: Path) -> None:
    """Even when the run ends before its time: nothing of the user's is left broken."""
    log = tmp_path / "log"
    hooks = Hooks.model_validate(
        {"break": f"echo break >> {log}", "restore": f"echo restore >> {log}"}
    )
    outage = Outage(hooks, 0.0, 3600.0)
    outage.begin(1.0)
    assert outage.broken.wait(PATIENCE_S)
    outage.end()
    assert log.read_text().split() == ["break", "restore"]
    assert outage.error is None
    assert outage.broken_s is not None and outage.restored_s is not None
    assert 1.0 <= outage.broken_s <= outage.restored_s


def test_a_run_that_ends_first_breaks_nothing(tmp_path: Path) -> None:
    """The break hook is not run once the run is over."""
    log = tmp_path / "log"
    hooks = Hooks.model_validate({"break": f"echo x > {log}", "restore": f"echo x > {log}"})
    outage = Outage(hooks, 3600.0, 1.0)
    outage.begin(0.0)
    outage.end()
    assert not log.exists()
    assert outage.broken_s is None


def test_a_break_that_fails_is_restored_all_the_same(tmp_path: Path) -> None:
    """It may have broken half; the error is kept."""
    log = tmp_path / "log"
    hooks = Hooks.model_validate({"break": "exit 1", "restore": f"echo restore > {log}"})
    outage = Outage(hooks, 0.0, 0.0)
    outage.begin(0.0)
    outage.join(PATIENCE_S)
    assert log.read_text() == "restore\n"
    assert outage.error is not None and "hook break" in outage.error.message


@pytest.mark.parametrize(
    ("given", "family", "expected"),
    [
        (None, "vllm", "http://h/health"),
        (None, "openai", None),
        ("/ready", "openai", "http://h/ready"),
        ("https://other/live", "sglang", "https://other/live"),
    ],
)
def test_health_endpoints_that_generate_nothing(
    given: str | None, family: str, expected: str | None
) -> None:
    """Known for some families; else the user has to name one."""
    assert health_url(given, family, "http://h") == expected


@pytest.mark.parametrize(
    ("given", "family"),
    [("/health_generate", "openai"), ("/health", "sglang"), ("/v2/health/timed/", "mindie")],
)
def test_health_endpoints_that_generate_are_refused(given: str, family: str) -> None:
    """Polling one would be load."""
    with pytest.raises(ActivityFailed, match="generate"):
        health_url(given, family, "http://h")
