"""Distributions that the statistics need, in numpy: regularised incomplete beta, its inverse, t.

Sources: NIST Digital Library of Mathematical Functions (DLMF) §8.17; Lentz's method for continued
fractions (Applied Optics 15, 1976, with Thompson and Barnett's modification, J. Comput. Phys. 64,
1986); Abramowitz & Stegun 26.5.27 for Student's t through the beta distribution.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_TINY = 1e-300
_EPS = 1e-14
_MAX_TERMS = 100_000
_BISECTIONS = 64

_log_gamma = np.frompyfunc(math.lgamma, 1, 1)


def _log_beta(a: Floats, b: Floats) -> Floats:
    return np.asarray(_log_gamma(a) + _log_gamma(b) - _log_gamma(a + b), np.float64)


def _not_zero(value: Floats) -> Floats:
    return np.where(np.abs(value) < _TINY, _TINY, value)


def _fraction(x: Floats, a: Floats, b: Floats) -> Floats:
    """The continued fraction of DLMF 8.17.22; converges fast for x < (a + 1) / (a + b + 2)."""
    c = np.ones_like(x)
    d = 1 / _not_zero(1 - (a + b) * x / (a + 1))
    h = d.copy()
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _not_zero(1 + even * d)
        c = _not_zero(1 + even / c)
        h = h * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _not_zero(1 + odd * d)
        c = _not_zero(1 + odd / c)
        step = d * c
        h = h * step
        if np.all(np.abs(step - 1) < _EPS):
            return h
    raise ArithmeticError("incomplete beta: the continued fraction did not converge")


def _beta_cdf(x: Floats, a: Floats, b: Floats, log_beta: Floats) -> Floats:
    inside = np.clip(x, _TINY, 1 - 1e-16)
    front: Floats = np.exp(a * np.log(inside) + b * np.log1p(-inside) - log_beta)
    flip = inside >= (a + 1) / (a + b + 2)
    near = _fraction(np.where(flip, 1 - inside, inside), np.where(flip, b, a), np.where(flip, a, b))
    value: Floats = np.where(flip, 1 - front * near / b, front * near / a)
    bounded: Floats = np.where(x <= 0, 0.0, np.where(x >= 1, 1.0, np.clip(value, 0.0, 1.0)))
    return bounded


def beta_cdf(x: ArrayLike, a: ArrayLike, b: ArrayLike) -> Floats:
    """Regularised incomplete beta function I_x(a, b) for a, b > 0; arrays broadcast (DLMF 8.17)."""
    xs, as_, bs = np.broadcast_arrays(
        np.asarray(x, np.float64), np.asarray(a, np.float64), np.asarray(b, np.float64)
    )
    return _beta_cdf(xs, as_, bs, _log_beta(as_, bs))


def beta_quantile(p: ArrayLike, a: ArrayLike, b: ArrayLike) -> Floats:
    """x with I_x(a, b) = p, by bisection to double precision on [0, 1]; arrays broadcast."""
    ps, as_, bs = np.broadcast_arrays(
        np.asarray(p, np.float64), np.asarray(a, np.float64), np.asarray(b, np.float64)
    )
    log_beta = _log_beta(as_, bs)
    low, high = np.zeros_like(ps), np.ones_like(ps)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = _beta_cdf(middle, as_, bs, log_beta) < ps
        low = np.where(below, middle, low)
        high = np.where(below, high, middle)
    found: Floats = (low + high) / 2
    return found


def t_quantile(p: float, degrees: float) -> float:
    """Quantile of Student's t with `degrees` > 0 degrees of freedom, 0 < p < 1 (A&S 26.5.27)."""
    if p == 0.5:
        return 0.0
    x = float(beta_quantile(2 * min(p, 1 - p), degrees / 2, 0.5))
    magnitude = math.sqrt(degrees * (1 - x) / x)
    return magnitude if p > 0.5 else -magnitude
