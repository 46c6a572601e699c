"""The commands in the documents do what a shell would do with them, against the simulated server.

A block marked `sh`, `bash` or `console` is run line by line (in `console`, the lines behind `$ `),
in a folder of its own for each document.  In an HTML comment above a block `not run: why` leaves it
out.  Runs are cut to a few requests.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.judge.profile import load_profile
from bench.record.synthetic import SyntheticRun, write_synthetic_run
from bench.sim.config import SimConfig
from bench.sim.process import running_sim

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
PATIENCE_S = 180.0
AT_ONCE = 4

_BLOCK = re.compile(r"(?:^<!-- (.*?) -->\n)?^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w-]+\.yaml)`:\n\n```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_RUN_FOLDER = re.compile(r"\breports/[\w-]+")
_URL = re.compile(r"http://(?:127\.0\.0\.1|host):8000\b")
_JUDGED = {"run", "sweep", "judge", "compare", "demo", "accept", "nightly"}
_VERDICTS = {0, 3, 4}
_CUT = ("--requests", "8", "--duration", "2", "--warmup", "0", "--no-report")
_CUT_SWEEP = (*_CUT, "--most-runs", "2", "--cool-down", "0")
_OPERATOR = re.compile(r"\s(?=[|>&])")
_NOT_OURS = ("make ", "source ")
"""The gate (.ci/run) runs these."""

STAND_INS = {
    "my-slo.yaml": "name: my-slo\ntitle: {zh: 我的, en: Mine}\n"
    "limits: [{metric: ttft_s, statistic: p90, bound: 5, source: test}]\n",
}
"""Files that a document takes as the reader's own."""


@dataclass(frozen=True)
class Block:
    """Commands that follow each other, and `why` they are not run."""

    commands: tuple[str, ...]
    why: str | None


def blocks(text: str) -> list[Block]:
    """Every block of commands of a document."""
    found = []
    for mark, language, content in _BLOCK.findall(text):
        if language not in ("sh", "bash", "console"):
            continue
        lines = re.sub(r"\s*\\\n\s*", " ", content).splitlines()
        if language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        commands = [line.partition("  #")[0].strip() for line in lines]
        why = mark.removeprefix("not run: ") if mark.startswith("not run: ") else None
        wanted = tuple(line for line in commands if line and not line.startswith("#"))
        found.append(Block(wanted, why))
    return found


BLOCKS = {name: blocks((ROOT / name).read_text(encoding="utf-8")) for name in DOCUMENTS}

COMMANDS = {
    name: [
        line
        for block in found
        if block.why is None
        for line in block.commands
        if not line.startswith(_NOT_OURS)
    ]
    for name, found in BLOCKS.items()
}
"""What is run of each document."""


@pytest.fixture
def stored_run(tmp_path: Path) -> Path:
    """A run folder."""
    return write_synthetic_run(tmp_path / "stored", SyntheticRun(requests=50))


