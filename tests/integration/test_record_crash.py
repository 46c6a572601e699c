"""A run folder survives the death of its writer."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.record.frame import open_run

WRITER = """
import sys, time
from array import array
from pathlib import Path
from bench.model import Exchange, Manifest, Outcome, Phase
from bench.record.folder import RunFolder

manifest = Manifest("", "", "1", (), {}, {}, {}, {}, {}, {}, None, {})
folder = RunFolder.create(Path(sys.argv[1]), "crash", manifest)
parts = folder.sink().open(0)
print(folder.path, flush=True)
index = 0
while True:
    for _ in range(40):
        arrivals = array("q", range(index * 1000 + 1, index * 1000 + 51))
        parts.add(Exchange(
            index, index, 0, 0, Phase.MAIN, Outcome.OK, index * 1000, sent_ns=index * 1000,
            events=50, arrival_ns=arrivals, tokens=array("i", [1]) * 50,
        ))
        index += 1
    parts.flush()
    folder.journal("second", sent=index)
    print(index, flush=True)
"""

WRITERS = 5


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that write without end; each says its folder, then its count after each flush."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with ExitStack() as ends:
        started = [
            ends.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for _ in range(WRITERS)
        ]
        yield started
        for process in started:
            process.kill()


def test_kill_9_loses_at_most_what_was_not_flushed(writers: list[subprocess.Popen[str]]) -> None:
    """Killed after any number of flushes and anywhere in the next, all flushed rows read back."""
    random_source = random.Random(9)
    for process in writers:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        flushed = [int(process.stdout.readline()) for _ in range(random_source.randint(1, 40))]
        for _ in range(random_source.randint(0, 200_000)):  # somewhere inside a later flush
            pass
        process.kill()
        rest = process.communicate()[0].split()
        told = int(rest[-1]) if rest else flushed[-1]
        run = open_run(folder)
        index = run.requests["index"].tolist()
        assert index == list(range(len(index)))
        assert len(index) in (told, told + 40)
        assert sum(batch.tokens.sum() for batch in run.token_events()) == 50 * len(index)
        assert run.end is None
        assert len(run.journal) in (told // 40, told // 40 + 1)
        assert set(run.defects) <= {"temporary_files", "torn_journal_lines"}
