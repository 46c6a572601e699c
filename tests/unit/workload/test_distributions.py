"""bench.workload.distributions: what is drawn is what is written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from bench.workload.distributions import Distribution, draw_counts

READ = TypeAdapter[Distribution](Distribution)
DRAWS = 40_000


def rng() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(7))


@pytest.mark.parametrize(
    ("written", "mean", "std"),
    [
        ({"kind": "fixed", "value": 512}, 512, 0),
        ({"kind": "uniform", "min": 10, "max": 20}, 15, 10 / math.sqrt(12)),
        ({"kind": "normal", "mean": 100, "std": 10}, 100, 10),
        (
            {"kind": "lognormal", "median": 100, "sigma": 0.5},
            100 * math.exp(0.125),
            100 * math.exp(0.125) * math.sqrt(math.exp(0.25) - 1),
        ),
        ({"kind": "exponential", "mean": 8}, 8, 8),
        ({"kind": "empirical", "values": [1, 5], "weights": [3, 1]}, 2, math.sqrt(3)),
        ({"kind": "empirical", "values": [2, 4]}, 3, 1),
    ],
)
def test_moments(written: dict[str, object], mean: float, std: float) -> None:
    """Mean and standard deviation are those of the distribution, within six standard errors."""
    drawn = READ.validate_python(written, strict=False).draw(rng(), DRAWS)
    assert drawn.shape == (DRAWS,)
    assert abs(drawn.mean() - mean) <= 6 * std / math.sqrt(DRAWS)
    assert drawn.std() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("kind", ["normal", "lognormal", "exponential"])
def test_bounds_truncate_without_atoms(kind: str) -> None:
    """Bounds are kept, and nearly no draw lies on them."""
    shape = {
        "normal": {"mean": 100, "std": 80},
        "lognormal": {"median": 100, "sigma": 1},
        "exponential": {"mean": 100},
    }[kind]
    spread = READ.validate_json(
        f'{{"kind":"{kind}","min":60,"max":120,{str(shape)[1:-1]}}}'.replace("'", '"')
    )
    drawn = spread.draw(rng(), DRAWS)
    assert drawn.min() >= 60 and drawn.max() <= 120
    assert ((drawn == 60) | (drawn == 120)).mean() < 0.001
    assert drawn.std() > 10


def test_uniform_counts_give_every_number_the_same_chance() -> None:
    """Whole numbers of a uniform distribution include both ends with full weight."""
    written = READ.validate_json('{"kind":"uniform","min":1,"max":4}')
    counts = np.bincount(draw_counts(written, rng(), DRAWS), minlength=5)[1:]
    assert counts.sum() == DRAWS
    assert np.abs(counts / DRAWS - 0.25).max() < 0.02


def test_counts_are_whole_and_not_below_the_least() -> None:
    """Rounded draws never fall under `least`."""
    written = READ.validate_json('{"kind":"exponential","mean":0.4}')
    drawn = draw_counts(written, rng(), 1000)
    assert drawn.dtype == np.int64
    assert drawn.min() == 1


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('{"kind":"uniform","min":5,"max":1}', "min 5 is above max 1"),
        ('{"kind":"normal","mean":10,"std":1,"min":50}', "widen"),
        ('{"kind":"lognormal","median":10,"sigma":1,"min":9,"max":8}', "above"),
        ('{"kind":"empirical","values":[1,2],"weights":[1]}', "1 weights for 2 values"),
        ('{"kind":"empirical","values":[1],"weights":[0]}', "add up to 0"),
        ('{"kind":"fixed","value":-1}', "greater than or equal to 0"),
    ],
)
def test_impossible_distributions_are_refused(written: str, says: str) -> None:
    """A distribution that can't be drawn is refused when it is read, with the reason."""
    with pytest.raises(ValidationError, match=says):
        READ.validate_json(written)
