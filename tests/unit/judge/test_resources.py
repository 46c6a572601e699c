"""What a token costs, from runs and prices known by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.judge.judgement import judge
from bench.judge.profile import Good, GoodLimit, Prices, Profile, Words

_PRICED = Profile(
    name="priced",
    title=Words(zh="有价格", en="with prices"),
    prices=Prices(accelerators=2, per_accelerator_hour=3.6),
    good=Good(limits=(GoodLimit(metric="e2e_s", bound=1e6),)),
)
_PER_S = 2 * 3.6 / 3600
_COSTS = (
    ("cost_per_request", "request_rps", 1.0),
    ("cost_per_1k_tokens", "output_tps", 1e3),
    ("cost_per_1m_good_tokens", "goodput_tps", 1e6),
)


@pytest.mark.parametrize(("cost", "rate", "units"), _COSTS)
def test_a_cost_is_the_price_of_a_second_by_what_was_done_in_it(
    hand_run: Callable[..., Any], ok_row: Callable[..., Any], cost: str, rate: str, units: float
) -> None:
    """2 accelerators of 3.6 an hour; the ends of the rate's interval change places."""
    run = hand_run([ok_row(k**1.2) for k in range(50)])
    found = judge(run, _PRICED).summary["metrics"]
    told, done = found[cost], found[rate]
    assert told["value"] == pytest.approx(_PER_S * units / done["value"])
    assert 0 < done["low"] < done["value"]
    assert told["low"] == pytest.approx(_PER_S * units / done["high"])
    assert told["high"] == pytest.approx(_PER_S * units / done["low"])


@pytest.mark.parametrize("cost", [cost for cost, _, _ in _COSTS])
def test_what_nothing_was_done_for_has_no_cost(
    hand_run: Callable[..., Any],
    ok_row: Callable[..., Any],
    failed_row: Callable[..., Any],
    cost: str,
) -> None:
    """Without a price, or without a single answer, a cost is absent with the reason."""
    unpriced = judge(hand_run([ok_row(float(k)) for k in range(5)])).summary["metrics"][cost]
    assert (unpriced["value"], unpriced["absent"]["en"]) == (None, "the profile gives no prices")
    failed = hand_run([failed_row(float(k)) for k in range(5)])
    nothing = judge(failed, _PRICED).summary["metrics"][cost]
    assert (nothing["value"], nothing["absent"]["en"]) == (None, "no samples in the window")
