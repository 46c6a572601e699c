"""Servers' own interfaces: what is asked, and what their streams are taken to say.

The streams are made from the interface's description: MindIE's documentation of its TGI, Triton,
vLLM and own interfaces, and TGI's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from bench.load.conclude import conclude
from bench.load.dialects.table import CHAT, DIALECTS, dialect_named, path_of
from bench.load.flight import Flight
from bench.model import Exchange, Outcome, RequestStyle, TokenMethod, Turn

MS = 1_000_000
TURN = Turn(0, None, None, input_tokens=4, output_tokens=3)


def received(
    endpoint: str, reads: Sequence[bytes], content_type: str = "text/event-stream"
) -> Exchange:
    """What an answer amounts to whose reads came 1 ms after each other."""
    flight = Flight(TURN, 0, 0, "r", dialect_named(endpoint))
    if content_type:
        flight.on_header(b"Content-Type", content_type.encode())
    flight.status, flight.sent_ns = 200, 0
    flight.answer.text = []
    for number, read in enumerate(reads, 1):
        flight.on_body(read)
        flight.last_read_ns, flight.last_low_ns = number * MS, number * MS - 1
        flight.body.mark(number * MS, number * MS - 1)
        flight.decode()
    return conclude(flight)


def text_of(endpoint: str, reads: Sequence[bytes]) -> str:
    flight = Flight(TURN, 0, 0, "r", dialect_named(endpoint))
    flight.on_header(b"Content-Type", b"text/event-stream")
    flight.status = 200
    flight.answer.text = []
    for read in reads:
        flight.on_body(read)
        flight.body.mark(1, 0)
    conclude(flight)
    return "".join(flight.answer.text)


def sse(event: dict[str, Any], prefix: bytes = b"data: ") -> bytes:
    return prefix + json.dumps(event).encode() + b"\n\n"


def tgi(ids: Any, text: str, details: dict[str, Any] | None = None, **beside: Any) -> bytes:
    token = {"id": ids, "text": text, "logprob": None, "special": None}
    return sse({**beside, "token": token, "generated_text": None, "details": details})


LAST = {"prompt_tokens": 4, "finish_reason": "length", "generated_tokens": 3, "seed": 1}


def body(endpoint: str, style: RequestStyle | None = None, **sampling: Any) -> dict[str, Any]:
    encoded = DIALECTS[endpoint].encode("m", "hi", TURN, style or RequestStyle(), sampling)
    found: dict[str, Any] = json.loads(encoded)
    return found


def test_tgi_and_infer_and_triton_ask_with_parameters() -> None:
    """The length is max_new_tokens; details are asked for, since the counts stand in them."""
    parameters = {"details": True, "max_new_tokens": 3}
    assert body("tgi") == {"inputs": "hi", "parameters": parameters}
    assert body("infer") == {"inputs": "hi", "stream": True, "parameters": parameters}
    assert body("triton") == {"text_input": "hi", "parameters": parameters}


def test_greedy_is_said_their_way() -> None:
    """A temperature of 0 is refused there: it becomes do_sample false."""
    parameters = body("tgi", temperature=0)["parameters"]
    assert parameters["do_sample"] is False
    assert parameters["temperature"] > 0
    assert body("tgi", temperature=0.7)["parameters"]["do_sample"] is True


def test_generate_asks_as_vllm() -> None:
    """The fields are OpenAI's, without a model."""
    assert body("generate", temperature=0) == {
        "prompt": "hi", "stream": True, "max_tokens": 3, "ignore_eos": True, "temperature": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "endpoint", [name for name in DIALECTS if name not in ("chat", "responses")]
)
def test_a_conversation_becomes_one_text(endpoint: str) -> None:
    """A text endpoint gets the contents of the messages, a blank line between."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    encoded = DIALECTS[endpoint].encode("m", messages, TURN, RequestStyle(), {})
    assert "a\n\nb" in json.loads(encoded).values()


def test_the_models_name_goes_into_tritons_path() -> None:
    """The name is quoted, so that a slash in it is not one of the path."""
    assert path_of(DIALECTS["triton"], "a/b") == "/v2/models/a%2Fb/generate_stream"
    assert path_of(CHAT, "a/b") == "/v1/chat/completions"


def test_mindies_tgi_counts_its_ids() -> None:
    """An event holds as many tokens as ids, whatever its text; the last has the counts."""
    got = received("tgi", [tgi([5], "a"), tgi([6, 7], "", LAST)])
    assert got.outcome is Outcome.OK
    assert got.token_method is TokenMethod.TOKEN_IDS
    assert (list(got.tokens), list(got.arrival_ns)) == ([1, 2], [MS, 2 * MS])
    assert (got.prompt_tokens, got.output_tokens, got.finish_reason) == (4, 3, "length")


def test_tgis_own_stream() -> None:
    """A number is one token; the prompt is called input_length; `data:` may stand without space."""
    details = {"finish_reason": "eos_token", "generated_tokens": 2, "input_length": 9}
    reads = [
        tgi(5, "a", index=1).replace(b"data: ", b"data:"),
        tgi(6, "", details, index=2).replace(b"data: ", b"data:"),
    ]
    got = received("tgi", reads)
    assert list(got.tokens) == [1, 1]
    assert (got.prompt_tokens, got.finish_reason) == (9, "stop")


def test_infer_tells_its_steps() -> None:
    """The prefill's and the decodes' times, told in ms, are the server's own account."""
    reads = [
        sse({"prefill_time": 45.5, "decode_time": None, "token": {"id": [1], "text": "a"}}),
        sse({"prefill_time": None, "decode_time": 20.0, "token": {"id": [2], "text": "b"}}),
        sse({"prefill_time": None, "decode_time": 10.0, "generated_text": "ab", "details": LAST,
             "token": {"id": [3], "text": None}}),
    ]  # fmt: skip
    got = received("infer", reads)
    assert list(got.tokens) == [1, 1, 1]
    assert got.server_prefill_s == pytest.approx(0.0455)
    assert got.server_decode_s == pytest.approx(0.030)


