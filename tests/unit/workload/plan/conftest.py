"""A plan from a few rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.model import TraceRow
from bench.workload.build import build_plan
from bench.workload.plan import Plan
from bench.workload.readers import Blocks, TraceReading
from bench.workload.recipe import Recipe
from bench.workload.tokens import LengthMethod, Vocabulary
from bench.workload.words import candidate_words


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """A recipe of a trace from its fields; as recorded unless `arrivals` says otherwise."""

    def make(**fields: Any) -> Recipe:
        written = {
            "name": "r",
            "title": {"zh": "r", "en": "r"},
            "source": {"kind": "trace", "path": "t"},
            "arrivals": {"kind": "recorded"},
            **fields,
        }
        return Recipe.model_validate_json(json.dumps(written))

    return make


@pytest.fixture
def words() -> Vocabulary:
    """One token for each word, and a template of 5."""
    return Vocabulary(
        LengthMethod.SERVER_TOKENIZE, words=candidate_words()[:200], overhead_tokens=5
    )


@pytest.fixture
def plan(recipe: Callable[..., Recipe], words: Vocabulary) -> Callable[..., Plan]:
    """A plan of rows under a recipe's fields, in blocks of 16 tokens unless told otherwise."""

    def make(
        rows: Sequence[TraceRow],
        *,
        blocks: Blocks | None = Blocks(16, "ceil", "content"),  # noqa: B008
        vocabulary: Vocabulary = words,
        **fields: Any,
    ) -> Plan:
        reading = TraceReading(Path("t"), "native", blocks, iter(rows))
        return build_plan(recipe(**fields), reading, vocabulary)

    return make
