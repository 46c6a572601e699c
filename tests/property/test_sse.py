"""However a stream is split into reads, the same events come out, at the right times.

The streams are written here in the manner of each server; the captured ones of real servers are
read where they are present beside the repository.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.model import Exchange, Outcome, TokenMethod

Received = Callable[..., Exchange]

READ_NS = 1_000_000
CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "captures"

WORDS = ("plain", " two words", 'quo"te', "new\nline", "größe", "推理🚀", " ")


def sse(*payloads: Any, start: bytes = b"data: ", end: bytes = b"\n\n") -> bytes:
    """Payloads as events; text is taken as it is."""
    texts = [p.encode() if isinstance(p, str) else compact(p) for p in payloads]
    return b"".join(start + text + end for text in texts)


def compact(payload: Any, *, ascii_only: bool = False) -> bytes:
    """JSON as servers write it, without spaces between its parts."""
    return json.dumps(payload, ensure_ascii=ascii_only, separators=(",", ":")).encode()


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]} | fields


def usage(tokens: int) -> dict[str, Any]:
    return {"prompt_tokens": 9, "completion_tokens": tokens}


def vllm() -> bytes:
    """A role frame with empty content, the finish on the last token, usage alone, [DONE]."""
    contents = [chunk({"content": word}) for word in WORDS[:-1]]
    last = chunk({"content": WORDS[-1]}, "length", stop_reason=None)
    own = {"id": "c", "choices": [], "usage": usage(len(WORDS))}
    return sse(chunk({"role": "assistant", "content": ""}), *contents, last, own, "[DONE]")


def vllm_continuous() -> bytes:
    """A running usage in each event, and an empty text for half a character."""
    texts = ["", "", "推", *WORDS]
    counts = [0, 1, 2, *range(3, 3 + len(WORDS))]
    events = [
        chunk({"content": text}, usage=usage(count))
        for text, count in zip(texts, counts, strict=True)
    ]
    return sse(*events, chunk({}, "stop", usage=usage(counts[-1])), "[DONE]")


def vllm_token_ids() -> bytes:
    """Token ids in each event, two of them in one."""
    events = []
    for number, word in enumerate(WORDS):
        event = chunk({"content": word})
        event["choices"][0]["token_ids"] = [number, number] if number == 3 else [number]
        events.append(event)
    return sse(*events, chunk({}, "stop"), {"choices": [], "usage": usage(len(WORDS) + 1)})


def llamacpp() -> bytes:
    """A null content beside the role, the finish alone, usage with timings, a comment."""
    contents = [chunk({"content": word}) for word in WORDS]
    own = {"choices": [], "usage": usage(len(WORDS)), "timings": {"cache_n": 4}}
    head = sse(chunk({"role": "assistant", "content": None})) + b": ping - 12:00:00+00:00\n\n"
    return head + sse(*contents, chunk({}, "length"), own, "[DONE]")


def transformers() -> bytes:
    """Usage on the finish event, no [DONE], fewer events than tokens."""
    contents = [chunk({"content": word}) for word in WORDS]
    return sse(
        chunk({"role": "assistant"}), *contents, chunk({}, "length", usage=usage(len(WORDS) + 2))
    )


def mindie() -> bytes:
    """A role in every event, usage on the finish event, [DONE]."""
    contents = [chunk({"role": "assistant", "content": word}) for word in WORDS]
    last = chunk({"role": "assistant", "content": ""}, "length", usage=usage(len(WORDS)))
    return sse(chunk({"role": "assistant", "content": ""}), *contents, last, "[DONE]")


def mindie_completions() -> bytes:
    """Text in the choice, no role, no space after the colon."""
    events: list[dict[str, Any]] = [
        {"id": "c", "choices": [{"index": 0, "text": word, "finish_reason": None}]}
        for word in WORDS
    ]
    events[-1]["choices"][0]["finish_reason"] = "length"
    events[-1]["usage"] = usage(len(WORDS))
    return sse(*events, "[DONE]", start=b"data:")


def crlf_with_event_lines() -> bytes:
    """A gateway's line ends, event names and a byte order mark."""
    events = [chunk({"content": word}) for word in WORDS]
    body = sse(
        *events, chunk({}, "stop"), "[DONE]", start=b"event: message\r\ndata: ", end=b"\r\n\r\n"
    )
    return b"\xef\xbb\xbf" + body


