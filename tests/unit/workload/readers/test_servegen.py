"""ServeGen: what is generated follows the parameters, and nothing in them is run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bench.errors import TraceError
from bench.workload.readers import ReadOptions, TraceReading, read

LENGTHS = {"input_tokens": "{100: 0.25, 200: 0.75}", "output_tokens": "{10: 0.5, 20: 0.5}"}


def client(folder: Path, number: int, trace: str, lengths: dict[str, str] = LENGTHS) -> None:
    (folder / f"chunk-{number}-trace.csv").write_text(trace)
    (folder / f"chunk-{number}-dataset.json").write_text(json.dumps({"0": lengths}))


def generated(folder: Path, **options: float) -> TraceReading:
    return read(folder, options=ReadOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "shape", "cv"),
    [("Gamma", 0.25, 2.0), ("Gamma", 4.0, 0.5), ("Weibull", 0.5, math.sqrt(5)), ("Weibull", 1, 1)],
)
def test_rate_and_cv_follow_the_window(
    tmp_path: Path, family: str, shape: float, cv: float
) -> None:
    """Count and gap CV agree with rate and family over 40,000 requests (4 standard errors)."""
    client(tmp_path, 0, f"0,200,{cv},{family},{shape},1\n")
    times_s = np.array([row.at_s for row in generated(tmp_path, duration_s=200)])
    expected = 40_000
    assert abs(len(times_s) - expected) < 4 * cv * math.sqrt(expected)
    gaps_s = np.diff(times_s)
    assert gaps_s.min() >= 0
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.1)


def test_the_first_requests_of_many_clients_are_not_together(tmp_path: Path) -> None:
    """Clients begin in equilibrium: regular ones (CV 0.1) of 1/s spread over the first second."""
    for number in range(200):
        client(tmp_path, number, "0,1,0.1,Gamma,100,1\n")
    times_s = np.array([row.at_s for row in generated(tmp_path, duration_s=1)])
    counts, _ = np.histogram(times_s, bins=4, range=(0, 1))
    # Uniform phases: 50 in each quarter; binomial deviation 6.1, four of them.
    assert abs(counts - 50).max() < 25


def test_idle_windows_are_empty_and_rates_change_with_windows(tmp_path: Path) -> None:
    """No request falls into an idle window; each active one has its own rate."""
    client(tmp_path, 0, "0,50,1,Gamma,1,1\n600,0,0,,0,0\n1200,100,1,Weibull,1,1\n")
    times_s = np.array([row.at_s for row in generated(tmp_path, duration_s=1800)])
    counts, _ = np.histogram(times_s, bins=[0, 600, 1200, 1800])
    assert counts[1] == 0
    assert abs(counts[0] - 30_000) < 4 * math.sqrt(30_000)
    assert abs(counts[2] - 60_000) < 4 * math.sqrt(60_000)


def test_lengths_follow_their_probabilities_independently(tmp_path: Path) -> None:
    """Shares agree within 4 standard errors, and a long input says nothing of the output."""
    client(tmp_path, 0, "0,100,1,Gamma,1,1\n")
    rows = list(generated(tmp_path, duration_s=200))
    long_inputs = np.array([row.input_tokens == 200 for row in rows])
    long_outputs = np.array([row.output_tokens == 20 for row in rows])
    error = 4 / math.sqrt(len(rows))
    assert abs(long_inputs.mean() - 0.75) < error
    assert abs(long_outputs.mean() - 0.5) < error
    assert abs(np.corrcoef(long_inputs, long_outputs)[0, 1]) < error


def test_equal_seeds_give_equal_rows_and_others_do_not(tmp_path: Path) -> None:
    """What is generated is a function of the files, the options and the seed."""
    client(tmp_path, 0, "0,10,1,Gamma,1,1\n")
    client(tmp_path, 7, "0,10,1,Weibull,2,1\n")
    first, again, other = (list(generated(tmp_path, duration_s=60, seed=s)) for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert [row.at_s for row in first] == sorted(row.at_s or 0 for row in first)


def test_the_rate_option_is_the_mean_over_the_duration(tmp_path: Path) -> None:
    """One factor for all clients: the mean is what was asked, their shares stay."""
    client(tmp_path, 0, "0,1,1,Gamma,1,1\n600,3,1,Gamma,1,1\n")
    rows = list(generated(tmp_path, duration_s=1200, rate_rps=20))
    assert abs(len(rows) - 24_000) < 4 * math.sqrt(24_000)
    late = sum((row.at_s or 0) > 600 for row in rows) / len(rows)
    assert late == pytest.approx(0.75, abs=0.02)


def test_no_duration_is_the_first_window_and_told(tmp_path: Path) -> None:
    """By default 600 s are generated, and a warning says of how many."""
    client(tmp_path, 0, "".join(f"{start},1,1,Gamma,1,1\n" for start in range(0, 6000, 600)))
    opened = generated(tmp_path)
    assert max(row.at_s or 0 for row in opened) < 600
    assert opened.warnings == ["the first 600 s of 6000 s are generated; --duration chooses"]


def test_clients_without_rate_or_lengths_are_counted(tmp_path: Path) -> None:
    """Idle clients and clients without lengths give nothing, and their number is told."""
    client(tmp_path, 0, "0,1,1,Gamma,1,1\n")
    client(tmp_path, 1, "0,0,0,,0,0\n")
    client(tmp_path, 2, "0,1,1,Gamma,1,1\n", {"input_tokens": "{}", "output_tokens": "{}"})
    opened = generated(tmp_path)
    assert (opened.counts["idle_clients"], opened.counts["clients_without_lengths"]) == (1, 1)


@pytest.mark.parametrize(
    "literal",
    ["__import__('os').abort()", "{1: open('x')}", "[1]", "{1: 'a'}", "{-1: 1.0}", "{1: 0.0}"],
)
def test_literals_are_parsed_and_never_run(tmp_path: Path, literal: str) -> None:
    """A distribution that is not a table of numbers is an error; code in it is not called."""
    client(tmp_path, 0, "0,1,1,Gamma,1,1\n", {"input_tokens": literal, "output_tokens": "{1: 1}"})
    with pytest.raises(TraceError, match=r"chunk-0-dataset\.json"):
        generated(tmp_path)


@pytest.mark.parametrize(
    ("trace", "problem"),
    [
        ("0,1,1,Pareto,1,1\n", "line 1: family must be"),
        ("0,1,1,Gamma,0,1\n", "line 1: shape must be over 0"),
        ("0,1,1\n", "line 1: expected start"),
        ("0,1,1,Gamma,1,1\n0,1,1,Gamma,1,1\n", "must increase"),
        ("", "empty"),
    ],
)
def test_windows_are_checked(tmp_path: Path, trace: str, problem: str) -> None:
    """Unknown families, shapes of 0, short rows and windows out of order are errors."""
    client(tmp_path, 0, trace)
    with pytest.raises(TraceError, match=problem):
        generated(tmp_path)
