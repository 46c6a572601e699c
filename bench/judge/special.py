"""Distributions that the statistics need: regularised incomplete beta, its inverse, Student's t.

Sources: NIST Digital Library of Mathematical Functions (DLMF) §8.17; Lentz's method for continued
fractions (Applied Optics 15, 1976) as modified by Thompson and Barnett (J. Comput. Phys. 64, 1986);
Abramowitz & Stegun 26.5.27 for Student's t through the beta distribution.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_EPS = 1e-15
_MAX_TERMS = 100_000
_BISECTIONS = 64


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of DLMF 8.17.22; converges fast for x < (a + 1) / (a + b + 2)."""
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or _TINY)
    h = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / ((1 + term * d) or _TINY)
            c = (1 + term / c) or _TINY
            h *= c * d
        if abs(c * d - 1) < _EPS:
            return h
    raise ArithmeticError(f"incomplete beta of {x}, {a}, {b}: the fraction did not converge")


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b) for a, b > 0 (DLMF 8.17)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def beta_quantile(p: float, a: float, b: float) -> float:
    """x with I_x(a, b) = p, by bisection on [0, 1]."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_quantile(p: float, degrees: float) -> float:
    """Quantile of Student's t with `degrees` > 0 degrees of freedom, 0 < p < 1 (A&S 26.5.27)."""
    if p == 0.5:
        return 0.0
    x = beta_quantile(2 * min(p, 1 - p), degrees / 2, 0.5)
    magnitude = math.sqrt(degrees * (1 - x) / x)
    return magnitude if p > 0.5 else -magnitude
