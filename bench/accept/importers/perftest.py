"""perftest's text (`ib_write_bw`, `ib_read_lat` …): a table after a line of dashes.

    #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
    65536      5000             196.21             195.90             0.373650

Bandwidth is in MiB/s unless `--report_gbits` was given; latency in microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import ConfigError

TOOL = "perftest"
_MIB_BITS = 8.0 * 2**20
_BANDWIDTH = {
    "BW average[Gb/sec]": 1e9,
    "BW average[MB/sec]": _MIB_BITS,
    "BW average[MiB/sec]": _MIB_BITS,
}
_LATENCY = "t_typical[usec]"


@dataclass(frozen=True, slots=True)
class Rdma:
    """The best row of the table: bits per second, or typical seconds; None where not measured."""

    bits_per_s: float | None
    latency_s: float | None


def read_rdma(path: Path) -> Rdma:
    """Raises ConfigError."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    heads = [i for i, line in enumerate(lines) if line.strip().startswith("#bytes")]
    if not heads:
        raise ConfigError(f"{path}: not a result of {TOOL}: no line begins with #bytes")
    columns = _columns(lines[heads[-1]])
    rows = [row for line in lines[heads[-1] + 1 :] if (row := _numbers(line))]
    bits = [
        row[columns.index(name)] * scale
        for name, scale in _BANDWIDTH.items()
        if name in columns
        for row in rows
        if len(row) > columns.index(name)
    ]
    latency = [row[columns.index(_LATENCY)] / 1e6 for row in rows] if _LATENCY in columns else []
    if not bits and not latency:
        raise ConfigError(f"{path}: not a result of {TOOL}: neither bandwidth nor latency columns")
    return Rdma(max(bits, default=None), min(latency, default=None))


def _columns(head: str) -> list[str]:
    """Column names; `BW peak` and `BW average` hold a space."""
    return [name.replace("BW_", "BW ") for name in head.replace("BW ", "BW_").split()]


def _numbers(line: str) -> list[float]:
    """The numbers of a row of the table; empty for anything else."""
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return []
