"""What a Prometheus server is asked for, and how its answer becomes samples."""

from __future__ import annotations

import itertools

import pytest

from bench.errors import UsageError
from bench.servers.prometheus import PrometheusSource, Span, _samples, _stretches, parse_query

SPAN = Span(start_ns=5_000_000_000, end_ns=8_000_000_000, unix_ns=1_700_000_000_000_000_000)


def test_known_names_with_the_labels_given() -> None:
    """Without queries, every known name is asked for in some groups, with the matchers."""
    asked = PrometheusSource("http://p", match='job="vllm"').expressions()
    assert all(name is None for name, _ in asked)
    assert all(expression.endswith(',job="vllm"}') for _, expression in asked)
    assert any("|vllm:generation_tokens_total|" in expression for _, expression in asked)
    assert any("|DCGM_FI_DEV_POWER_USAGE|" in expression for _, expression in asked)


def test_queries_replace_the_known_names() -> None:
    """With queries, only those are asked for, each under its name."""
    queries = {"DCGM_FI_DEV_POWER_USAGE": "avg(DCGM_FI_DEV_POWER_USAGE)"}
    asked = PrometheusSource("http://p", queries=queries).expressions()
    assert asked == [("DCGM_FI_DEV_POWER_USAGE", "avg(DCGM_FI_DEV_POWER_USAGE)")]


@pytest.mark.parametrize("text", ["", "name", "=sum(x)", "name= "])
def test_a_query_needs_name_and_expression(text: str) -> None:
    """What is no NAME=EXPR is refused."""
    with pytest.raises(UsageError, match="NAME=EXPR"):
        parse_query(text)


def test_an_expression_may_hold_equals_signs() -> None:
    """The first equals sign ends the name."""
    assert parse_query('power=x{job="a"}') == ("power", 'x{job="a"}')


def test_the_whole_run_is_covered() -> None:
    """The stretch begins a step before the start and ends at or behind the end."""
    ((low_s, steps),) = _stretches(PrometheusSource("http://p"), SPAN)
    assert (low_s, low_s + steps) == (1_699_999_999.0, 1_700_000_004.0)


def test_a_step_is_never_a_little_behind_the_start() -> None:
    """Whatever the fraction of a ms: a step just behind the start would miss its first reading."""
    span = Span(0, 3_000_000_000, 1_700_000_000_000_000_000 + 777_777)
    ((low_s, _),) = _stretches(PrometheusSource("http://p"), span)
    steps_ns = [span.at_ns(float(f"{low_s:.3f}") + k) for k in range(3)]
    assert steps_ns[1] <= 0 < steps_ns[1] + 2_000_000


def test_a_long_run_is_asked_for_in_parts() -> None:
    """No query has more points than Prometheus allows, and none is left out or asked twice."""
    day = Span(0, 86_400_000_000_000, 0)
    parts = [(low, low + steps) for low, steps in _stretches(PrometheusSource("http://p"), day)]
    assert parts[0][0] == -1
    assert parts[-1][1] >= 86_400
    assert all(high - low <= 10_000 for low, high in parts)
    assert all(later[0] - earlier[1] == 1 for earlier, later in itertools.pairwise(parts))


def test_series_become_samples_on_the_runs_clock() -> None:
    """Wall time becomes the run's clock; `instance` is the source, and no label any more."""
    series = {
        "metric": {"__name__": "up_time", "instance": "a:9100", "job": "node", "device": "eth0"},
        "values": [[1_700_000_001.5, "42"]],
    }
    (sample,) = _samples([series], None, "http://p", SPAN)
    assert (sample.at_ns, sample.source, sample.name) == (6_500_000_000, "a:9100", "up_time")
    assert (sample.labels, sample.value) == ({"device": "eth0"}, 42.0)


def test_an_expression_without_instance_is_of_prometheus_itself() -> None:
    """What has lost its labels in a query is stored under the query's name."""
    series = {"metric": {}, "values": [[1_700_000_000, "NaN"]]}
    (sample,) = _samples([series], "power", "http://p", SPAN)
    assert (sample.source, sample.name) == ("http://p", "power")
    assert sample.value != sample.value
