"""`bench` as a user calls it: another process, an empty folder, the environment of a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """stdout, which has to be one JSON object."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Bench:
    """A `bench` executable, called in a folder of its own, with a key in its environment."""

    executable: Path
    folder: Path
    key: str = "sk-e2e-0123456789abcdef"

    def __call__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ended:
        kept = {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ}
        done = subprocess.run(
            [self.executable, *map(str, arguments)],
            cwd=self.folder,
            env={**kept, "LANG": "C.UTF-8", "OPENAI_API_KEY": self.key, **(env or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def bench_of() -> type[Bench]:
    """`bench_of(executable, folder)`: any other `bench`."""
    return Bench


@pytest.fixture(scope="session")
def checkout_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The `bench` of the environment that runs the tests."""
    executable = Path(sys.executable).with_name("bench")
    if not executable.exists():
        pytest.skip("bench is not installed beside this Python; run the tests by `make test`")
    return Bench(executable, tmp_path_factory.mktemp("empty"))
