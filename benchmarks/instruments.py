"""The instruments beside the repository (../shared/instruments): built, started, read.

`truthd` is a server that writes down when it sent what; `limitc` is the least a client can cost.
Both are C, run on loopback, and are no part of the project.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT.parent / "shared" / "instruments"
_LIMITC = re.compile(r"us-cpu/token (?P<cpu_us>[\d.]+) .*ttft p50/90/99/99.9 (?P<ttft_ms>.+)")

_PEAK = "BENCH_PEAK_FILE"
_MAIN = f"""
import atexit, os, re
from pathlib import Path

def tell():
    status = Path("/proc/self/status").read_text()  # ru_maxrss would begin with the parent's
    Path(os.environ["{_PEAK}"]).write_text(re.search(r"VmHWM:\\s+(\\d+)", status)[1])

atexit.register(tell)
from bench.cli import main
main()
"""


class Unavailable(Exception):
    """What a benchmark needs is not on this machine; the text says what."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """What `truthd` is told to do: first token after `ttft_ms`, then one each `itl_ms`.

    Both are spread evenly over ± `jitter` of themselves.
    """

    ttft_ms: float = 50
    itl_ms: float = 20
    jitter: float = 0.2

    def itl_s(self, q: float) -> float:
        """The quantile `q` of the gaps it plans."""
        return self.itl_ms / 1e3 * (1 + self.jitter * (2 * q - 1))


@dataclass(frozen=True, slots=True)
class TruthRow:
    """One request as `truthd` saw it.  Instants are CLOCK_MONOTONIC."""

    received_ns: int
    first_ns: int
    last_ns: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Limit:
    """What `limitc` needed for the same streams."""

    cpu_us_per_token: float
    ttft_ms: str


def build(folder: Path) -> None:
    """Compile the instruments into `folder`.  Raises Unavailable."""
    if not SOURCES.is_dir():
        raise Unavailable(f"no instruments at {SOURCES}")
    compiler = shutil.which("gcc")
    if compiler is None:
        raise Unavailable("no gcc to compile the instruments with")
    for name in ("truthd", "limitc"):
        source = SOURCES / f"{name}.c"
        subprocess.run([compiler, "-O2", "-o", folder / name, source], check=True)


@contextmanager
def truthd(folder: Path, timetable: Timetable, truth: Path) -> Iterator[int]:
    """A running `truthd`, as its port; `truth` is whole when the block has ended."""
    port = free_port()
    options = {"--ttft-ms": timetable.ttft_ms, "--itl-ms": timetable.itl_ms}
    options |= {"--jitter": timetable.jitter}
    words = [text for name, value in options.items() for text in (name, str(value))]
    command = [str(folder / "truthd"), "--port", str(port), "--truth", str(truth), *words]
    with stopped(subprocess.Popen(command, stderr=subprocess.DEVNULL)):
        wait_for_port(port)
        yield port


def read_truth(path: Path, tag: str) -> dict[int, TruthRow]:
    """Rows of the run with this tag (`manifest["load"]["run_tag"]`), by index in its plan."""
    rows = {}
    for line in path.read_text().splitlines():
        request_id, received, first, last, tokens, _late = line.split()
        found, _, index = request_id.rpartition("-")
        if found == tag:
            rows[int(index)] = TruthRow(int(received), int(first), int(last), int(tokens))
    return rows


def limitc(folder: Path, port: int, connections: int, tokens: int, requests: int) -> Limit:
    """Run `limitc` against a running `truthd`."""
    numbers = [str(number) for number in (port, connections, tokens, requests)]
    done = subprocess.run(
        [str(folder / "limitc"), *numbers], check=True, capture_output=True, text=True
    )
    found = _LIMITC.search(done.stdout)
    if found is None:
        raise RuntimeError(f"limitc said: {done.stdout}")
    return Limit(float(found["cpu_us"]), found["ttft_ms"].strip())


def wrk(folder: Path, url: str, body: str, connections: int, seconds: int) -> float | None:
    """Requests per second of one thread of `wrk` posting `body`; None where it is not installed."""
    command = shutil.which("wrk")
    if command is None:
        return None
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\n"
        f"wrk.body = [==[{body}]==]\n"
    )
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    done = subprocess.run([command, *options, url], check=True, capture_output=True, text=True)
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk said: {done.stdout}")
    return float(found[1])


@contextmanager
def tls_in_front(folder: Path, port: int) -> Iterator[tuple[int, Path]]:
    """A stunnel that ends TLS for `port`, as its own port and the certificate to trust."""
    command = shutil.which("stunnel") or shutil.which("stunnel4")
    if command is None or shutil.which("openssl") is None:
        raise Unavailable("TLS needs stunnel and openssl (Debian: stunnel4, openssl)")
    certificate, key = folder / "tls.pem", folder / "tls.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(certificate), *subject],
        check=True, capture_output=True,
    )  # fmt: skip
    front = free_port()
    settings = folder / "stunnel.conf"
    settings.write_text(
        f"foreground = yes\npid =\nsyslog = no\ndebug = err\n[truth]\n"
        f"accept = 127.0.0.1:{front}\nconnect = 127.0.0.1:{port}\n"
        f"cert = {certificate}\nkey = {key}\n"
        "socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
    )
    with stopped(subprocess.Popen([command, str(settings)], stderr=subprocess.DEVNULL)):
        wait_for_port(front)
        yield front, certificate


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stops the process at the end of the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a `bench` process took, its children apart."""

    wall_s: float
    peak_bytes: int


def bench(*words: str) -> Cost:
    """Run the `bench` of this interpreter.  Exit codes that tell of a verdict are no error."""
    with tempfile.NamedTemporaryFile("r") as peak:
        begin_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _MAIN, *words],
            check=False, capture_output=True, text=True, env={**os.environ, _PEAK: peak.name},
        )  # fmt: skip
        wall_s = time.monotonic() - begin_s
        if done.returncode not in (0, 3, 4):
            raise RuntimeError(
                f"bench {' '.join(words)} ended with {done.returncode}:\n{done.stderr}"
            )
        return Cost(wall_s, int(peak.read()) * 1024)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, patience_s: float = 10.0) -> None:
    give_up = time.monotonic() + patience_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
