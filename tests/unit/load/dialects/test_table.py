"""The table of dialects, and the names that other rooms list."""

from __future__ import annotations

from typing import get_args

import click
import pytest

from bench.cli.run import command
from bench.errors import UsageError
from bench.load.dialects.table import DIALECTS, dialect_named
from bench.model import MESSAGE_ENDPOINTS
from bench.workload.recipe import Recipe


def test_the_names_agree() -> None:
    """A recipe's endpoint, `--endpoint` and the dialects are the same names."""
    (option,) = [each for each in command.params if each.name == "endpoint"]
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(DIALECTS)
    assert get_args(Recipe.model_fields["endpoint"].annotation) == tuple(DIALECTS)
    assert set(DIALECTS) >= MESSAGE_ENDPOINTS


def test_an_unknown_name_is_told_the_known_ones() -> None:
    """The error lists what there is."""
    with pytest.raises(UsageError) as caught:
        dialect_named("grpc")
    assert "chat, completions, responses" in caught.value.hint