STREAMS: dict[str, tuple[bytes, int, TokenMethod]] = {
    "vllm": (vllm(), len(WORDS), TokenMethod.USAGE_SPREAD),
    "vllm_continuous": (vllm_continuous(), len(WORDS) + 2, TokenMethod.CONTINUOUS_USAGE),
    "vllm_token_ids": (vllm_token_ids(), len(WORDS) + 1, TokenMethod.TOKEN_IDS),
    "llamacpp": (llamacpp(), len(WORDS), TokenMethod.USAGE_SPREAD),
    "transformers": (transformers(), len(WORDS) + 2, TokenMethod.USAGE_SPREAD),
    "mindie": (mindie(), len(WORDS), TokenMethod.USAGE_SPREAD),
    "mindie_completions": (mindie_completions(), len(WORDS), TokenMethod.USAGE_SPREAD),
    "crlf_with_event_lines": (crlf_with_event_lines(), len(WORDS), TokenMethod.EVENTS),
}


def told(exchange: Exchange) -> tuple[Any, ...]:
    """All that an exchange says, its times left out."""
    return (
        exchange.outcome,
        exchange.error_class,
        list(exchange.tokens),
        exchange.events,
        exchange.token_method,
        exchange.output_tokens,
        exchange.prompt_tokens,
        exchange.cached_tokens,
        exchange.finish_reason,
        exchange.body_bytes,
        exchange.role_ns is None,
    )


def pieces_of(body: bytes, cuts: list[int]) -> list[bytes]:
    return [body[low:high] for low, high in pairwise([0, *cuts, len(body)])]


_known: dict[bytes, tuple[tuple[Any, ...], list[int]]] = {}


