"""The simulator's tokenizer and replies."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sim.blocks import chain
from bench.sim.tokens import (
    VOCABULARY_TOKENS,
    Reply,
    apply_template,
    pieces,
    tokenize,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello there", ["hello", " there"]),
        ("acceleration", ["accelera", "tion"]),  # 8 characters, then the rest
        (" acceleration", [" accelera", "tion"]),  # the leading space is not counted
        ("a  b", ["a", " ", " b"]),
        ("a\n\nb", ["a", "\n", "\n", "b"]),
        ("推理 快", ["推", "理", " ", "快"]),
        ("", []),
    ],
)
def test_rule(text: str, expected: list[str]) -> None:
    """A token is an optional space and up to 8 visible ASCII characters, or one other character."""
    assert pieces(text) == expected
    assert len(tokenize(text)) == len(expected)


@given(st.text())
def test_pieces_are_the_text(text: str) -> None:
    """Pieces joined are the text, and ids lie in the vocabulary, above the template's."""
    assert "".join(pieces(text)) == text
    assert all(16 <= token < VOCABULARY_TOKENS for token in tokenize(text))


@given(st.integers(), st.integers(1, 40))
def test_reply_round_trip(key: int, count: int) -> None:
    """A reply's text is tokenised back into the reply's own ids."""
    reply = Reply(key)
    text = b"".join(reply.word(position) for position in range(count)).decode()
    assert tokenize(text) == reply.ids(0, count)


def test_same_ids_in_every_process() -> None:
    """Ids and block hashes do not depend on the process or its hash seed."""
    source = (
        "import json; from bench.sim.tokens import tokenize; from bench.sim.blocks import chain;"
        "ids = tokenize('The quick brown fox, 推理. ' * 9);"
        "print(json.dumps([ids, chain(ids, 16, 0)]))"
    )
    ids = tokenize("The quick brown fox, 推理. " * 9)
    for seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", source],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        assert json.loads(told) == [ids, chain(ids, 16, 0)]


def test_template_overhead() -> None:
    """Begin of text, begin, role and end of each message, and begin and role of the reply."""
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hello there"}]},
    ]
    words = 4
    assert len(apply_template(messages)) == 1 + 2 * 3 + words + 2


def test_history_extends_the_prompt() -> None:
    """A conversation that goes on with the served reply begins with the earlier prompt and it."""
    messages = [{"role": "user", "content": "hello"}]
    first = apply_template(messages)
    reply = Reply(7)
    text = b"".join(reply.word(position) for position in range(5)).decode()
    longer = [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": "go"}]
    assert apply_template(longer)[: len(first) + 5] == first + reply.ids(0, 5)


def test_tool_calls_and_tools_are_prompt() -> None:
    """Tool calls of the history and the tools offered are part of the prompt."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    bare = apply_template([{"role": "user", "content": "x"}])
    with_tools = apply_template([{"role": "user", "content": "x"}], [{"name": "f"}])
    assert len(apply_template([call])) > len(apply_template([{"role": "assistant"}]))
    assert len(with_tools) > len(bare)


@pytest.mark.parametrize(
    "message", ["text", {"content": "x"}, {"role": "user", "content": [{"type": "image_url"}]}]
)
def test_unusable_message(message: object) -> None:
    """A message without a role, or with something other than text, is refused by its position."""
    with pytest.raises(ValueError, match=r"messages\[0\]"):
        apply_template([message])  # type: ignore[list-item]
