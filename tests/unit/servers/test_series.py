"""Windows over samples: increases of counters and histograms, minding what servers do to them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from bench.model import ServerSample
from bench.servers.series import (
    DURATION,
    UP,
    HistogramDelta,
    Increase,
    counter_delta,
    histogram_delta,
    matches,
    one_rank,
    restarts,
    window_delta,
)


def samples(
    name: str, rows: Iterable[tuple[int, float]], source: str = "a", **labels: str
) -> list[ServerSample]:
    return [ServerSample(at_ns, source, name, labels, value) for at_ns, value in rows]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5, 7, 12], Increase(7.0)),
        ([5, 5], Increase(0.0)),
        ([100, 130, 4, 9], Increase(39.0, resets=1)),
        ([5, math.nan, 12], Increase(7.0)),
        ([5], Increase(None)),
        ([math.nan, 5], Increase(None)),
        ([], Increase(None)),
    ],
)
def test_a_counters_increase(values: list[float], expected: Increase) -> None:
    """Growth adds up, a fall is a restart from 0, and one reading is no window."""
    assert counter_delta(values) == expected


def test_engines_and_replicas_add_up() -> None:
    """Each source and label set is its own counter; the window's increase is their sum."""
    window = (
        samples("x", [(0, 10), (9, 15)], engine="0")
        + samples("x", [(0, 100), (9, 103)], engine="1")
        + samples("x", [(1, 7), (8, 9)], source="b", engine="0")
    )
    assert window_delta(window, "x") == Increase(10.0)


def test_samples_count_in_order_of_time_whatever_order_they_come_in() -> None:
    """Parts of two scrapers may be read one after the other."""
    assert window_delta(samples("x", [(9, 15), (0, 10), (5, 11)]), "x") == Increase(5.0)


def test_a_label_set_born_in_the_window_counts_from_zero() -> None:
    """SGLang shows a cache source only after its first hit: all of it happened in the window."""
    window = samples("x", [(0, 1), (9, 1)], source_label="prompt") + samples(
        "hits", [(9, 640)], mode="device_hit"
    )
    assert window_delta(window, "hits") == Increase(640.0)


def test_what_was_there_when_the_first_good_scrape_came_was_not_born_in_the_window() -> None:
    """A failed first scrape says nothing of what existed."""
    window = [
        *samples(UP, [(0, 0), (5, 1), (9, 1)]),
        *samples(DURATION, [(0, 5.0), (5, 0.01), (9, 0.01)]),
        *samples("x", [(5, 1000), (9, 1001)]),
    ]
    assert window_delta(window, "x") == Increase(1.0)


def test_an_absent_counter_is_unknown_and_not_zero() -> None:
    """No sample of the name: the increase is None."""
    assert window_delta(samples("y", [(0, 1), (9, 2)]), "x") == Increase(None)


def test_where_takes_one_rank_and_lets_absent_labels_pass() -> None:
    """SGLang's ranks repeat one number; request-side series have no rank at all."""
    where = {"tp_rank": ("0",), "mode": ("device_hit", "host_hit")}
    assert matches({"tp_rank": "0", "mode": "host_hit"}, where)
    assert matches({"model_name": "m"}, where)
    assert not matches({"tp_rank": "1", "mode": "host_hit"}, where)
    assert not matches({"mode": "input"}, where)
    window = samples("x", [(0, 0), (9, 4)], tp_rank="0") + samples(
        "x", [(0, 0), (9, 4)], tp_rank="1"
    )
    assert window_delta(window, "x", where) == Increase(4.0)


def histogram(
    rows: Iterable[tuple[int, dict[str, float], float]], **labels: str
) -> list[ServerSample]:
    found: list[ServerSample] = []
    for at_ns, buckets, total in rows:
        for bound, count in buckets.items():
            found += samples("h_bucket", [(at_ns, count)], le=bound, **labels)
        found += samples("h_sum", [(at_ns, total)], **labels)
        found += samples("h_count", [(at_ns, buckets["+Inf"])], **labels)
    return found


def test_a_histograms_window_is_the_difference_of_its_buckets() -> None:
    """Bounds are read from `le`, observations before the window are left out."""
    window = histogram(
        [
            (0, {"0.1": 5, "0.5": 5, "+Inf": 5}, 0.2),
            (9, {"0.1": 6, "0.5": 8, "+Inf": 9}, 2.2),
        ]
    )
    delta = histogram_delta(window, "h")
    assert delta is not None
    assert delta.bounds == (0.1, 0.5, math.inf)
    assert delta.cumulative == (1.0, 3.0, 4.0)
    assert delta.count == 4
    assert delta.mean == pytest.approx(0.5)


