"""A simulated server in another process, for the demo, the self-test and tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.errors import TargetError
from bench.sim.config import SimConfig

_STOP_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class SimProcess:
    """A server that is up.  `url` has no path: requests go to `url + "/v1/..."`.

    `urls` are the addresses of all its ports, by role: `business`, `management`, `metrics`.
    """

    url: str
    pid: int
    config: SimConfig
    urls: Mapping[str, str]


@contextmanager
def running_sim(config: SimConfig) -> Iterator[SimProcess]:
    """Start a server, wait until it answers, stop it at the end.  Port 0 takes a free one.

    Raises TargetError when it does not come up, with what it said.  The server also stops when
    this process ends in any way, since it holds the other end of its stdin.  It is in a process
    group of its own: Ctrl-C in a terminal reaches the client, whose open answers it still serves.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.sim"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(config.model_dump_json().encode() + b"\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline() or b"{}")
        if "url" not in answer:
            raise TargetError(
                f"the simulated server did not start: {answer.get('error', 'it ended')}",
                answer.get("hint", "its own words are on stderr"),
            )
        yield SimProcess(answer["url"], child.pid, config, answer["urls"])
    finally:
        child.stdin.close()
        try:
            child.wait(_STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
