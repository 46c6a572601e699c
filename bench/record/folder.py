"""The run folder while it is written: manifest first, journal and parts meanwhile, end last."""

from __future__ import annotations

import os
import re
import secrets as randomness
import time
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from bench.errors import UsageError
from bench.model import Manifest
from bench.record.files import disk_error, write_whole
from bench.record.parts import PartSink, ServerParts
from bench.record.redact import redact

MANIFEST = "manifest.json"
JOURNAL = "journal.jsonl"
END = "end.json"
SELFTEST = "selftest.json"
REQUESTS_FOLDER = "requests"
SERVER_FOLDER = "server"

_LONGEST_NAME = 48
_ATTEMPTS = 16


class RunFolder:
    """One run's folder, open for writing in the process that started the run."""

    def __init__(self, path: Path, secrets: Iterable[str] = ()) -> None:
        self.path = path
        self._secrets = tuple(secrets)
        self._journal: int | None = None
        self._line_is_torn = False

    @classmethod
    def create(
        cls, base: Path, recipe_name: str, manifest: Manifest, secrets: Iterable[str] = ()
    ) -> RunFolder:
        """Make `<base>/<utc>-<recipe>-<4 hex>/` and write the manifest into it.

        The manifest's `run_id` becomes the folder's name and an empty `created_utc` the time of
        the call.  `secrets` (keys, header values) are removed from all that is written.
        Raises UsageError where the folder can't be made, NotValidError where the disk is full.
        """
        now = datetime.now(UTC)
        path = _make_folder(base, f"{now:%Y%m%dT%H%M%SZ}-{safe_name(recipe_name)}")
        created = manifest.created_utc or now.isoformat(timespec="seconds")
        manifest = replace(manifest, run_id=path.name, created_utc=created)
        return cls.begin(path, manifest, secrets)

    @classmethod
    def begin(cls, path: Path, manifest: Manifest, secrets: Iterable[str] = ()) -> RunFolder:
        """Write the manifest, as it is, into the empty folder `path`.  Raises NotValidError."""
        folder = cls(path, secrets)
        folder._write_json(MANIFEST, {f.name: getattr(manifest, f.name) for f in fields(manifest)})
        for name in (REQUESTS_FOLDER, SERVER_FOLDER):
            (path / name).mkdir()
        return folder

    def sink(self) -> PartSink:
        """Where workers write their exchanges."""
        return PartSink(self.path, self._secrets)

    def server_parts(self) -> ServerParts:
        """Where scrapes are written."""
        return ServerParts(self.path)

    def journal(self, event: str, /, **values: Any) -> None:
        """Append one line `{"at_ns", "event", ...values}` and hand it to the kernel at once.

        `at_ns` is now unless it is among the values.  Raises NotValidError where the disk is full.
        """
        line = {"at_ns": time.monotonic_ns(), "event": event, **redact(values, self._secrets)}
        content = _to_json(line) + b"\n"
        path = self.path / JOURNAL
        try:
            if self._journal is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._journal = os.open(path, flags, 0o644)
            self._append(self._journal, content)
        except OSError as error:
            raise disk_error(error, path) from error

    def finish(self, end: Mapping[str, Any]) -> None:
        """Write end.json, the last file of a run, with its balance, and close the journal.

        `end` holds `reason` and the counts `planned`, `ok`, `failed` (by class), `dropped`,
        `aborted`.  A `planned` of None (a closed loop bounded by its duration) becomes the number
        that were started, which is the number accounted for.  `unaccounted` = planned − (ok +
        failed + dropped + aborted) is added; anything but 0 makes the run not valid.
        """
        accounted = end["ok"] + sum(end["failed"].values()) + end["dropped"] + end["aborted"]
        planned = accounted if end["planned"] is None else end["planned"]
        balance = {"planned": planned, "unaccounted": planned - accounted}
        self._write_json(END, {"schema": 1, **end, **balance})
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def _append(self, journal: int, content: bytes) -> None:
        """Write a whole line; after one that was cut short the next begins on a new line."""
        if self._line_is_torn:
            content = b"\n" + content
        while content:
            written = os.write(journal, content)
            content = content[written:]
            self._line_is_torn = bool(content)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        text = _to_json(redact(content, self._secrets), orjson.OPT_INDENT_2)
        write_whole(self.path / name, text + b"\n")


def safe_name(name: str) -> str:
    """`name` as one path component: letters, digits and `_.-` of any script, 48 at most."""
    return re.sub(r"[^\w.]+", "-", name)[:_LONGEST_NAME].strip("-._") or "run"


def _make_folder(base: Path, stem: str) -> Path:
    for _ in range(_ATTEMPTS):
        path = base / f"{stem}-{randomness.token_hex(2)}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if base.is_dir():
                continue
            raise UsageError(
                f"can't make a run folder in {base}: it is not a folder", "choose another with -o"
            ) from None
        except OSError as error:
            raise UsageError(
                f"can't make a run folder in {base}: {error.strerror}",
                "choose a writable folder with -o or the environment variable BENCH_REPORTS",
            ) from error
        return path
    raise UsageError(f"no free name left for {stem} in {base}", "try again in a second")


def _to_json(value: Any, option: int = 0) -> bytes:
    return orjson.dumps(value, option=option | orjson.OPT_SERIALIZE_NUMPY, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be written as JSON")
