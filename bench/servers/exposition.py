"""Reading what a /metrics endpoint answers: Prometheus text 0.0.4 and 1.0.0, OpenMetrics.

Samples are taken line by line through prometheus-client's parser, so that one bad line costs one
line.  Comment lines are left out of that: given a TYPE, the parser renames counters.
"""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client.parser import text_string_to_metric_families

Reading = tuple[str, dict[str, str], float]
"""Name as exposed, labels, value; the value may be NaN or infinite."""


def parse_samples(text: str, names: Collection[str] | None = None) -> tuple[list[Reading], int]:
    """The samples of `text` whose name is in `names` (None: all), and the lines that can't be read.

    The value's own timestamp, where there is one, and exemplars are left out.
    """
    readings: list[Reading] = []
    bad_lines = 0
    for line in text.split("\n"):
        name = _name(line)
        if not name or (names is not None and name not in names):
            continue
        try:
            for metric in text_string_to_metric_families(line):
                readings += [(s.name, s.labels, float(s.value)) for s in metric.samples]
        except ValueError:
            bad_lines += 1
    return readings, bad_lines


def exposed_names(text: str) -> frozenset[str]:
    """Names of all samples, and of all TYPE lines: a labelled counter has no sample at first."""
    names: set[str] = set()
    for line in text.split("\n"):
        if line.startswith("# TYPE "):
            parts = line.split()
            if len(parts) == 4:
                names.add(parts[2])
                if parts[3] == "counter" and not parts[2].endswith("_total"):
                    names.add(f"{parts[2]}_total")  # OpenMetrics declares the name without it
        elif name := _name(line):
            names.add(name)
    return frozenset(names)


def _name(line: str) -> str:
    """The metric name a sample line begins with; empty for comments and blank lines."""
    if line[:1] in ("", "#", "\r"):
        return ""
    brace = line.find("{")
    return (line[:brace] if brace >= 0 else line.partition(" ")[0]).strip()


def why_not_metrics(content_type: str, body: bytes) -> str | None:
    """What stands there instead of Prometheus text, or None when it looks like it."""
    start = body[:64].lstrip()
    if "json" in content_type or start[:1] in (b"{", b"["):
        return "JSON, not Prometheus text"
    if "html" in content_type or start[:1] == b"<":
        return "an HTML page, not Prometheus text"
    if not start:
        return "an empty body"
    return None
