"""The API key: how it comes in, and that it never comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.record.frame import open_run

KEY = "k3y-" + "0123456789abcdef" * 3
WAIT_S = 120.0

MODELS = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
STREAM = (
    b'data: {"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":1}}\n\n'
)
METRICS = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1\n"


def reply(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def echo(authorization: str) -> bytes:
    """An error that quotes the key behind `Bearer`, alone, and cut by the end of the text kept."""
    key = authorization.split()[1]
    return (f"{authorization} is wrong, {key} too; ".ljust(500, "x") + key).encode()


@contextmanager
def echoing(serving: Any, *, from_the_start: bool = False) -> Iterator[Any]:
    """A server that quotes the key in its errors: to every request of a run, or to all."""

    def script(peer: Any) -> None:
        while True:
            headers, body = peer.read_message()
            assert headers["authorization"] == f"Bearer {KEY}"
            if from_the_start or "x-request-id" in headers:
                answer = reply("401 Unauthorized", "text/plain", echo(headers["authorization"]))
            elif body:  # the preflight's few requests have no id
                words = len(str(json.loads(body)["prompt"]).split())
                answer = reply("200 OK", "text/event-stream", STREAM % words)
            else:
                answer = reply("200 OK", "application/json", MODELS)
            peer.send(answer)

    with serving(script) as server:
        yield server


def bench(
    folder: Path, *words: str, stdin: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`bench` in a folder of its own, with its environment and stdin."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.run(
        [str(Path(sys.executable).with_name("bench")), *words],
        cwd=folder, env={**kept, **(env or {})}, input=stdin, text=True, capture_output=True,
        timeout=WAIT_S, check=False,
    )  # fmt: skip


WAYS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "file": (["--api-key-file", "key.txt"], {}),
    "stdin": (["--api-key-file", "-"], {"stdin": f"{KEY}\n"}),
    "header": (["-H", "Authorization: Bearer ${MY_KEY}"], {"env": {"MY_KEY": KEY}}),
}


def assert_nowhere(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    """Neither the key nor a recognisable part of it is in a file or on a stream."""
    part = KEY[:12]
    assert part not in done.stdout + done.stderr
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "key.txt":
            assert part.encode() not in path.read_bytes(), path
    for path in folder.rglob("manifest.json"):
        run = open_run(path.parent)  # what lies compressed in the parts
        assert part not in run.requests.to_csv() + run.server.to_csv()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_a_run_writes_holds_the_key(way: str, tmp_path: Path, serving: Any) -> None:
    """Folder, report and streams of a run whose every request failed with the key in its text."""
    words, how = WAYS[way]
    (tmp_path / "key.txt").write_text(f"{KEY}\n")
    extent = ("--requests", "12", "--concurrency", "4", "--workers", "1", "--lang", "en")
    lengths = ("--input-tokens", "8", "--output-tokens", "1", "--prompt-length", "estimate")
    with echoing(serving) as server:
        done = bench(
            tmp_path, "run", "-t", server.url, "--endpoint", "completions", *lengths, *extent,
            "-o", "runs", *words, **how,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr  # no objective was judged
    (folder,) = (tmp_path / "runs").iterdir()
    texts = open_run(folder).requests["error_text"]
    assert len(texts) == 12 and texts.str.contains("is wrong").all()
    assert "is wrong" in (folder / "report.html").read_text(encoding="utf-8")
    assert_nowhere(tmp_path, done)


@pytest.mark.parametrize("verb", ["run", "probe"])
def test_an_error_before_the_run_does_not_quote_the_key(
    verb: str, tmp_path: Path, serving: Any
) -> None:
    """A server that refuses at once is quoted, but for the key that it quotes."""
    words = ["--input-tokens", "8", "--output-tokens", "1"] if verb == "run" else []
    target = ["-t"] if verb == "run" else []
    with echoing(serving, from_the_start=True) as server:
        done = bench(tmp_path, verb, *target, server.url, *words, env={"OPENAI_API_KEY": KEY})
    assert done.returncode == 5, done.stderr
    assert "is wrong" in done.stderr
    assert_nowhere(tmp_path, done)


def test_a_key_in_the_command_is_refused(tmp_path: Path) -> None:
    """Nothing is sent, and the message does not repeat it."""
    header = f"Authorization: Bearer {KEY}"
    done = bench(tmp_path, "probe", "http://127.0.0.1:1", "-H", header)
    assert done.returncode == 2
    assert "can be read by every user" in done.stderr
    assert KEY not in done.stdout + done.stderr
