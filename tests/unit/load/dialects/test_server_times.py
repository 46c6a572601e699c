"""What servers say of a request in its answer, in OpenAI's forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.load.dialects.answer import Answer
from bench.load.dialects.table import CHAT


def read(event: dict[str, Any]) -> Answer:
    answer = Answer(CHAT)
    answer.feed([json.dumps(event).encode()], [0], [5], [4])
    return answer


def test_mindies_benchmark_fields() -> None:
    """Waits are µs, one for each token: the first is the wait before the first step."""
    usage = {"completion_tokens": 3, "batch_size": [1, 2, 6], "queue_wait_time": [5318, 117, 82]}
    answer = read({"choices": [], "usage": usage})
    assert answer.queue_s == pytest.approx(0.005318)
    assert answer.batch_sizes == [1, 2, 6]
    assert (answer.prefill_s, answer.decode_s) == (None, None)


def test_mindies_whole_answer() -> None:
    """In an answer that is not streamed, prefill and decodes are told in ms."""
    answer = Answer(CHAT)
    body = {
        "choices": [{"message": {"content": "a"}, "finish_reason": "length"}],
        "usage": {"completion_tokens": 3, "batch_size": [1, 1, 1], "queue_wait_time": [10, 1, 1]},
        "prefill_time": 1138,
        "decode_time_arr": [47, 45],
    }
    answer.read_body(json.dumps(body).encode())
    assert (answer.prefill_s, answer.decode_s) == pytest.approx((1.138, 0.092))


def test_llamacpp_timings() -> None:
    """Prompt and prediction times of `timings`, in ms."""
    timings = {"cache_n": 24, "prompt_n": 1, "prompt_ms": 0.689, "predicted_ms": 5.216}
    answer = read({"choices": [], "usage": {"completion_tokens": 32}, "timings": timings})
    assert (answer.prefill_s, answer.decode_s) == pytest.approx((0.000689, 0.005216))
    assert answer.queue_s is None
    assert answer.cached_tokens == 24


def test_vllm_per_request_metrics() -> None:
    """`metrics`, of --enable-per-request-metrics; its first-token time leaves the queue out."""
    metrics = {"queue_time_ms": 2.0, "time_to_first_token_ms": 30.0, "generation_time_ms": 400.0}
    answer = read({"choices": [], "usage": {"completion_tokens": 3}, "metrics": metrics})
    assert (answer.queue_s, answer.prefill_s, answer.decode_s) == pytest.approx((0.002, 0.03, 0.4))


@pytest.mark.parametrize("odd", ["x", -1, None, True])
def test_odd_times_are_unknown(odd: Any) -> None:
    """What can't be a time is none; 0 is."""
    answer = read({"usage": {"completion_tokens": 1}, "metrics": {"queue_time_ms": odd}})
    assert answer.queue_s is None
    zero = read({"usage": {"completion_tokens": 1}, "metrics": {"queue_time_ms": 0}})
    assert zero.queue_s == 0
