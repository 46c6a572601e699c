"""Servers that no one here wrote, for `make test-real`.

BENCH_REAL_VLLM names a vLLM that is already up.  Without it, BENCH_REAL=1 installs and starts the
one of ../shared/real-servers, which takes a few minutes the first time.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
READY = b"Application startup complete"
PATIENCE_S = 300.0
INSTALL_S = 1200.0


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where vLLM is."""
    if url := os.environ.get("BENCH_REAL_VLLM"):
        yield url
        return
    if os.environ.get("BENCH_REAL") != "1":
        pytest.skip("real servers are used by `make test-real` only")
    script = SHARED / "real-servers" / "vllm.sh"
    if not script.exists():
        pytest.skip("../shared/real-servers is not beside this checkout; set BENCH_REAL_VLLM=URL")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    child = subprocess.Popen(
        [script, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    told = threading.Event()
    reader = threading.Thread(target=_read, args=(child, log, told), daemon=True)
    reader.start()
    try:
        told.wait(INSTALL_S)
        if READY not in log.read_bytes():
            pytest.fail(f"vLLM did not start:\n{log.read_text(errors='replace')[-2000:]}")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(60)
        reader.join(60)


def _read(child: subprocess.Popen[bytes], log: Path, told: threading.Event) -> None:
    """Keeps what the server says; `told` once it is ready, or over."""
    assert child.stdout is not None
    with child.stdout as lines, log.open("wb", buffering=0) as kept:
        for line in lines:
            kept.write(line)
            if READY in line:
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