def triton(text: str, count: int, wait_us: int, batch: int, **details: Any) -> bytes:
    event = {
        "id": "a", "model_name": "m", "model_version": None, "text_output": text,
        "details": {**details, "generated_tokens": count, "batch_size": batch,
                    "queue_wait_time": wait_us},
        "prefill_time": 28 if count == 1 else None, "decode_time": None if count == 1 else 9,
    }  # fmt: skip
    return sse(event, b"data:")


def test_triton_counts_from_the_start() -> None:
    """`generated_tokens` is a running total: a step of a speculative decoder adds several."""
    reads = [triton("a", 1, 5082, 2), triton("bc", 3, 36, 4, finish_reason="length")]
    got = received("triton", reads)
    assert got.token_method is TokenMethod.CONTINUOUS_USAGE
    assert list(got.tokens) == [1, 2]
    assert (got.output_tokens, got.prompt_tokens) == (3, None)
    assert got.server_queue_s == pytest.approx(0.005082)
    assert got.server_batch_mean == 3
    assert (got.server_prefill_s, got.server_decode_s) == pytest.approx((0.028, 0.009))


@pytest.mark.parametrize("content_type", ["text/event-stream", ""])
def test_generate_ends_objects_by_a_zero_byte(content_type: str) -> None:
    """An object cut by a read belongs to the read that ends it; the body's end is the answer's."""
    whole = b'{"text":["a"]}\0{"text":[" b"]}\0{"text":[" c"]}\0'
    got = received("generate", [whole[:20], whole[20:]], content_type)
    assert got.outcome is Outcome.OK
    assert got.token_method is TokenMethod.EVENTS
    assert list(got.arrival_ns) == [MS, 2 * MS, 2 * MS]
    assert got.output_tokens == 3


def test_generate_may_send_the_whole_text_so_far() -> None:
    """With fullTextEnabled each object repeats what came before: the text is not doubled."""
    deltas = [b'{"text":["to"]}\0', b'{"text":[" go"]}\0', b'{"text":[" on"]}\0']
    full = [b'{"text":["to"]}\0', b'{"text":["to go"]}\0', b'{"text":["to go on"]}\0']
    assert text_of("generate", deltas) == text_of("generate", full) == "to go on"


def test_an_error_instead_of_a_stream() -> None:
    """MindIE's error object in a whole answer of status 200 is an error."""
    got = received("generate", [b'{"error":"no","error_type":"x"}'], "application/json")
    assert (got.outcome, got.error_class) == (Outcome.FAILED, "error_in_answer")


@pytest.mark.parametrize("endpoint", ["tgi", "infer", "triton"])
def test_plain_text_in_a_stream_is_an_error(endpoint: str) -> None:
    """MindIE tells its timeouts as text without `data:`, after status 200."""
    first = {"tgi": tgi([1], "a"), "infer": tgi([1], "a"), "triton": triton("a", 1, 1, 1)}
    got = received(endpoint, [first[endpoint], b"Engine callback timeout.\n\n"])
    assert got.error_class == "error_in_answer"
    assert "Engine callback timeout" in (got.error_text or "")


@pytest.mark.parametrize("endpoint", ["tgi", "infer", "triton"])
def test_a_stream_without_its_last_event_is_truncated(endpoint: str) -> None:
    """Where the finish reason stands in the last event, an end without it is not whole."""
    first = {"tgi": tgi([1], "a"), "infer": tgi([1], "a"), "triton": triton("a", 1, 1, 1)}
    assert received(endpoint, [first[endpoint]]).error_class == "truncated"


def test_odd_types_are_one_malformed_event() -> None:
    """An event of another shape fails the request and no more."""
    got = received("tgi", [sse({"token": "x"})])
    assert got.error_class == "malformed_event"


def test_whole_answers() -> None:
    """An answer that was not streamed has counts and no token times."""
    answers = {
        "tgi": {"generated_text": "a", "details": LAST},
        "infer": {"generated_text": "a", "details": LAST},
        "triton": {"text_output": "a", "details": LAST},
    }
    for endpoint, answer in answers.items():
        got = received(endpoint, [json.dumps(answer).encode()], "application/json")
        assert (got.outcome, got.output_tokens) == (Outcome.OK, 3)
        assert not got.arrival_ns