def truth_of(received: Received, body: bytes) -> tuple[tuple[Any, ...], list[int]]:
    """What the whole body tells, and where in it each token event is complete.

    The latter is the number of the read that brings it, byte by byte.
    """
    if body not in _known:
        alone = received([body[at : at + 1] for at in range(len(body))])
        _known[body] = told(received([body])), [at_ns // READ_NS for at_ns in alone.arrival_ns]
    return _known[body]


@pytest.mark.parametrize("name", STREAMS)
def test_byte_by_byte_and_whole_are_the_same(received: Received, name: str) -> None:
    """The streams say what they were made to say, and each event is complete at its blank line."""
    body, tokens, method = STREAMS[name]
    whole = received([body])
    single = received([body[at : at + 1] for at in range(len(body))])
    late = received([body[at : at + 1] for at in range(len(body))], decode_each=False)
    assert told(single) == told(whole) == told(late)
    assert (whole.outcome, whole.output_tokens, whole.token_method) == (Outcome.OK, tokens, method)
    assert sum(whole.tokens) == tokens
    assert list(single.arrival_ns) == list(late.arrival_ns)
    end = b"\r\n\r\n" if b"\r" in body else b"\n\n"
    for end_of_event in truth_of(received, body)[1]:
        assert body[:end_of_event].endswith(end)


@pytest.mark.parametrize("name", STREAMS)
def test_every_single_split(received: Received, name: str) -> None:
    """Two reads, cut at every byte: same events, and each time is the completing read's."""
    body, _, _ = STREAMS[name]
    expected, ends = truth_of(received, body)
    for cut in range(1, len(body)):
        got = received([body[:cut], body[cut:]])
        assert told(got) == expected, f"cut at {cut}"
        assert list(got.arrival_ns) == [(1 + (cut < end)) * READ_NS for end in ends]


@pytest.mark.parametrize("name", STREAMS)
@given(choice=st.data())
def test_any_split(received: Received, name: str, choice: st.DataObject) -> None:
    """Any reads, each of any pieces, decoded at once or late: same events, right times."""
    body, _, _ = STREAMS[name]
    positions = st.lists(st.integers(1, len(body) - 1), max_size=30, unique=True).map(sorted)
    cuts = choice.draw(positions, label="reads end at")
    inner = choice.draw(positions, label="pieces end at")
    reads: list[bytes | list[bytes]] = []
    for low, high in pairwise([0, *cuts, len(body)]):
        within = [at - low for at in inner if low < at < high]
        reads.append(pieces_of(body[low:high], within))
    got = received(reads, decode_each=choice.draw(st.booleans(), label="decode each"))
    expected, ends = truth_of(received, body)
    assert told(got) == expected
    assert list(got.arrival_ns) == [(1 + bisect_left(cuts, end)) * READ_NS for end in ends]


# -- the fast way ----------------------------------------------------------------------------

contents = st.sampled_from(["", "a", *WORDS]) | st.text(max_size=12)
deltas = st.dictionaries(
    st.sampled_from(["content", "content", "role", "reasoning_content", "refusal"]), contents
)
beside = st.sampled_from([{}, {}, {"usage": None}, {"usage": usage(3)}, {"note": '"content":"no'}])
choices = st.sampled_from([{}, {}, {"finish_reason": "stop"}, {"token_ids": [7]}])


@st.composite
def alike_streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events that differ in few things, so that many look like the one that was learnt."""
    events = [chunk({"content": "first"})]
    for _ in range(draw(st.integers(0, 12))):
        event = chunk(draw(st.just({"content": "a"}) | deltas)) | draw(beside)
        event["choices"][0] |= draw(choices)
        events.append(event)
    return events


@given(body=alike_streams(), ascii_only=st.booleans())
@example(body=[chunk({"content": "a"}), chunk({"content": "", "refusal": ""})], ascii_only=True)
def test_events_of_the_common_form_count_as_if_parsed(
    received: Received, body: list[dict[str, Any]], ascii_only: bool
) -> None:
    """One event in a read may be accounted for by its form alone; two in a read are parsed.

    Whatever stands in the events, both ways give the same account and the same text events.
    """
    encoded = [b"data: " + compact(e, ascii_only=ascii_only) + b"\n\n" for e in body]
    encoded.append(sse("[DONE]"))
    one_by_one = received(encoded)
    parsed = received([b"".join(encoded)])
    assert told(one_by_one) == told(parsed)
    assert len(one_by_one.arrival_ns) == len(parsed.arrival_ns)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "usage", "error", "content", "text", "token_ids", "role",
             "finish_reason", "completion_tokens", "prompt_tokens", "prompt_tokens_details",
             "cached_tokens", "timings", "cache_n", "message", "index", "tool_calls"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(values=st.lists(json_values, max_size=5), streamed=st.booleans())
def test_no_answer_breaks_the_engine(received: Received, values: list[Any], streamed: bool) -> None:
    """Any JSON at all ends as a record; a wrong one fails its own request and nothing else."""
    body = sse(*values, "[DONE]") if streamed else json.dumps(values[:1]).encode()
    content_type = "text/event-stream" if streamed else "application/json"
    got = received([body], headers={"Content-Type": content_type})
    assert got.outcome in (Outcome.OK, Outcome.FAILED)
    assert len(got.arrival_ns) == len(got.tokens)
    assert all(count > 0 for count in got.tokens)


@given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_no_bytes_break_the_engine(received: Received, body: bytes, cuts: list[int]) -> None:
    """Bytes that are no event stream end as a record, the same however they are split."""
    whole = received([body])
    split = received(pieces_of(body, sorted(cut for cut in cuts if cut < len(body))))
    assert (whole.outcome, split.outcome) == (Outcome.FAILED, Outcome.FAILED)
    assert whole.error_class == split.error_class


# -- real servers ----------------------------------------------------------------------------


def captured() -> list[Path]:
    """Streams that are answers; error texts in JSON and the captures of a hang are left out."""
    found = sorted(CAPTURES.glob("*stream*.txt"))
    return [p for p in found if "nostream" not in p.name and b"\ndata: " in p.read_bytes()]


def body_of(path: Path) -> bytes:
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    assert b"text/event-stream" in head.lower()
    return body


def expected_tokens(body: bytes) -> int | None:
    """The server's own final count, read from the whole body by other means than the engine's."""
    counts = [
        event["usage"]["completion_tokens"]
        for line in body.splitlines()
        if line.startswith(b"data: {") and (event := json.loads(line[6:])).get("usage")
    ]
    return counts[-1] if counts else None


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the repository")
@pytest.mark.parametrize("path", captured(), ids=lambda path: path.stem)
def test_captured_streams(received: Received, path: Path) -> None:
    """A real server's bytes: same events, counts and times whichever way they are split.

    Whole; byte by byte; event by event; and in reads of 48 bytes, begun so that each byte of the
    stream is once the end of a read.
    """
    body = body_of(path)
    whole = received([body])
    count = expected_tokens(body)
    if count is not None:
        assert whole.output_tokens == sum(whole.tokens) == count
    assert told(received([body[at : at + 1] for at in range(len(body))])) == told(whole)
    assert told(received(body.replace(b"\n\n", b"\n\n\0").split(b"\0"))) == told(whole)
    _, ends = truth_of(received, body)
    for start in range(1, 49):
        cuts = list(range(start, len(body), 48))
        got = received(pieces_of(body, cuts))
        assert told(got) == told(whole), f"reads begun at {start}"
        assert list(got.arrival_ns) == [(1 + bisect_left(cuts, end)) * READ_NS for end in ends]
