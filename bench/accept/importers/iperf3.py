"""iperf3 results: `iperf3 --json`, `{"end": {"sum_received": {"bits_per_second": ...}}}`."""

from __future__ import annotations

from pathlib import Path

from bench.accept.importers.document import json_object, wrong

TOOL = "iperf3"


def read_bits_per_s(path: Path) -> float:
    """What the receiver got (TCP), or the sum of both (UDP).  Raises ConfigError."""
    found = json_object(path, TOOL)
    if "error" in found:
        raise wrong(path, TOOL, f"the test failed: {found['error']}")
    end = found.get("end")
    for name in ("sum_received", "sum"):
        part = end.get(name) if isinstance(end, dict) else None
        if isinstance(part, dict) and isinstance(part.get("bits_per_second"), int | float):
            return float(part["bits_per_second"])
    raise wrong(path, TOOL, 'no "end"."sum_received"."bits_per_second"')
