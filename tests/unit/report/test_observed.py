"""What servers said of themselves, read under neutral names."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.report.observed import observe, total


def scrapes(*rows: tuple[float, str, dict[str, str], float]) -> pd.DataFrame:
    """Rows of `Run.server` from one source."""
    return pd.DataFrame(
        [
            {
                "at_s": at,
                "source": "http://s/metrics",
                "name": name,
                "labels": tuple(sorted(labels.items())),
                "value": value,
            }
            for at, name, labels, value in rows
        ],
        columns=["at_s", "source", "name", "labels", "value"],
    )


def test_gauges_keep_their_engines_apart_and_can_be_added_up() -> None:
    """Two engines are two lines, told apart by the label that differs; their sum is by instant."""
    name = "vllm:num_requests_running"
    rows = [
        (at, name, {"engine": engine, "model_name": "m"}, value)
        for at in (0.0, 1.0)
        for engine, value in (("0", 3.0), ("1", 4.0 + at))
    ]
    lines = observe(scrapes(*rows))["running"]
    assert [line.label for line in lines] == ["engine=0", "engine=1"]
    assert total(lines).values.tolist() == [7.0, 8.0]


def test_counters_grow_from_their_first_scrape_over_a_restart() -> None:
    """Growth starts at 0, and what a restarted counter shows is added to what was counted."""
    name = "vllm:num_preemptions_total"
    rows = [(float(at), name, {}, value) for at, value in enumerate((10.0, 12.0, 1.0, 4.0))]
    (line,) = observe(scrapes(*rows))["preemptions"]
    assert line.values.tolist() == [0.0, 2.0, 3.0, 6.0]


def test_histograms_are_means_between_scrapes() -> None:
    """An interval in which nothing was observed has no mean, which is not 0."""
    name = "vllm:request_queue_time_seconds"
    sums, counts = (0.0, 4.0, 4.0, 5.0), (0.0, 2.0, 2.0, 3.0)
    rows = [(float(at), f"{name}_sum", {}, value) for at, value in enumerate(sums)]
    rows += [(float(at), f"{name}_count", {}, value) for at, value in enumerate(counts)]
    (line,) = observe(scrapes(*rows))["queue_s"]
    assert line.at_s.tolist() == [1.0, 3.0]
    assert line.values.tolist() == [2.0, 1.0]


def test_only_the_count_of_a_histogram_tells_of_a_restart() -> None:
    """A sum that falls is an observation below 0; with a count that falls both began anew."""
    name = "vllm:request_queue_time_seconds"
    sums, counts = (4.0, 3.5, 1.0), (2.0, 3.0, 2.0)
    rows = [(float(at), f"{name}_sum", {}, value) for at, value in enumerate(sums)]
    rows += [(float(at), f"{name}_count", {}, value) for at, value in enumerate(counts)]
    (line,) = observe(scrapes(*rows))["queue_s"]
    assert line.values.tolist() == [-0.5, 0.5]


def test_a_run_without_scrapes_has_no_series() -> None:
    """Nothing scraped is nothing, not zeros."""
    assert observe(scrapes()) == {}


def test_names_of_no_family_are_left_out() -> None:
    """Only what a family defines has a meaning here."""
    lines = observe(scrapes((0.0, "my_own_metric", {}, 1.0)))
    assert not any(np.isin(1.0, line.values) for found in lines.values() for line in found)
