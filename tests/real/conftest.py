"""Servers that no one here wrote, for `make test-real`.

BENCH_REAL_VLLM, BENCH_REAL_LLAMACPP and BENCH_REAL_TRANSFORMERS name servers that are already up.
Without them, BENCH_REAL=1 installs and starts those of ../shared/real-servers, which takes a few
minutes the first time (llama.cpp is compiled: about ten).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
READY = {
    "vllm": b"Application startup complete",
    "transformers": b"Application startup complete",
    "llamacpp": b"listening on http",
}
PATIENCE_S = 300.0
INSTALL_S = 1200.0


@dataclass(frozen=True)
class RealServer:
    """A real server that answers.  `model`: the name to ask it for."""

    url: str
    model: str


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RealServer]]:
    """`real_server("llamacpp")`: that server, started once and ended after the tests."""
    found: dict[str, RealServer] = {}
    with ExitStack() as running:

        def get(name: str) -> RealServer:
            if name not in found:
                url = os.environ.get(f"BENCH_REAL_{name.upper()}")
                if not url:
                    log = tmp_path_factory.mktemp(name) / "log"
                    url = running.enter_context(_started(name, log))
                lab = Path(os.environ.get("BENCH_LAB", Path.home() / ".cache" / "bench-lab"))
                by_path = str(lab / "models" / "tiny")
                found[name] = RealServer(url, by_path if name == "transformers" else "tiny")
            return found[name]

        yield get


@pytest.fixture(scope="session")
def vllm_url(real_server: Callable[[str], RealServer]) -> str:
    """Where vLLM is."""
    return real_server("vllm").url


@contextmanager
def _started(name: str, log: Path) -> Iterator[str]:
    """A server of ../shared/real-servers on a free port, installed first where it is missing."""
    if os.environ.get("BENCH_REAL") != "1":
        pytest.skip("real servers are used by `make test-real` only")
    script = SHARED / "real-servers" / f"{name}.sh"
    if not script.exists():
        pytest.skip(
            "../shared/real-servers is not beside this checkout; "
            f"set BENCH_REAL_{name.upper()} to the URL of a running server"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.Popen(
        [script, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    told = threading.Event()
    reader = threading.Thread(target=_read, args=(child, log, READY[name], told), daemon=True)
    reader.start()
    try:
        told.wait(INSTALL_S)
        if READY[name] not in log.read_bytes():
            pytest.fail(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        child.wait(60)
        reader.join(60)


def _read(child: subprocess.Popen[bytes], log: Path, ready: bytes, told: threading.Event) -> None:
    """Keeps what the server says; `told` once it is ready, or over."""
    assert child.stdout is not None
    with child.stdout as lines, log.open("wb", buffering=0) as kept:
        for line in lines:
            kept.write(line)
            if ready in line:
                told.set()
    told.set()


@pytest.fixture(scope="session")
def shared_trace() -> Callable[[str], Path]:
    """`shared_trace("mooncake/conversation_trace.jsonl")`, or a skip."""

    def find(name: str) -> Path:
        path = SHARED / "traces" / name
        if not path.exists():
            pytest.skip(f"../shared/traces/{name} is not beside this checkout")
        return path

    return find


@pytest.fixture(scope="session")
def run_against(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`run_against(url, "-w", FILE, ...)`: the stored run of one `bench run`."""
    from bench.record.frame import open_run

    folder = tmp_path_factory.mktemp("runs")

    def run(url: str, *arguments: str | Path) -> Any:
        command = [Path(sys.executable).with_name("bench"), "run", "-t", url, "-o", folder]
        done = subprocess.run(
            [*command, *map(str, arguments), "--no-report", "--json"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.stdout, done.stderr
        return open_run(Path(orjson.loads(done.stdout)["run"]))

    return run
