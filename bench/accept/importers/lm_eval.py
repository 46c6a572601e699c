"""lm-evaluation-harness results: `results_*.json`, `{"results": {task: {"acc,none": 0.61, ...}}}`.

Metric names are `name,filter` since 0.4 and plain `name` before.
"""

from __future__ import annotations

from pathlib import Path

from bench.accept.importers.document import json_object, wrong

TOOL = "lm-evaluation-harness"
_ACCURACY = ("acc_norm", "acc", "exact_match", "em")


def read_accuracy(path: Path) -> dict[str, float]:
    """Accuracy (0 to 1) by task: normalised where stated, else plain, else exact match.

    Tasks without one of these are left out.  Raises ConfigError where none is left.
    """
    results = json_object(path, TOOL).get("results")
    if not isinstance(results, dict):
        raise wrong(path, TOOL, 'no object "results"')
    found = {
        task: accuracy
        for task, values in results.items()
        if isinstance(values, dict) and (accuracy := _accuracy(values)) is not None
    }
    if not found:
        raise wrong(path, TOOL, f"no task has one of {', '.join(_ACCURACY)}")
    return found


def _accuracy(values: dict[str, object]) -> float | None:
    plain = {name.partition(",")[0]: value for name, value in values.items()}
    for name in _ACCURACY:
        value = plain.get(name)
        if isinstance(value, int | float):
            return float(value)
    return None
