"""Prompt lengths by a tokenizer.json, which does not know the server's chat template."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bench.conduct.preflight import prepare
from bench.model import Target
from bench.sim.config import SimConfig
from bench.sim.process import running_sim
from bench.workload.resolve import Overrides, override, recipe_of_lengths
from bench.workload.tokens import LengthMethod, Vocabulary, candidate_words


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    """Each of the candidate words is one token, as it is for the simulated server."""
    tokenizers = pytest.importorskip("tokenizers", reason="the extra tokenizers is not installed")
    words = {word: i for i, word in enumerate(("[UNK]", *candidate_words()))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def vocabulary(url: str, endpoint: str, method: str, tokenizer_file: Path) -> Vocabulary:
    """The vocabulary that a run on this endpoint plans with."""
    options = Overrides(
        endpoint=endpoint, prompt_length=method, tokenizer_file=str(tokenizer_file), requests=5
    )
    recipe = override(recipe_of_lengths(200, 8), options)
    ready = asyncio.run(
        prepare(
            recipe, Target(url, "", endpoint), family=None, metrics_url=None, workers=1,
            announce=lambda text: None,
        )
    )  # fmt: skip
    return ready.plan.prompts.vocabulary


def test_the_template_is_measured_at_the_server(tokenizer_file: Path) -> None:
    """Its overhead is what the server's own tokenizer tells; a bare prompt has none of it."""
    with running_sim(SimConfig(port=0)) as sim:
        local, asked = (
            vocabulary(sim.url, "chat", method, tokenizer_file)
            for method in ("local_tokenizer", "server_tokenize")
        )
        bare = vocabulary(sim.url, "completions", "local_tokenizer", tokenizer_file)
    assert local.method is LengthMethod.LOCAL_TOKENIZER
    assert local.overhead_tokens == asked.overhead_tokens
    assert local.overhead_tokens is not None and local.overhead_tokens > 0
    assert replace(local, overhead_tokens=0) == bare
