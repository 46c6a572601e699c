"""Metrics texts are read as they come, bad lines and all."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.servers.exposition import SampleReader, exposed_names, why_not_metrics


def test_names_stay_as_exposed() -> None:
    """A counter without `_total` (llama.cpp) keeps its name; the TYPE line renames nothing."""
    text = "# TYPE llamacpp:n_tokens_max counter\nllamacpp:n_tokens_max 2598\n"
    assert SampleReader().read(text) == ([("llamacpp:n_tokens_max", {}, 2598.0)], 0)


def test_only_named_samples_are_kept_and_matched_whole() -> None:
    """`x_total` is kept, `x_total_created` and `x` are not."""
    text = 'x_total{a="1"} 2\nx_total_created{a="1"} 1.7e+09\nx 5\n'
    assert SampleReader({"x_total"}).read(text) == ([("x_total", {"a": "1"}, 2.0)], 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("+Inf", math.inf), ("1.7953583402710502e+09", 1795358340.2710502), ("-3", -3.0)],
)
def test_values_in_any_spelling(value: str, expected: float) -> None:
    """Infinities and exponents are numbers."""
    assert SampleReader().read(f"x {value}\n") == ([("x", {}, expected)], 0)


@pytest.mark.parametrize("spelling", ["NaN", "Nan", "nan"])
def test_nan_is_kept_as_nan(spelling: str) -> None:
    """A value the server does not know stays unknown; MindIE's Motor spells it `Nan`."""
    ((_, _, value),), bad_lines = SampleReader().read(f"npu_prefix_cache_hit_rate {spelling}\n")
    assert math.isnan(value)
    assert bad_lines == 0


def test_labels_with_escapes_and_braces() -> None:
    """Quotes, backslashes, line feeds and braces inside a label value belong to it."""
    text = 'x{model_name="a\\"b\\\\c\\nd}",engine="0"} 1\n'
    ((_, labels, value),), bad_lines = SampleReader().read(text)
    assert labels == {"model_name": 'a"b\\c\nd}', "engine": "0"}
    assert (value, bad_lines) == (1.0, 0)


def test_a_timestamp_behind_the_value_is_left_out() -> None:
    """npu-exporter stamps its samples in milliseconds; the value is the first number."""
    text = 'npu_chip_info_power{id="0"} 93.5 1795358340271\n'
    assert SampleReader().read(text)[0][0][2] == 93.5


def test_openmetrics_exemplars_are_left_out() -> None:
    """An exemplar behind a bucket changes neither its labels nor its value."""
    text = 'x_bucket{le="1"} 3 # {trace_id="abc"} 0.5 1.7\nx_count 3\n# EOF\n'
    assert SampleReader().read(text) == (
        [("x_bucket", {"le": "1"}, 3.0), ("x_count", {}, 3.0)],
        0,
    )


def test_a_bad_line_costs_one_line() -> None:
    """Lines that can't be read are counted; the lines around them are not lost."""
    text = 'a 1\nb{x="1" 2\nc{x=1} 2\nd{} nothing\ne\nf 3\r\n'
    readings, bad_lines = SampleReader().read(text)
    assert [name for name, _, _ in readings] == ["a", "f"]
    assert bad_lines == 4


def test_a_second_text_with_other_values_is_read_anew() -> None:
    """Labels are remembered from scrape to scrape, values are not."""
    reader = SampleReader({"x"})
    assert reader.read('x{e="0"} 1\n')[0] == [("x", {"e": "0"}, 1.0)]
    assert reader.read('x{e="1"} 7\nx{e="0"} 2\n')[0] == [
        ("x", {"e": "1"}, 7.0),
        ("x", {"e": "0"}, 2.0),
    ]


def test_a_type_line_exposes_a_counter_before_its_first_sample() -> None:
    """A labelled counter without children shows only its TYPE; OpenMetrics drops the `_total`."""
    text = "# HELP a_total A.\n# TYPE a_total counter\n# TYPE b counter\nc 1\n# EOF\n"
    assert exposed_names(text) == {"a_total", "b", "b_total", "c"}


@pytest.mark.parametrize(
    ("content_type", "body", "wrong"),
    [
        ("text/plain; version=0.0.4", b"# HELP x\nx 1\n", None),
        ("application/openmetrics-text", b"x 1\n# EOF\n", None),
        ("application/json", b"[]", "JSON"),
        ("text/plain", b' {"error": "MIES_SERVICE_MONITOR_MODE"}', "JSON"),
        ("text/html", b"<html>", "HTML"),
        ("text/plain", b"", "empty"),
    ],
)
def test_what_is_no_metrics_text_is_named(
    content_type: str, body: bytes, wrong: str | None
) -> None:
    """TensorRT-LLM answers /metrics with JSON, a proxy with a page: both are said to be that."""
    told = why_not_metrics(content_type, body)
    assert told is None if wrong is None else (told or "").find(wrong) >= 0


def test_a_real_text_reads_as_prometheus_client_reads_it(capture: Callable[[str], str]) -> None:
    """Every sample of a real vLLM has the labels and value prometheus-client gives it."""
    text = capture("vllm_metrics.txt")
    expected = [
        (sample.name, sample.labels, float(sample.value))
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
    ]
    readings, bad_lines = SampleReader().read(text)
    assert bad_lines == 0
    assert readings == expected


def test_a_series_that_stands_twice_counts_once() -> None:
    """Two values under one name and labels would look like a counter that falls and rises."""
    text = 'x{a="1"} 5\nx{a="2"} 7\nx{a="1"} 3\n'
    readings, bad_lines = SampleReader().read(text)
    assert [value for _, _, value in readings] == [5.0, 7.0]
    assert bad_lines == 1
