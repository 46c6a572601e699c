"""Numbers of a trace, by hand and on processes of known law."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from bench.model import TraceRow
from bench.workload.inspect import TraceStats, inspect
from bench.workload.readers import Blocks, TraceReading


def stats(rows: Iterable[TraceRow], blocks: Blocks | None = None) -> TraceStats:
    return inspect(TraceReading(Path("t"), "native", blocks, iter(rows)))


def timed(times_s: Iterable[float]) -> TraceStats:
    return stats(TraceRow(float(at_s), 1, 1) for at_s in times_s)


def test_percentiles_are_exact_nearest_rank() -> None:
    """Of 1..200 the P50 is 100, the P99 198: values that are there, ceil(p*n)-th in order."""
    lengths = stats(TraceRow(None, tokens, None) for tokens in range(200, 0, -1)).input_tokens
    assert (lengths.p50, lengths.p90, lengths.p95, lengths.p99) == (100, 180, 190, 198)
    assert (lengths.n, lengths.total, lengths.mean, lengths.min, lengths.max) == (
        200, 20100, 100.5, 1, 200,
    )  # fmt: skip


def test_unknown_lengths_are_counted_and_not_averaged() -> None:
    """A length that is not known is neither 0 nor dropped in silence."""
    result = stats([TraceRow(None, 10, None), TraceRow(None, None, None, messages=({},))])
    assert (result.input_tokens.mean, result.input_tokens.unknown) == (10, 1)
    assert (result.output_tokens.mean, result.output_tokens.unknown) == (None, 2)
    assert "1 of 2 inputs have no length" in result.warnings[0]


def test_rate_is_one_over_the_mean_gap() -> None:
    """Eleven requests one second apart are 1 /s, not 1.1; constant gaps have CV 0."""
    times = timed(range(11)).times
    assert (times.duration_s, times.rate_rps, times.iat_cv) == (10, 1, 0)


def test_poisson_has_cv_and_dispersion_one() -> None:
    """100,000 exponential gaps at 20/s: CV within 2 %, dispersion at 1 and 10 s within 10 %."""
    gaps_s = np.random.default_rng(1).exponential(1 / 20, 100_000)
    times = timed(np.cumsum(gaps_s)).times
    assert times.iat_cv == pytest.approx(1, rel=0.02)
    assert times.dispersion[1] == pytest.approx(1, rel=0.1)
    assert times.dispersion[10] == pytest.approx(1, rel=0.2)


def test_dispersion_by_hand() -> None:
    """Counts 3, 1, 2 in bins of 1 s: variance 2/3 over mean 2; too short for 10 s is unknown."""
    times = timed([0, 0.1, 0.2, 1.5, 2.0, 2.9, 3.0]).times
    assert times.dispersion[1] == pytest.approx(1 / 3)
    assert times.dispersion[10] is None


def test_order_in_the_file_does_not_matter() -> None:
    """Gaps are between successive times, so a shuffled file has the same numbers."""
    times_s = np.cumsum(np.random.default_rng(2).exponential(1, 500))
    shuffled = np.random.default_rng(3).permutation(times_s)
    assert timed(shuffled).times == timed(times_s).times


def test_rounded_times_are_found_and_told() -> None:
    """Poisson times rounded to 3 s with 3 ms of noise: the step is found and a warning given."""
    random = np.random.default_rng(4)
    exact_s = np.cumsum(random.exponential(1 / 4, 4000))
    steps = np.floor(exact_s / 3)
    noise_s = random.uniform(-0.003, 0.003, int(steps.max()) + 1)
    result = timed(steps * 3 + noise_s[steps.astype(int)])
    assert result.times.quantum_s == pytest.approx(3, abs=0.01)
    assert "times are rounded to 3 s" in result.warnings[0]


def test_true_bursts_are_not_called_rounded() -> None:
    """Groups that leave together at irregular times have no step; only the zeros are told."""
    starts_s = np.cumsum(np.random.default_rng(5).exponential(1, 500))
    result = timed(np.repeat(starts_s, 4))
    assert result.times.quantum_s is None
    assert "gaps are 0" in result.warnings[0]


def test_poisson_times_give_no_warning() -> None:
    """An unrounded trace is not accused."""
    assert timed(np.cumsum(np.random.default_rng(6).exponential(1, 500))).warnings == ()


@pytest.mark.parametrize("times_s", [[], [5.0]])
def test_too_few_times_are_unknown(times_s: list[float]) -> None:
    """No rate is made of fewer than two times."""
    result = timed(times_s)
    assert (result.times.duration_s, result.times.rate_rps, result.times.iat_cv) == (None,) * 3


def test_all_at_once_has_a_duration_and_no_rate() -> None:
    """Requests at one instant last 0 s and have no rate, which is not infinite."""
    times = timed([0.0, 0.0, 0.0]).times
    assert (times.duration_s, times.rate_rps, times.zero_gap_fraction) == (0, None, 1)


def test_huge_times_do_not_fill_the_memory() -> None:
    """A hostile time of 10^15 s leaves the dispersion unknown."""
    assert timed([0.0, 1.0, 1e15]).times.dispersion[1] is None


def test_sessions_and_turns() -> None:
    """Named sessions are counted with their turns; a trace that names none has none, not 0."""
    rows = [TraceRow(None, 1, 1, name) for name in ("a", "b", "a", None, "a")]
    result = stats(rows)
    assert (result.sessions, result.turns.max, result.turns.mean) == (2, 3, 2)
    assert stats([TraceRow(None, 1, 1)]).sessions is None


def test_rows_without_a_time_among_timed_ones_are_told() -> None:
    """The rate is of rows with a time, and the others' number is told."""
    rows = [TraceRow(0.0, 1, 1), TraceRow(1.0, 1, 1, "a"), TraceRow(None, 1, 1, "a", 1.0)]
    assert "1 of 3 rows have no time of their own" in stats(rows).warnings[0]


def test_the_ceiling_is_of_blocks_and_tokens() -> None:
    """Two equal requests of 3 blocks, the last half full: half of either is held."""
    rows = [TraceRow(None, 25, 1, block_ids=(1, 2, 3))] * 2
    result = stats(rows, Blocks(10, "ceil", "prefix"))
    assert (result.ceiling_blocks, result.ceiling_tokens) == (0.5, 0.5)
    assert stats(rows).ceiling_tokens is None


def test_the_json_contract_is_whole() -> None:
    """The keys others rely on are there, and unknown is null."""
    answer = stats([]).as_json()
    assert answer["rows"] == 0
    assert answer["ceiling"] == {"blocks": None, "tokens": None}
    assert {"total", "mean", "p50", "p99"} <= answer["input_tokens"].keys()
    assert {
        "format", "rows", "duration_s", "rate_rps", "iat_cv", "input_tokens", "output_tokens",
        "sessions", "ceiling", "warnings",
    } <= answer.keys()  # fmt: skip