def test_histograms_of_engines_with_equal_bounds_add_up_and_others_do_not() -> None:
    """Sums over different boundaries would be wrong: there is none."""
    first = histogram([(0, {"1": 0, "+Inf": 0}, 0), (9, {"1": 1, "+Inf": 2}, 4.0)], engine="0")
    second = histogram([(0, {"1": 0, "+Inf": 0}, 0), (9, {"1": 3, "+Inf": 3}, 2.0)], engine="1")
    other = histogram([(0, {"2": 0, "+Inf": 0}, 0), (9, {"2": 3, "+Inf": 3}, 2.0)], engine="2")
    both = histogram_delta(first + second, "h")
    assert both is not None
    assert both.cumulative == (4.0, 5.0)
    assert both.mean == pytest.approx(6 / 5)
    assert histogram_delta(first + other, "h") is None


def test_a_histogram_scraped_once_is_unknown() -> None:
    """One scrape is no window."""
    assert histogram_delta(histogram([(0, {"1": 1, "+Inf": 2}, 4.0)]), "h") is None
    assert histogram_delta([], "h") is None


def test_a_restart_shows_in_a_histogram() -> None:
    """A fall of the buckets is counted as a reset and not as negative observations."""
    window = histogram([(0, {"1": 9, "+Inf": 9}, 3.0), (9, {"1": 2, "+Inf": 2}, 1.0)])
    delta = histogram_delta(window, "h")
    assert delta is not None
    assert (delta.count, delta.resets) == (2.0, 1)


@pytest.mark.parametrize(
    ("share", "interval"),
    [(0.0, (0.0, 0.1)), (0.25, (0.0, 0.1)), (0.5, (0.1, 0.5)), (0.99, (0.5, math.inf))],
)
def test_a_quantile_is_the_bucket_that_holds_it(
    share: float, interval: tuple[float, float]
) -> None:
    """Within a bucket nothing is known, so both its bounds are given."""
    delta = HistogramDelta((0.1, 0.5, math.inf), (1.0, 3.0, 4.0), 2.0)
    assert delta.quantile(share) == interval


def test_an_empty_histogram_has_neither_quantile_nor_mean() -> None:
    """No observation in the window is unknown, not 0."""
    empty = HistogramDelta((0.1, math.inf), (0.0, 0.0), 0.0)
    assert empty.quantile(0.5) is None
    assert empty.mean is None


def test_a_changed_start_time_is_a_restart() -> None:
    """A server that came back between scrapes is seen even when its counters grew past the old."""
    name = "process_start_time_seconds"
    assert restarts(samples(name, [(0, 1.7e9), (5, 1.7e9)]), name) == 0
    assert restarts(samples(name, [(0, 1.7e9), (5, 1.7e9 + 60)]), name) == 1


def test_of_copies_that_ranks_tell_the_lowest_rank_counts() -> None:
    """SGLang: TP ranks of one scheduler are copies; with DP attention each DP rank has its own."""
    plain = [{"__name__": "x", "tp_rank": tp, "pp_rank": "0"} for tp in ("1", "0", "10")]
    assert one_rank(plain, dict, ("tp_rank", "pp_rank")) == [plain[1]]
    attention = [{"__name__": "x", "dp_rank": n, "tp_rank": n} for n in ("0", "1", "2")]
    assert one_rank(attention, dict, ("tp_rank",)) == attention
    assert one_rank([{"__name__": "x"}, {"__name__": "y"}], dict, ("tp_rank",)) == [
        {"__name__": "x"},
        {"__name__": "y"},
    ]


@pytest.mark.parametrize("bounds", [("0.1", "1.0"), ("0.1", "x"), ("", "+Inf")])
def test_a_histogram_without_its_last_bound_is_none(bounds: tuple[str, ...]) -> None:
    """Only the infinite bucket counts every observation: without it nothing is told."""
    told = [
        sample
        for bound in bounds
        for sample in samples("h_bucket", [(1, 0.0), (2, 5.0)], **({"le": bound} if bound else {}))
    ]
    assert histogram_delta(told, "h") is None
