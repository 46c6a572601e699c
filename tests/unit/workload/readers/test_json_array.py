"""Streaming a JSON array."""

from __future__ import annotations

import io
from typing import Any

import pytest

from bench.errors import TraceError
from bench.workload.readers import json_array


def elements(text: str) -> list[Any]:
    return list(json_array.json_elements(io.BytesIO(text.encode()), "file"))


def test_an_array_gives_its_elements() -> None:
    """Objects, lists, text, numbers and constants come out as json.loads would give them."""
    assert elements(' [ {"a": [1, 2]} ,\n"b", -1.5e3, null, true ] ') == [
        {"a": [1, 2]},
        "b",
        -1500.0,
        None,
        True,
    ]


def test_an_empty_array_gives_nothing() -> None:
    """No element is invented."""
    assert elements("[ \n ]") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}', "expected a JSON array"),
        ('[{"a": 1} {"b": 2}]', "element 1: expected ',' or ']'"),
        ('[{"a": 1}, {"b": }                                ]', "element 2: Expecting value"),
        ('[{"a": 1}, {"b": 2}', "element 2: .*end of the file"),
        ('[{"a": 1}, {"b": "open', "element 2: Unterminated string"),
        ("[" * 200_000, "element 1"),
    ],
)  # fmt: skip
def test_malformed_arrays_name_the_element(text: str, message: str) -> None:
    """What is wrong is told with the element's number, and never passes as a shorter array."""
    with pytest.raises(TraceError, match=message):
        elements(text)


def test_an_element_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A string that never ends is given up at the limit."""
    monkeypatch.setattr(json_array, "LONGEST_ITEM_BYTES", 1000)
    monkeypatch.setattr(json_array, "_CHUNK_BYTES", 64)
    with pytest.raises(TraceError, match="longer than 1,000"):
        elements('["' + "x" * 5000 + '"]')


def test_text_that_is_not_utf8_is_refused() -> None:
    """Bytes that are not UTF-8 are an error, not replaced text."""
    with pytest.raises(TraceError, match="not UTF-8"):
        list(json_array.json_elements(io.BytesIO(b'["\xff\xfe"]'), "file"))