class Shell:
    """Runs commands in a folder that holds what the document takes for granted."""

    def __init__(self, folder: Path, text: str, server: str, stored_run: Path) -> None:
        self.folder, self.server = folder, server
        shutil.copytree(ROOT / "workloads", folder / "workloads")
        for name, content in {**STAND_INS, **dict(_FILE.findall(text))}.items():
            (folder / name).write_text(content, encoding="utf-8")
        shutil.copy(ROOT / "workloads" / "sample-chat.jsonl", folder / "conversation_trace.jsonl")
        (folder / "my").mkdir()
        shutil.copy(ROOT / "workloads" / "smoke.yaml", folder / "my" / "recipe.yaml")
        for name in sorted({*_RUN_FOLDER.findall(text), "reports/RUN"}):
            shutil.copytree(stored_run, folder / name)

    def __call__(self, line: str) -> None:
        """Runs one line; fails where it ends in a way that the documents do not promise."""
        words = line.replace(".venv/bin/bench", "bench").split()
        line = _URL.sub(self.server, " ".join(words))
        if words[:2] == ["bench", "sim"]:
            self._serve(f"exec {line} --port 0")
            return
        if words[:2] in (["bench", "run"], ["bench", "sweep"]):
            own, *rest = _OPERATOR.split(line, maxsplit=1)
            line = " ".join([own, *(_CUT if words[1] == "run" else _CUT_SWEEP), *rest])
        done = self._popen(line)
        out, err = done.communicate(timeout=PATIENCE_S)
        judged = words[0] == "bench" and words[1] in _JUDGED and "|" not in words
        assert done.returncode in (_VERDICTS if judged else {0}), f"$ {line}\n{out}\n{err}"
        assert "Traceback" not in err, f"$ {line}\n{err}"

    def _serve(self, line: str) -> None:
        """A server runs until it is stopped: it has to say that it is ready, and to end well."""
        with self._popen(line) as server:
            assert server.stdout is not None and server.stderr is not None
            ready = server.stdout.readline()
            server.terminate()
            assert "http://127.0.0.1:" in ready, f"$ {line}\n{server.stderr.read()}"
        assert server.returncode in (0, 130), line

    def _popen(self, line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", line],
            cwd=self.folder,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "LANG": "C.UTF-8",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def run_document(name: str, folder: Path, server: str, stored_run: Path) -> None:
    """Runs a document's commands one after the other."""
    folder.mkdir()
    shell = Shell(folder, (ROOT / name).read_text(encoding="utf-8"), server, stored_run)
    for line in COMMANDS[name]:
        shell(line)


@pytest.fixture(scope="module")
def ended(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """The selected documents, run beside each other: their commands mostly wait."""
    selected = [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.function is test_the_commands_of_a_document_work
    ]
    folder = tmp_path_factory.mktemp("documents")
    stored = write_synthetic_run(
        folder / "stored", SyntheticRun(requests=300, tokens_per_request=20)
    )
    with running_sim(SimConfig(port=0)) as sim, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(run_document, name, folder / Path(name).stem, sim.url, stored)
            for name in selected
        }


@pytest.mark.parametrize("name", [name for name, lines in COMMANDS.items() if lines])
def test_the_commands_of_a_document_work(name: str, ended: dict[str, Future[None]]) -> None:
    """Each command of the document ends with 0, or with the exit code of a verdict."""
    if any("| jq" in line for line in COMMANDS[name]) and not shutil.which("jq"):
        pytest.skip(f"{name} needs jq")
    ended[name].result()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_not_run_says_why(name: str) -> None:
    """A block of commands is run or has a reason; none hides in a block without a language."""
    assert [block for block in BLOCKS[name] if block.why is not None and len(block.why) < 10] == []
    hidden = [
        content
        for _, language, content in _BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
        if not language and re.search(r"^(\.venv/bin/)?bench ", content, re.MULTILINE)
    ]
    assert hidden == []


def notebook_tool() -> Any:
    """docs/render_notebook.py as a module."""
    path = ROOT / "docs" / "render_notebook.py"
    spec = importlib.util.spec_from_file_location("render_notebook", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notebook_runs(
    stored_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell of docs/analysis.ipynb works on a run with a profile, and shows something."""
    run = tmp_path / "reports" / "RUN"
    shutil.copytree(stored_run, run)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["profile"] = load_profile("demo").model_dump(mode="json")
    (run / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    tool = notebook_tool()
    notebook = json.loads(tool.NOTEBOOK.read_text(encoding="utf-8"))
    tool.execute(notebook)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"][0]["data"]["text/plain"] for cell in cells)


def test_the_rendered_notebook_is_the_notebook() -> None:
    """docs/analysis.md is what docs/render_notebook.py makes of docs/analysis.ipynb."""
    tool = notebook_tool()
    notebook = json.loads(tool.NOTEBOOK.read_text(encoding="utf-8"))
    assert tool.markdown(notebook) == (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
