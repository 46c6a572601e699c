"""trivy results: `trivy image --format json`, `{"Results": [{"Vulnerabilities": [...]}]}`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench.accept.importers.document import json_object, wrong

TOOL = "trivy"


def read_severities(path: Path) -> Counter[str]:
    """Vulnerabilities by severity (CRITICAL, HIGH, MEDIUM, LOW, UNKNOWN).  Raises ConfigError."""
    found = json_object(path, TOOL)
    if "SchemaVersion" not in found:
        raise wrong(path, TOOL, 'no "SchemaVersion"')
    return Counter(
        str(vulnerability.get("Severity", "UNKNOWN"))
        for result in found.get("Results") or ()
        for vulnerability in result.get("Vulnerabilities") or ()
    )
