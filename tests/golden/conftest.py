"""`pytest tests/golden --update-golden` writes the golden files anew; look at the difference."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="Write the golden files instead of comparing."
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written; the option exists only when this folder is named."""
    return bool(request.config.getoption("--update-golden", default=False))
