"""Formats of times, lengths and block hashes: Mooncake, Azure, BurstGPT, Qwen-Bailian."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.errors import TraceError
from bench.workload.readers import TraceReading

Reader = Callable[..., TraceReading]


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def mooncake(timestamp: Any, input_length: Any, hash_ids: Any) -> dict[str, Any]:
    return {
        "timestamp": timestamp,
        "input_length": input_length,
        "output_length": 5,
        "hash_ids": hash_ids,
    }


def test_mooncake_times_are_milliseconds_from_the_first_row(reading: Reader) -> None:
    """A file that begins at 1,178,625 ms begins at 0.0 s; later rows keep their distance."""
    opened = reading(lines(mooncake(1178625, 600, [0, 1]), mooncake(1181678, 513, [0, 2])))
    assert [row.at_s for row in opened] == [0.0, 3.053]
    assert (opened.format, opened.block_tokens, opened.block_rule) == ("mooncake", 512, "ceil")


def test_sessions_beside_a_mooncake_row_are_counted(reading: Reader) -> None:
    """Rows of AIPerf's superset are requests of their own, and that is told."""
    rows = [mooncake(0, 5, [0]) | {"session_id": "a"}, mooncake(1, 5, [1]) | {"delay": 50}]
    opened = reading(lines(*rows, mooncake(2, 5, [2])))
    assert [(row.session, row.think_s) for row in opened] == [(None, None)] * 3
    assert opened.counts["session_unread"] == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (mooncake(0, 1025, [0, 1]), r"expected 3 ids \(ceil of 1,025 tokens in blocks of 512\)"),
        (mooncake(0, 5, ["0"]), "hash_ids must hold whole numbers"),
        (mooncake(0, 5, [-1]), "no negative number"),
        (mooncake(0, 5, [2**63]), "below 2"),
        (mooncake(0, 5, {"sys": [1]}), "hash_ids must be a list"),
        (mooncake("soon", 5, [0]), "timestamp must be a finite number, got 'soon'"),
        (mooncake(0, 5.5, [0]), "input_length must be a whole number"),
        (mooncake(0, True, [0]), "input_length must be a whole number"),
        (mooncake(0, 2**31, []), "input_length must be a whole number"),
        ({"timestamp": 0, "output_length": 1}, "field 'input_length' is missing"),
    ],
)
def test_mooncake_rows_are_checked(reading: Reader, row: dict[str, Any], message: str) -> None:
    """Ids that disagree with the length, wrong types and missing fields are bad rows."""
    with pytest.raises(TraceError, match=message):
        list(reading(lines(row), format_name="mooncake"))


def test_a_row_before_the_first_is_bad_and_a_step_back_is_counted(reading: Reader) -> None:
    """Times can't be negative; a row out of order is kept and counted."""
    opened = reading(lines(*(mooncake(at, 5, [0]) for at in (10, 30, 20))))
    assert [row.at_s for row in opened] == [0.0, 0.02, 0.01]
    assert opened.counts["out_of_order"] == 1
    with pytest.raises(TraceError, match="before the file's first"):
        list(reading(lines(mooncake(10, 5, [0]), mooncake(9, 5, [0]))))


AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"


def test_azure_2023_has_seven_digits_crlf_and_no_last_newline(reading: Reader) -> None:
    """The seventh digit (100 ns) counts, CRLF is no part of a value, the last row is a row."""
    opened = reading(
        AZURE + "2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:03.9799601,3180,8"
    )
    rows = list(opened)
    assert opened.format == "azure"
    assert [(row.input_tokens, row.output_tokens, row.line) for row in rows] == [
        (4808, 10, 2), (3180, 8, 3),
    ]  # fmt: skip
    assert rows[1].at_s == 1e-7


def test_azure_2024_has_an_offset(reading: Reader) -> None:
    """An offset is applied: 02:00+02:00 is the same instant as 00:00+00:00."""
    rows = reading(
        AZURE + "2024-05-10 00:00:00.009930+00:00,1,1\n2024-05-10 02:00:01.009930+02:00,1,1\n"
    )
    assert [row.at_s for row in rows] == [0.0, 1.0]


