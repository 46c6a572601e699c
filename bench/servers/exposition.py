"""Reading what a /metrics endpoint answers: Prometheus text 0.0.4 and 1.0.0, OpenMetrics.

Names and labels go line by line through prometheus-client's parser, so that one bad line costs one
line.  It is not given the TYPE lines: with them it renames counters.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from prometheus_client.parser import text_string_to_metric_families

_EXEMPLAR = re.compile(r" # \{.*$")

Reading = tuple[str, dict[str, str], float]
"""Name as exposed, labels, value; the value may be NaN or infinite."""


class SampleReader:
    """Reads one endpoint's texts, keeping the samples named in `names` (None: all).

    What stands before a line's value is the same in each scrape, so it is parsed once.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._names = names
        self._heads: dict[str, tuple[str, dict[str, str]] | None] = {}

    def read(self, text: str) -> tuple[list[Reading], int]:
        """The samples of `text`, and how many lines could not be read.

        A value's own timestamp, where there is one, and exemplars are left out.  A series that
        stands in the text twice counts once, with its first value; the other line is unreadable.
        """
        readings: list[Reading] = []
        seen: set[str] = set()
        bad_lines = 0
        for raw in text.split("\n"):
            if raw[:1] in ("", "#", "\r"):
                continue
            line = _EXEMPLAR.sub("", raw) if " # {" in raw else raw
            head = line[: line.rfind("}") + 1] or line.partition(" ")[0]
            try:
                if head not in self._heads:
                    self._heads[head] = self._parse(head)
                if (known := self._heads[head]) is not None:
                    if head in seen:
                        raise ValueError("the same series again")
                    readings.append((*known, float(line[len(head) :].split()[0])))
                    seen.add(head)
            except (ValueError, IndexError):
                bad_lines += 1
        return readings, bad_lines

    def _parse(self, head: str) -> tuple[str, dict[str, str]] | None:
        """Name and labels; None for a sample that is not kept.  Raises ValueError."""
        if self._names is not None and _name(head) not in self._names:
            return None
        (metric,) = text_string_to_metric_families(f"{head} 0")
        (sample,) = metric.samples
        return sample.name, sample.labels


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
