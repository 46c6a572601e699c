"""Distributions against published tables."""

from __future__ import annotations

import math

import pytest

from bench.judge.special import beta_cdf, beta_quantile, t_quantile


def test_beta_with_whole_parameters_is_a_binomial_tail() -> None:
    """I_x(a, b) is the chance of at least a successes in a + b − 1 trials (DLMF 8.17.5)."""
    tail = sum(math.comb(6, k) * 0.3**k * 0.7 ** (6 - k) for k in range(2, 7))
    assert beta_cdf(0.3, 2, 5) == pytest.approx(tail, rel=1e-12)


def test_beta_is_0_and_1_at_the_ends() -> None:
    """Nothing lies below 0, everything below 1."""
    assert (beta_cdf(0.0, 2, 3), beta_cdf(1.0, 2, 3)) == (0.0, 1.0)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1980.0, 21.0), (2e8, 2e6), (3.0, 1.0)])
def test_quantile_inverts_the_distribution(a: float, b: float) -> None:
    """The distribution at its quantile is the probability asked for, up to 2·10⁸ samples."""
    for p in (0.025, 0.5, 0.975):
        assert beta_cdf(beta_quantile(p, a, b), a, b) == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize(
    ("p", "degrees", "table"),
    [(0.975, 1, 12.706), (0.975, 19, 2.093), (0.995, 9, 3.250), (0.95, 29, 1.699)],
)
def test_t_quantiles_are_those_of_the_table(p: float, degrees: int, table: float) -> None:
    """Student's t as printed in Abramowitz & Stegun, table 26.10."""
    assert t_quantile(p, degrees) == pytest.approx(table, abs=5e-4)
    assert t_quantile(1 - p, degrees) == pytest.approx(-table, abs=5e-4)


def test_t_is_symmetric_about_0() -> None:
    """The median of Student's t is 0."""
    assert t_quantile(0.5, 7) == 0.0
