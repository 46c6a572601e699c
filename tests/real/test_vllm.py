"""Runs against a real vLLM: what we counted is what the server counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Find = Callable[[str], Path]
FIT = ("--scale-input", "0.02", "--scale-output", "0.05", "--max-input", "3000")
FIT += ("--max-output", "32")


def increase(server: pd.DataFrame, name: str) -> float:
    """How much a counter of the server grew between the run's first scrape and its last."""
    found = server[server["name"] == name]
    assert len(found) >= 2, f"{name} was not scraped"
    return float(found["value"].iloc[-1] - found["value"].iloc[0])


def assert_all_ok(run: Any, requests: int) -> None:
    assert run.end["ok"] == requests, run.end["failed"]
    assert run.end["unaccounted"] == 0
    assert (run.requests["outcome"] == "ok").all()


@pytest.fixture(scope="module")
def replayed(vllm_url: str, shared_trace: Find, run_against: Callable[..., Any]) -> Any:
    """The first 40 requests of Mooncake's conversation trace, scaled to fit an 8 k model."""
    trace = shared_trace("mooncake/conversation_trace.jsonl")
    return run_against(vllm_url, "-w", trace, "--limit", "40", "--dequantize", "3", *FIT)


def test_a_scaled_trace_counts_as_the_server_counts(replayed: Any) -> None:
    """All requests end well, and tokens in, out and from the cache are the server's own."""
    assert_all_ok(replayed, 40)
    requests, server = replayed.requests, replayed.server
    assert requests["output_tokens"].sum() == increase(server, "vllm:generation_tokens_total")
    assert requests["prompt_tokens"].sum() == increase(server, "vllm:prompt_tokens_total")
    assert requests["cached_tokens"].sum() == increase(server, "vllm:prefix_cache_hits_total")
    assert (requests["output_tokens"] == requests["planned_output_tokens"]).all()


def test_prompts_are_as_long_as_planned(replayed: Any) -> None:
    """The server counts as many prompt tokens as the plan asks for, the chat template included."""
    requests = replayed.requests
    assert (requests["prompt_tokens"] == requests["planned_input_tokens"]).all()


def test_ttft_is_of_the_first_token_and_not_of_the_role(replayed: Any) -> None:
    """vLLM sends a role-only frame first; it is kept apart, and no token stands before it."""
    requests = replayed.requests
    assert requests["role_s"].notna().all()
    assert (requests["first_s"] >= requests["role_s"]).all()
    counted = sum(int(events.tokens.sum()) for events in replayed.token_events())
    assert counted == requests["output_tokens"].sum()


def test_conversations_with_text_go_through(
    vllm_url: str, run_against: Callable[..., Any], tmp_path: Path
) -> None:
    """100 conversations of recorded text, in two languages, end well and are counted alike."""
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "system", "content": "Answer in one sentence."},
                    {"role": "user", "content": f"Question {n}: what is {n} × 7? 请用中文回答。🙂"},
                ],
                "max_tokens": 8 + n % 9,
            },
            ensure_ascii=False,
        )
        for n in range(100)
    ]
    trace = tmp_path / "conversations.jsonl"
    trace.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = run_against(vllm_url, "-w", trace, "--concurrency", "8")
    assert_all_ok(run, 100)
    assert run.requests["output_tokens"].sum() == increase(
        run.server, "vllm:generation_tokens_total"
    )
