"""fio results: `fio --output-format=json`, `{"jobs": [{"read": {"bw_bytes": ...}, ...}]}`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.accept.importers.document import json_object, wrong

TOOL = "fio"


@dataclass(frozen=True, slots=True)
class Throughput:
    """Bytes per second, summed over jobs; `readers` are the jobs that read.

    With `group_reporting` one entry stands for `numjobs` jobs.
    """

    read_bytes_per_s: float
    write_bytes_per_s: float
    readers: int


def read_throughput(path: Path) -> Throughput:
    """Raises ConfigError."""
    jobs = json_object(path, TOOL).get("jobs")
    if not isinstance(jobs, list) or not jobs:
        raise wrong(path, TOOL, 'no list "jobs"')
    read = write = 0.0
    readers = 0
    for job in jobs:
        if not isinstance(job, dict):
            raise wrong(path, TOOL, "a job is no object")
        if job.get("error"):
            raise wrong(path, TOOL, f"job {job.get('jobname')} ended with error {job['error']}")
        mine = _bytes_per_s(job, "read")
        read += mine
        write += _bytes_per_s(job, "write")
        options = job.get("job options") or {}
        readers += int(options.get("numjobs", 1)) if mine else 0
    return Throughput(read, write, readers)


def _bytes_per_s(job: dict[str, object], direction: str) -> float:
    part = job.get(direction)
    if not isinstance(part, dict):
        return 0.0
    if "bw_bytes" in part:
        return float(part["bw_bytes"])
    return float(part.get("bw", 0)) * 1024  # before fio 3: KiB/s only
