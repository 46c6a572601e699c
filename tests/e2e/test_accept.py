"""`bench accept small` against the simulated server: a rehearsal with all it can be given."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

SERVICE = """
import os, pathlib, signal, subprocess, sys, time, urllib.request
folder, port = pathlib.Path(sys.argv[2]), sys.argv[3]
pid = folder / "service.pid"
if sys.argv[1] == "stop":
    os.kill(int(pid.read_text()), signal.SIGKILL)
else:
    child = subprocess.Popen(
        [sys.argv[4], "sim", "--port", port, "--replicas", "2", "--max-num-seqs", "24",
         "--max-model-len", "32768", "--api-key-env", "OPENAI_API_KEY"],
        start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    pid.write_text(str(child.pid))
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            break
        except OSError:
            time.sleep(0.05)
    else:
        sys.exit("the service did not come up")
"""

PROFILE = """
name: shared-machine
title: {zh: 共享机器上的演练, en: Rehearsal on a shared machine}
extends: realtime-chat
validity:
  schedule_lag_p99_s: 60.0
  schedule_lag_of_ttft_fraction: 1000.0
  sent_fraction: 0.5
  loop_stall_s: 60.0
  uncertain_first_fraction: 1.0
  client_cpu_fraction: 100.0
  request_count_fraction: 1.0
  waive_output_length: true
"""

EVIDENCE = """
evidence:
  - {kind: imported, item: S1.1, part: network, file: iperf3.json}
  - {kind: imported, item: S1.1, part: storage, file: fio.json}
  - {kind: imported, item: S1.3, part: gpus, file: nodes.json}
  - {kind: imported, item: S2.1, part: accuracy, file: after.json, before: before.json}
  - kind: attested
    item: S3.5
    part: search
    result: pass
    by: Wang Wei, operations
    at: 2026-01-05
    statement: Logs of every replica are searchable for 30 days.
    link: https://wiki.example/logs
    expires: 2126-01-05
  - kind: attested
    item: S3.5
    part: alert
    result: pass
    by: Wang Wei, operations
    at: 2024-01-05
    statement: An alert came after 3 minutes.
    link: https://wiki.example/alerts
    expires: 2024-07-05
"""


@pytest.fixture(scope="session")
def exporter() -> Iterator[str]:
    """Two devices and a host that are a little busier at every scrape."""
    tick = itertools.count()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            k = next(tick)
            lines = []
            for gpu in range(2):
                labels = f'{{gpu="{gpu}",UUID="GPU-{gpu}",DCGM_FI_DRIVER_VERSION="535.161.08"}}'
                lines += [
                    f"DCGM_FI_DEV_GPU_UTIL{labels} {80 + k % 10}",
                    f"DCGM_FI_DEV_FB_USED{labels} {70000 + k}",
                    f"DCGM_FI_DEV_FB_FREE{labels} {10000 - k}",
                    f"DCGM_FI_DEV_XID_ERRORS{labels} 0",
                ]
            lines += [
                f'node_cpu_seconds_total{{cpu="0",mode="user"}} {100 + 0.7 * k}',
                f'node_cpu_seconds_total{{cpu="0",mode="idle"}} {500 + 0.3 * k}',
            ]
            body = "\n".join([*lines, ""]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def write_evidence(folder: Path, target: str) -> None:
    folder.mkdir()
    text = f"targets: [{target}]\n{EVIDENCE}"
    (folder / "evidence.yaml").write_text(text, encoding="utf-8")
    results: dict[str, Any] = {
        "iperf3": {"end": {"sum_received": {"bits_per_second": 24.1e9}}},
        "fio": {"jobs": [{"jobname": "read", "read": {"bw_bytes": 2.5e9}, "write": {}}]},
        "before": {"results": {"mmlu": {"acc,none": 0.701}}},
        "after": {"results": {"mmlu": {"acc,none": 0.697}}},
        "nodes": {
            "kind": "List",
            "items": [
                {
                    "kind": "Node",
                    "metadata": {"name": "n1"},
                    "status": {"allocatable": {"nvidia.com/gpu": "2"}},
                }
            ],
        },
    }
    for name, content in results.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def settings(
    folder: Path, port: int, exporter: str, executable: Path, runs: dict[str, list[Path]]
) -> str:
    script = folder / "service.py"
    script.write_text(SERVICE, encoding="utf-8")
    start, stop = (
        f"{sys.executable} {script} {what} {folder} {port} {executable}"
        for what in ("start", "stop")
    )
    given = {
        "profile": str(folder / "profile.yaml"),
        "accelerators": 2,
        "scrapes": [exporter],
        "search": {"tolerance_fraction": 0.5},
        "hooks": {"stop": stop, "start": start, "break": stop, "restore": start, "limit_s": 60},
        "pairs": {
            name: {
                "before": {"runs": [str(run) for run in runs["before"]]},
                "after": {"runs": [str(run) for run in runs[name]]},
            }
            for name in ("quantisation", "fusion", "batching")
        },
    }
    return json.dumps(given)


@pytest.fixture(scope="session")
def rehearsal(
    checkout_bench: Any, exporter: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Path]]:
    """A whole rehearsal of the small checklist: how the command ended, and its folder."""
    from bench.record.synthetic import SyntheticRun, write_synthetic_run

    folder = tmp_path_factory.mktemp("accept")
    shapes = {
        "before": SyntheticRun(requests=600),
        "quantisation": SyntheticRun(requests=600, rate_rps=90),
        "fusion": SyntheticRun(requests=600, itl_s=(0.015, 0.2), ttft_s=(0.04, 0.3)),
        "batching": SyntheticRun(requests=600, rate_rps=120),
    }
    runs = {
        name: [write_synthetic_run(folder / f"{name}{k}", replace(shape, seed=k)) for k in range(2)]
        for name, shape in shapes.items()
    }
    (folder / "profile.yaml").write_text(PROFILE, encoding="utf-8")
    port = free_port()
    write_evidence(folder / "evidence", f"http://127.0.0.1:{port}")
    config = folder / "acceptance.yaml"
    config.write_text(
        settings(folder, port, exporter, checkout_bench.executable, runs), encoding="utf-8"
    )
    environment = {**os.environ, "OPENAI_API_KEY": checkout_bench.key}
    script = [sys.executable, folder / "service.py", "start", folder, str(port)]
    import subprocess

    subprocess.run([*script, checkout_bench.executable], check=True, env=environment, timeout=60)
    try:
        ended = checkout_bench(
            "accept", "small", "-t", f"http://127.0.0.1:{port}", "-c", config,
            "--evidence", folder / "evidence", "--scale", "0.01", "-o", folder / "accepted",
            "--lang", "en", "--json",
        )  # fmt: skip
        yield ended, folder / "accepted"
    finally:
        os.kill(int((folder / "service.pid").read_text()), signal.SIGKILL)


def items(folder: Path) -> dict[str, dict[str, Any]]:
    stored = json.loads((folder / "acceptance.json").read_text(encoding="utf-8"))
    return {item["id"]: item for item in stored["items"]}


def test_every_item_is_accounted_for(rehearsal: tuple[Any, Path]) -> None:
    """All 17 items of §13.1 have a result; 12 or more were decided by measurement or scrape."""
    ended, folder = rehearsal
    answer = ended.json()
    assert ended.code == answer["exit_code"] in (0, 3, 4), ended.err
    assert sum(answer["counts"].values()) == 17
    assert len(items(folder)) == 17
    assert answer["measured_or_scraped"] >= 12, answer


def test_it_is_marked_as_a_rehearsal(rehearsal: tuple[Any, Path]) -> None:
    """A scaled acceptance says so in its answer, its page and its summary."""
    ended, folder = rehearsal
    assert ended.json()["rehearsal"] is True
    assert ended.json()["verdict"] != "pass"
    assert "not an acceptance" in (folder / "acceptance.html").read_text(encoding="utf-8")
    assert "not an acceptance" in (folder / "summary.md").read_text(encoding="utf-8")


def test_what_was_measured(rehearsal: tuple[Any, Path]) -> None:
    """Each kind of evidence decides the part it is for, with what the fixtures have in them."""
    _, folder = rehearsal
    found = {
        (item["id"], part["name"]): part
        for item in items(folder).values()
        for part in item["parts"]
    }
    expected = {
        ("S1.1", "devices"): "pass",
        ("S1.1", "latency"): "pass",
        ("S1.1", "network"): "pass",
        ("S1.2", "driver"): "pass",
        ("S1.2", "container"): "undecided",
        ("S1.4", "series"): "pass",
        ("S2.1", "speed"): "pass",
        ("S2.1", "accuracy"): "pass",
        ("S2.2", "latency"): "pass",
        ("S2.3", "use"): "pass",
        ("S2.3", "oom"): "pass",
        ("S2.4", "kept"): "pass",
        ("S3.1", "start"): "pass",
        ("S3.2", "failure"): "fail",
        ("S3.3", "strangers"): "pass",
        ("S3.3", "over_long"): "pass",
        ("S3.4", "coverage"): "pass",
        ("S3.5", "search"): "pass",
        ("S3.5", "alert"): "undecided",
        ("S4.1", "throughput"): "pass",
        ("S4.2", "cpu"): "pass",
        ("S4.2", "timeouts"): "pass",
        ("S4.4", "alerts"): "pass",
    }
    results = {key: found[key]["result"] for key in expected}
    assert results == expected, {
        key: found[key]["findings"] for key in expected if results[key] != expected[key]
    }


def test_statements_are_kept_apart(rehearsal: tuple[Any, Path]) -> None:
    """An attested part names who said it; an expired statement decides nothing."""
    _, folder = rehearsal
    item = items(folder)["S3.5"]
    search, alert = item["parts"]
    assert search["findings"][0]["by"] == "Wang Wei, operations"
    assert "expired" in alert["findings"][0]["text"]["en"]
    assert item["decided_by"] == ["attested"]
    assert item["result"] == "undecided"


def test_junit_has_a_case_for_each_item(rehearsal: tuple[Any, Path]) -> None:
    """An item is a test case; failed and skipped ones are as many as the answer says."""
    ended, folder = rehearsal
    cases = ElementTree.parse(folder / "junit.xml").getroot().findall(".//testcase")
    counts = ended.json()["counts"]
    assert len(cases) == 17
    assert sum(case.find("failure") is not None for case in cases) == counts["fail"]


def test_no_secret_is_written(rehearsal: tuple[Any, Path], checkout_bench: Any) -> None:
    """The key is in no file of the acceptance, nor in what was printed."""
    ended, folder = rehearsal
    key = checkout_bench.key
    assert key not in ended.out + ended.err
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and not [path for path in files if key.encode() in path.read_bytes()]


def test_judged_again_it_is_the_same(
    rehearsal: tuple[Any, Path], checkout_bench: Callable[..., Any]
) -> None:
    """`bench accept judge` reads the stored acceptance and comes to the same results."""
    ended, folder = rehearsal
    before = (folder / "acceptance.json").read_text(encoding="utf-8")
    again = checkout_bench(
        "accept", "judge", folder, "--evidence", folder.parent / "evidence", "--json"
    )
    assert again.code == ended.code, again.err
    assert (folder / "acceptance.json").read_text(encoding="utf-8") == before


def test_resume_of_a_finished_one_runs_nothing(
    rehearsal: tuple[Any, Path], checkout_bench: Callable[..., Any]
) -> None:
    """--resume with another scale is refused, naming what differs."""
    _, folder = rehearsal
    refused = checkout_bench(
        "accept", "small", "-t", "http://127.0.0.1:1", "--scale", "0.5",
        "-o", folder, "--resume",
    )  # fmt: skip
    assert refused.code == 2
    assert "scale" in refused.err