def test_azure_2025_images_are_counted_and_left_out(reading: Reader) -> None:
    """Rows with images are replayed as text, and their number is told."""
    opened = reading(
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n"
        "2024-10-15 00:00:00,2,700,30\n2024-10-15 00:00:01,0,70,3\n"
    )
    assert [row.input_tokens for row in opened] == [700, 70]
    assert opened.counts["images_left_out"] == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("16/11/2023 18:17,1,1", "TIMESTAMP must be a date and time"),
        ("2023-13-40 00:00:00,1,1", "TIMESTAMP: "),
        ("2023-11-16 00:00:00,1", "expected 3 columns, got 2"),
        ("2023-11-16 00:00:00,one,1", "ContextTokens must be a whole number .* got 'one'"),
    ],
)
def test_azure_rows_are_checked(reading: Reader, row: str, message: str) -> None:
    """A wrong date, number or column count is a bad row."""
    with pytest.raises(TraceError, match=message):
        list(reading(AZURE + row))


def test_a_missing_column_is_told_before_any_row(reading: Reader) -> None:
    """A CSV without the format's columns is refused at once, with the columns it has."""
    with pytest.raises(TraceError, match=r"columns TIMESTAMP, .* are missing, got 'TIME,A'"):
        reading("TIME,A\n1,2\n", format_name="azure")


BURST_1 = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
BURST_3 = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
)


def test_burstgpt_columns_are_found_by_name(reading: Reader) -> None:
    """Both layouts give the same lengths; only the third file has sessions, blank for API rows."""
    first = list(reading(BURST_1 + "5,ChatGPT,472,18,490,Conversation log\n"))
    third = list(
        reading(
            BURST_3
            + "19440110.0,abc,43,GPT-4,472,18,490,Conversation log\n"
            + "19440110.5,,2,GPT-4,472,18,490,API log\n"
        )
    )
    assert {(row.input_tokens, row.output_tokens) for row in first + third} == {(472, 18)}
    assert [row.session for row in first + third] == [None, "abc", None]
    assert [row.at_s for row in third] == [0.0, 0.5]


def test_burstgpt_failures_are_dropped_and_counted_or_kept(reading: Reader) -> None:
    """A row without response tokens is a failure; the option keeps it; the clock does not move."""
    text = BURST_1 + "5,GPT-4,9,0,9,API log\n7,GPT-4,9,1,10,API log\n"
    opened = reading(text)
    assert [row.at_s for row in opened] == [2.0]
    assert opened.counts["failed"] == 1
    kept = reading(text, keep_failures=True)
    assert [(row.at_s, row.output_tokens) for row in kept] == [(0.0, 0), (2.0, 1)]
    assert kept.counts["failed"] == 0


def chat(chat_id: int, parent: int, at_s: float, tokens: int = 17) -> dict[str, Any]:
    return {
        "chat_id": chat_id,
        "parent_chat_id": parent,
        "timestamp": at_s,
        "input_length": tokens,
        "output_length": 4,
        "type": "text",
        "turn": 1,
        "hash_ids": list(range(-(-tokens // 16))),
    }


def test_bailian_parents_make_sessions(reading: Reader) -> None:
    """A chain of parents is one session named by its root; times and whole requests are kept."""
    opened = reading(lines(chat(1, -1, 5.5), chat(2, -1, 6.0), chat(3, 1, 7.5), chat(4, 3, 9.5)))
    rows = list(opened)
    assert [row.session for row in rows] == ["1", "2", "1", "1"]
    assert [row.at_s for row in rows] == [0.0, 0.5, 2.0, 4.0]
    assert not any(row.appends for row in rows)
    assert opened.blocks is not None
    assert (opened.format, opened.blocks.tokens, opened.blocks.hashes) == (
        "bailian", 16, "content",
    )  # fmt: skip


def test_bailian_chats_of_unknown_parents_begin_a_session(reading: Reader) -> None:
    """A parent that is not in the file is counted, and its children stand together no further."""
    opened = reading(lines(chat(8, 7, 0.0), chat(9, 8, 1.0)))
    assert [row.session for row in opened] == ["8", "8"]
    assert opened.counts["parent_unknown"] == 1
