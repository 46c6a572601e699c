"""The simulated server in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.errors import TargetError
from bench.sim.config import SimConfig
from bench.sim.process import running_sim
from bench.sim.truth import read_truth

WAIT_S = 20.0


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        return bytes(answer.read())


def refuses(url: str) -> bool:
    """Whether nothing listens at the URL, tried until it is so or too long has passed."""
    parts = urlsplit(url)
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            socket.create_connection((parts.hostname, parts.port or 0), timeout=WAIT_S).close()
        except OSError:
            return True
    return False


def test_start_serve_stop(tmp_path: Path) -> None:
    """It takes a free port, answers, writes its truth, and is gone afterwards."""
    truth = tmp_path / "truth.jsonl"
    with running_sim(SimConfig(port=0, model="m", truth=truth)) as sim:
        assert json.loads(get(f"{sim.url}/v1/models"))["data"][0]["id"] == "m"
        request = urllib.request.Request(
            f"{sim.url}/v1/completions",
            json.dumps({"prompt": "hello", "max_tokens": 2}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            assert json.load(answer)["usage"]["completion_tokens"] == 2
    assert refuses(sim.url)
    with pytest.raises(ProcessLookupError):
        os.kill(sim.pid, 0)
    assert [row.output_tokens for row in read_truth(truth)] == [2]


def test_a_port_that_is_taken() -> None:
    """A server that can't start is told as an error, with its reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = pytest.raises(TargetError, match=f"can't listen on 127.0.0.1:{port}")
        with told, running_sim(SimConfig(port=port)):
            pass


def test_it_does_not_outlive_its_parent() -> None:
    """When the process that started it is killed, the server ends."""
    source = (
        "import sys, time; from bench.sim.config import SimConfig;"
        "from bench.sim.process import running_sim\n"
        "with running_sim(SimConfig(port=0)) as sim:\n"
        "    print(sim.url, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None and parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert get(f"{url}/health") == b""
    parent.kill()
    parent.wait(WAIT_S)
    assert refuses(url)
    parent.stdin.close()
    parent.stdout.close()


def test_command_line() -> None:
    """`bench sim` tells its URL in one line when it answers, and Ctrl-C ends it without noise."""
    child = subprocess.Popen(
        [sys.executable, "-c", "from bench.cli import main; main()", "sim", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        url = child.stdout.readline().removeprefix("bench sim ready at ").strip()
        assert get(f"{url}/health") == b""
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=WAIT_S) == ("", "")
        assert child.returncode == 0
    finally:
        child.kill()
        child.communicate()


def test_ctrl_c_of_the_terminal_does_not_reach_it() -> None:
    """It leads a process group of its own, so that a client that is interrupted can drain."""
    with running_sim(SimConfig(port=0)) as server:
        assert os.getpgid(server.pid) == server.pid
