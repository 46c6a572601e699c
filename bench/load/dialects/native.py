"""Streams of servers' own interfaces: TGI, vLLM's first `/generate`, Triton, MindIE's `/infer`.

MindIE serves all four beside OpenAI's.  Sources: its interface documentation and
`single_req_infer_interface/*.cpp` (3.0.0.beta.1); TGI `router/src/lib.rs`.  None of them takes
messages: a conversation is sent as one text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bench.load.dialects.answer import Answer, as_text, count_of, known, seconds
from bench.model import Prompt, RequestStyle, Turn

_MS = 1e-3
_US = 1e-6
_LEAST_TEMPERATURE = 1e-3
"""MindIE refuses 0 here; it advises no less than this."""


def encode_tgi(
    model: str, prompt: Prompt, turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]
) -> bytes:
    """A body of TGI's `/generate_stream`; the model is the server's only one."""
    parameters = _parameters(turn, style, sampling)
    return orjson.dumps({"inputs": as_text(prompt), "parameters": parameters})


def encode_infer(
    model: str, prompt: Prompt, turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]
) -> bytes:
    """A body of MindIE's own `/infer`."""
    parameters = _parameters(turn, style, sampling)
    body = {"inputs": as_text(prompt), "stream": style.stream, "parameters": parameters}
    return orjson.dumps(body)


def encode_triton(
    model: str, prompt: Prompt, turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]
) -> bytes:
    """A body of Triton's `generate_stream` extension; the model is in the path."""
    parameters = _parameters(turn, style, sampling)
    return orjson.dumps({"text_input": as_text(prompt), "parameters": parameters})


def encode_generate(
    model: str, prompt: Prompt, turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]
) -> bytes:
    """A body of vLLM's `/generate`.  It has no field for the model: MindIE's means a LoRA."""
    body: dict[str, Any] = {"prompt": as_text(prompt), "stream": style.stream}
    if turn.output_tokens is not None:
        body["max_tokens"] = turn.output_tokens
        if style.ignore_eos:
            body["ignore_eos"] = True
    return orjson.dumps(body | dict(sampling) | dict(style.extra))


def _parameters(turn: Turn, style: RequestStyle, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The options that TGI named first.  There is no `ignore_eos` among them."""
    parameters: dict[str, Any] = {"details": True}
    if turn.output_tokens is not None:
        parameters["max_new_tokens"] = turn.output_tokens
    parameters |= sampling
    temperature = parameters.get("temperature")
    if temperature is not None:
        parameters["do_sample"] = temperature > 0
        parameters["temperature"] = max(temperature, _LEAST_TEMPERATURE)
    return parameters | dict(style.extra)


def read_tgi(
    answer: Answer, event: dict[str, Any], payload: bytes, at_ns: int, low_ns: int
) -> None:
    """An event of TGI, or of `/infer`, which adds the time of its step.

    Each holds the ids it carries: a number in TGI, a list in MindIE, which puts several tokens of
    a speculative step into one event.
    """
    _step_times(answer, event)
    if (token := event.get("token")) is not None:
        ids, text = token.get("id"), token.get("text")
        answer.put(at_ns, low_ns, bool(text), len(ids) if isinstance(ids, list) else 1)
        answer.say(text)
    _details(answer, event.get("details"))


def read_tgi_whole(answer: Answer, body: dict[str, Any]) -> None:
    """An answer of `/generate` or `/infer` that was not streamed."""
    _details(answer, body.get("details"))
    answer.say(body.get("generated_text"))


def read_triton(
    answer: Answer, event: dict[str, Any], payload: bytes, at_ns: int, low_ns: int
) -> None:
    """An event of `generate_stream`; `generated_tokens` counts from the start of the answer."""
    _step_times(answer, event)
    details: Mapping[str, Any] = event.get("details") or {}
    if size := count_of(details.get("batch_size")):
        answer.batch_sizes.append(size)
    if answer.queue_s is None:
        answer.queue_s = seconds(details.get("queue_wait_time"), _US)
    text = event.get("text_output")
    if text is not None:
        answer.put(at_ns, low_ns, bool(text), None, count_of(details.get("generated_tokens")))
        answer.say(text)
    _details(answer, details)


def read_triton_whole(answer: Answer, body: dict[str, Any]) -> None:
    """An answer of `/v2/models/MODEL/generate`."""
    _details(answer, body.get("details"))
    answer.say(body.get("text_output"))


def read_generate(
    answer: Answer, event: dict[str, Any], payload: bytes, at_ns: int, low_ns: int
) -> None:
    """An object of vLLM's `/generate`: what is new, or the whole text so far.

    Nothing in it counts tokens: each object with new text is taken for one.
    """
    text, before = "".join(event.get("text") or ()), answer.whole_text
    if len(text) > len(before) > 0 and text.startswith(before):
        answer.whole_text, text = text, text[len(before) :]
    else:
        answer.whole_text += text
    answer.put(at_ns, low_ns, bool(text))
    answer.say(text)


def read_generate_whole(answer: Answer, body: dict[str, Any]) -> None:
    """An answer of `/generate` that was not streamed."""
    answer.say("".join(body.get("text") or ()))


def _step_times(answer: Answer, event: Mapping[str, Any]) -> None:
    """MindIE's time of the step that made the event, in ms: of the prefill, or of a decode."""
    if (prefill_s := seconds(event.get("prefill_time"), _MS)) is not None:
        answer.prefill_s = prefill_s
    if (decode_s := seconds(event.get("decode_time"), _MS)) is not None:
        answer.decode_s = (answer.decode_s or 0.0) + decode_s


def _details(answer: Answer, details: Mapping[str, Any] | None) -> None:
    """What stands in the last event: why it ended, and the counts."""
    reason = (details or {}).get("finish_reason")
    if not details or reason is None:
        return
    answer.finish("stop" if reason in ("eos_token", "stop_sequence") else reason)
    answer.completion_tokens = known(details.get("generated_tokens"), answer.completion_tokens)
    prompt = (details.get("prompt_tokens"), details.get("input_length"))  # MindIE's name, TGI's
    answer.prompt_tokens = known(*prompt, answer.prompt_tokens)
