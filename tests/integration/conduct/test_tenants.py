"""Requests of several clients in one run: whose headers each of them carries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.record.frame import open_run

KEYS = ("tenant-a-0123456789", "tenant-b-0123456789", "tenant-c-0123456789")
RECIPE = """
name: tenants
title: {zh: 租户, en: Tenants}
source:
  kind: synthetic
  input_tokens: {kind: fixed, value: 20}
  output_tokens: {kind: fixed, value: 1}
  turns: {kind: fixed, value: 2}
arrivals: {kind: closed, concurrency: 2}
requests: 12
endpoint: completions
headers: {x-slo-ttft-ms: "200", X-Priority: low}
tenants:
  - {Authorization: "Bearer ${KEY_A}", x-priority: high}
  - {Authorization: "Bearer ${KEY_B}", x-priority: low}
  - {Authorization: "Bearer ${KEY_C}", x-priority: low}
"""
MODELS = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
STREAM = (
    b'data: {"choices":[{"index":0,"text":"a","finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":1}}\n\ndata: [DONE]\n\n'
)
WAIT_S = 120.0


def reply(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("transport", ["wire", "portable"])
def test_a_session_is_of_one_tenant(serving: Any, tmp_path: Path, transport: str) -> None:
    """Session k has the headers of tenant k mod 3 in all its turns; no key is written down."""
    seen: dict[str, dict[str, str]] = {}
    looked: set[str] = set()

    def script(peer: Any) -> None:
        while True:
            headers, body = peer.read_message()
            if "x-request-id" in headers:
                seen[headers["x-request-id"]] = headers
            else:
                looked.add(headers["authorization"])
            if not body:
                peer.send(reply("200 OK", "application/json", MODELS))
                continue
            words = len(str(json.loads(body)["prompt"]).split())
            peer.send(reply("200 OK", "text/event-stream", STREAM % words))

    (tmp_path / "tenants.yaml").write_text(RECIPE)
    with serving(script) as server:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("bench")), "run", "-t", server.url,
             "-w", "tenants.yaml", "--transport", transport, "--no-report", "--json"],
            cwd=tmp_path, text=True, capture_output=True, timeout=WAIT_S, check=False,
            env={**os.environ, **dict(zip(("KEY_A", "KEY_B", "KEY_C"), KEYS, strict=True))},
        )  # fmt: skip
    assert done.returncode in (0, 4), done.stderr
    folder = tmp_path / json.loads(done.stdout)["run"]
    run = open_run(folder)
    tag = run.manifest["load"]["run_tag"]
    assert len(run.requests) == 12
    for session, index in zip(run.requests["session"], run.requests["index"], strict=True):
        headers, tenant = seen[f"{tag}-{index}"], session % 3
        assert headers["authorization"] == f"Bearer {KEYS[tenant]}"
        assert headers["x-priority"] == ("low" if tenant else "high")
        assert headers["x-slo-ttft-ms"] == "200"
    assert looked == {f"Bearer {KEYS[0]}"}
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not any(key.encode() in written for key in KEYS)
